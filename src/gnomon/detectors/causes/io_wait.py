"""A thread that feeds a GPU waited for a disk.

Measured: nanoseconds in uninterruptible waits for block requests, of the thread's active time.
Reported from 1 % of the active time and 10 ms on, as a warning from 5 %. Waits for pages that were
swapped out are ``host_memory_spill``: by their stacks, else those while swap grew. Where nobody
makes CUDA calls, threads that were followed are looked at, and what they feed is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.questions import Span
from gnomon.analysis.swap import while_growing
from gnomon.detectors.case import Case, waits_of
from gnomon.detectors.feeding import Part, Said, costly, finding, part_of
from gnomon.detectors.finding import Evidence, Finding
from gnomon.detectors.needs import Need
from gnomon.enums import CallLayer, Cause

NEEDS = (Need.SCHEDULING,)
MOVED = "round(sum(bytes * coalesce(weight, 1)))::BIGINT"
REMEDY = (
    "Keep the disk out of this thread: read ahead in other threads or processes, keep the data in "
    "memory (page cache, tmpfs) or on a faster disk, and write checkpoints and logs asynchronously."
)


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each worker that waited long for a disk."""
    parts = (_disk(case, worker) for worker in case.workers)
    for part, cost, is_detailed in costly(case, parts):
        worker = part.worker
        said = Said(
            evidence=(
                part.total("it waited for a disk for {value}"),
                *(_requests(case, part, cost.span) if is_detailed else ()),
                *(part.frame(case) if is_detailed else ()),
            ),
            ruled_out=(
                case.ruled_out(
                    Cause.CPU_CONTENTION,
                    "in stays off the CPU with a wait for a disk, {value} was anything else",
                    waits_of(worker).total_sql(
                        "duration_ns - disk_ns", f"disk_ns > 0 AND ({part.where})"
                    ),
                    "ns",
                ),
            ),
            remedy=REMEDY,
            confidence=0.95,
            confidence_reason="the waits are measured",
        )
        yield finding(case, worker, Cause.IO_WAIT, cost, said)


def _disk(case: Case, worker: ThreadActivity) -> Part:
    """Return a worker's waits for a disk, without what `host_memory_spill` takes to be for swap."""
    if not (case.swap_growth and worker.feeds_gpu and worker.stays):
        return part_of(case, worker, "disk_ns")
    where = f"disk_ns > 0 AND ({while_growing(case.swap_growth)}) IS NOT TRUE"
    waits = waits_of(worker)
    return Part(worker, "disk_ns", where, waits.circumstances(case.session, where))


def _requests(case: Case, part: Part, span: Span) -> Iterator[Evidence]:
    """Yield how many block requests were made for the worker meanwhile, and what they moved."""
    requests = (
        f"FROM host_calls WHERE {span.condition} AND {part.worker.thread.condition} "
        f"AND layer = '{CallLayer.BLOCK_IO.value}'"
    )
    count = f"SELECT round(sum(coalesce(weight, 1)))::BIGINT AS requests {requests}"
    if case.value(count):
        yield case.evidence("{value} block requests were made for it", count, "count")
        yield case.evidence("these moved {value}", f"SELECT {MOVED} AS bytes {requests}", "bytes")
