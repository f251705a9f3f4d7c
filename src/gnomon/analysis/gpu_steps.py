"""Steps and ranges of each GPU: how long, and what of it was compute, collectives, copies, host.

Steps are what ranges, marks or phases of the program say; else what repeats in its kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gnomon.analysis.gpu_marks import Named, named, told_steps
from gnomon.analysis.gpu_parts import GpuParts, Instances, Launches
from gnomon.analysis.gpu_repeats import repeated_copies, stream_times
from gnomon.analysis.gpu_step_types import GpuSteps, RangeParts
from gnomon.analysis.gpu_work import Gpu, GpuWork, gpu_works
from gnomon.analysis.interval_sets import total_ns
from gnomon.analysis.intervals import Intervals
from gnomon.analysis.kernel_names import Families
from gnomon.analysis.kernel_period import inside, sequence_steps
from gnomon.analysis.questions import Span
from gnomon.analysis.range_counters import CounterRows, counter_rows, counters_in
from gnomon.recording.base import Measurements, Session

MOST_RANGES = 40
NO_STEPS = "no range, mark or phase recurs, and neither does the sequence of kernels"


def gpu_steps(
    measurements: Measurements,
    session: Session,
    span: Span,
    families: Families | None = None,
    only: Gpu | None = None,
) -> list[GpuSteps]:
    """Return steps and ranges of each GPU with kernels in windows in a span, or of one."""
    answers = []
    for work in gpu_works(session, span, families, only):
        if not work.known.is_empty:
            answers.append(_told(measurements, work, named(measurements, session, work, span)))
        del work  # so that the next GPU's need not fit in beside it
    return answers


def _told(measurements: Measurements, work: GpuWork, found: Sequence[Named]) -> GpuSteps:
    steps = told_steps(found, work) or sequence_steps(work)
    launches = Launches.of(work) if found else None
    asked = [_instances(one, work, launches) for one in found[:MOST_RANGES]]
    asked = [one for one in asked if not one.spans.is_empty]
    if steps is not None:
        asked.append(Instances(steps.name, steps.spans))
    del launches
    parts = GpuParts(work)
    rows = counter_rows(measurements, work)
    told = [
        _counted(one, instances.spans, parts, rows)
        for one, instances in zip(parts.of(asked), asked, strict=True)
    ]
    streams, never_overlap = stream_times(work)
    return GpuSteps(
        gpu_uuid=work.gpu_uuid,
        mig_uuid=work.mig_uuid,
        windows=len(work.known),
        dropped=work.dropped,
        known_ns=total_ns(work.known),
        basis=None if steps is None else steps.basis,
        confidence=0.0 if steps is None else steps.confidence,
        confidence_reason=NO_STEPS if steps is None else steps.reason,
        steps=None if steps is None else told.pop(),
        ranges=told,
        repeated_copies=() if steps is None else repeated_copies(work, steps.spans, parts),
        streams=streams,
        streams_never_overlap=never_overlap,
    )


def _instances(one: Named, work: GpuWork, launches: Launches | None) -> Instances:
    """Return the instances of a range that lie in windows, by what was launched if that is told."""
    is_open = inside(one.spans, work.known)
    if launches is None or one.basis != "ranges":
        return Instances(one.name, is_open)
    return Instances(one.name, inside(launches.ran(is_open), work.known), by_launch=True)


def _counted(
    told: RangeParts, spans: Intervals, parts: GpuParts, rows: CounterRows | None
) -> RangeParts:
    if rows is None:
        return replace(told, no_counters="no counters were recorded in the windows")
    found = counters_in(rows, spans, parts)
    if isinstance(found, str):
        return replace(told, no_counters=found)
    return replace(told, counters=found)
