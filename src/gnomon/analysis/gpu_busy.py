"""How long a GPU really ran kernels and copies, held against counters that say the same.

The union of intervals is exact to the clock's nanosecond; a counter is a sample or a mean. NVML's
busy share counts kernels and copies, the engine of GPM what SMs do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gnomon.analysis.collecting import filled, known_values
from gnomon.analysis.gpu_gap_types import BusyTime, CounterCheck
from gnomon.analysis.gpu_work import GpuWork
from gnomon.analysis.interval_sets import Covered, intersection, total_ns, union
from gnomon.analysis.intervals import Floats, Intervals, intervals
from gnomon.analysis.range_counters import pm_samples
from gnomon.analysis.tracks import load_tracks
from gnomon.recording.base import Measurements

# What each counter of `gpu_counters` is held against.
ENGINE, EITHER = "kernels or copies within the GPU", "kernels or copies"
COUNTERS = (("busy_pct", EITHER), ("engine_active_pct", ENGINE), ("sm_active_pct", ENGINE))
SAMPLED = "sm_active_pct"


@dataclass(frozen=True, slots=True)
class RanTime:
    """The sets of time in which kernels ran, and copies, in windows and outside of them."""

    kernels: Intervals
    copies: Intervals

    @classmethod
    def of(cls, work: GpuWork) -> RanTime:
        return cls(union(work.kernels.spans), union(work.copies.spans))


def busy_time(work: GpuWork, ran: RanTime) -> BusyTime:
    """Return what the GPU did in the time that is known."""
    kernels = intersection(ran.kernels, work.known)
    copies = intersection(ran.copies, work.known)
    both_ns = total_ns(intersection(kernels, copies))
    known_ns, kernels_ns, copies_ns = (total_ns(one) for one in (work.known, kernels, copies))
    return BusyTime(
        known_ns,
        kernels_ns - both_ns,
        copies_ns - both_ns,
        both_ns,
        known_ns - kernels_ns - copies_ns + both_ns,
    )


def counter_checks(
    measurements: Measurements, work: GpuWork, ran: RanTime
) -> Sequence[CounterCheck]:
    """Return every counter of a GPU against the intervals, where its readings lie in windows."""
    if work.known.is_empty:
        return ()
    readings = list(_readings(measurements, work))
    if not readings:
        return ()
    engine = union(ran.kernels, work.copies_on_sms())
    sets = {ENGINE: Covered(engine), EITHER: Covered(union(ran.kernels, ran.copies))}
    known = Covered(work.known)
    checks = []
    for counter, source, against, spans, values in readings:
        length_ns = spans.end_ns - spans.start_ns
        kept = ~np.isnan(values) & (length_ns > 0) & (known.inside(spans) == length_ns)
        if not kept.any():
            continue
        weights = length_ns[kept].astype(np.float64)
        ran_ns = int(sets[against].inside(spans)[kept].sum())
        checks.append(
            CounterCheck(
                counter,
                source,
                against,
                float(np.average(values[kept], weights=weights)),
                100.0 * ran_ns / float(weights.sum()),
                float(weights.sum()) / 1e9,
            )
        )
    return checks


def _readings(
    measurements: Measurements, work: GpuWork
) -> Iterator[tuple[str, str, str, Intervals, Floats]]:
    """Yield counter, source, what it is held against, and its readings."""
    from_ns, to_ns = int(work.known.start_ns[0]), int(work.known.end_ns[-1])
    for track in load_tracks(measurements, from_ns, to_ns, gpu_uuid=work.gpu_uuid):
        if track.mig_uuid != work.mig_uuid:
            continue
        for counter, against in COUNTERS:
            for source, columns in track.sources.items():
                if columns.has(counter):
                    yield counter, source, against, columns.intervals, columns.columns[counter]
    sampled = pm_samples(measurements, work, [SAMPLED])
    if sampled is not None:
        values, is_known = known_values(sampled.column(SAMPLED))
        spans = intervals(filled(sampled.column("ts_ns")), filled(sampled.column("duration_ns")))
        yield SAMPLED, "pm_samples", ENGINE, spans, np.where(is_known, values, np.nan)
