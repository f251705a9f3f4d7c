"""A thread that feeds a GPU waited for its next batch: the data loader was too slow.

Measured: nanoseconds of waits outside CUDA calls that a loader's thread ended (by its name), or
whose stack is in a data loader, of the thread's active time. Reported from 1 % of the active time
and 10 ms on, as a warning from 5 %; a single long wait is the start of an epoch and not enough.
Where neither stacks nor who woke the thread were recorded, such waits cannot be told from others.
"""

from __future__ import annotations

from collections.abc import Iterable

from gnomon.analysis.overlap import Reason
from gnomon.detectors.case import Case, proven, waits_of
from gnomon.detectors.feeding import Said, costly, finding, part_of
from gnomon.detectors.finding import Finding
from gnomon.detectors.needs import Need
from gnomon.enums import Cause

NEEDS = (Need.CALLS, Need.SCHEDULING, Need.WAKERS)
WHERE = f"reason = '{Reason.LOADER.value}'"
REMEDY = (
    "Make batches faster than the GPU uses them: more loader workers and a deeper prefetch, "
    "cheaper decoding, data closer to the host; copy from pinned memory in the background."
)


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each worker that waited long for a loader."""
    parts = (
        part_of(case, worker, "waiting_ns", WHERE, lambda one: one.reason is Reason.LOADER)
        for worker in case.workers
    )
    # The first batch is always waited for; a pipeline that is too slow is so all the time.
    for part, cost, is_detailed in costly(case, parts, recurs=True):
        worker = part.worker
        count = f"SELECT count(*) AS waits FROM ({waits_of(worker).sql}) WHERE {part.where}"
        said = Said(
            evidence=(
                part.total("it waited for its data loader for {value}"),
                proven("in {value} waits", part.stays, count, "count"),
                *(part.frame(case) if is_detailed else ()),
            ),
            ruled_out=(part.queued(),),
            remedy=REMEDY,
            confidence=0.9,
            confidence_reason="the waits are measured; whose they are is by the names of the "
            "threads that ended them, or by the stacks",
        )
        yield finding(case, worker, Cause.INPUT_PIPELINE_STALL, cost, said)
