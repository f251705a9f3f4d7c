"""What a GPU does again and again: the same copies in every step, and streams that take turns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gnomon.analysis.gpu_parts import GpuParts
from gnomon.analysis.gpu_step_types import RepeatedCopy, StreamTime
from gnomon.analysis.gpu_work import GpuWork
from gnomon.analysis.interval_sets import Covered, picked, total_ns, union
from gnomon.analysis.intervals import Intervals

# Copies that a step in ten lacks still come in nearly every one.
NEARLY_EVERY = 0.9
MOST_COPIES, MOST_STREAMS = 20, 20
# A stream with less of the kernels' time says nothing, and ends that touch are no overlap.
LEAST_TIME, LEAST_OVERLAP = 0.01, 0.001


def repeated_copies(work: GpuWork, steps: Intervals, parts: GpuParts) -> Sequence[RepeatedCopy]:
    """Return the copies that nearly every step makes, those of most time first.

    ``steps`` are disjoint and in order; a copy belongs to the step that it begins in.
    """
    begins = work.copies.spans.start_ns
    step = np.searchsorted(steps.start_ns, begins, side="right") - 1
    mine = np.flatnonzero((step >= 0) & (begins < steps.end_ns[step]) & (work.bytes >= 0))
    if not len(mine):
        return ()
    alike = np.stack((work.copies.label[mine], work.bytes[mine]))
    kinds, kind = np.unique(alike, axis=1, return_inverse=True)
    kind = kind.ravel()
    met = np.unique(np.stack((kind, step[mine])), axis=1)[0]
    steps_with = np.bincount(met, minlength=kinds.shape[1])
    count = np.bincount(kind)
    spans = picked(work.copies.spans, mine)
    ns = spans.end_ns - spans.start_ns
    total = np.bincount(kind, ns)
    exposed = np.bincount(kind, ns - parts.kernels.inside(spans))
    told = [
        RepeatedCopy(
            work.copy_labels[int(kinds[0, number])].short,
            int(kinds[1, number]),
            float(count[number] / steps_with[number]),
            int(count[number]),
            int(total[number]),
            int(exposed[number]),
        )
        for number in np.flatnonzero(steps_with >= NEARLY_EVERY * len(steps)).tolist()
    ]
    return sorted(told, key=lambda one: (-one.total_ns, one.kind, one.bytes))[:MOST_COPIES]


def stream_times(work: GpuWork) -> tuple[Sequence[StreamTime], bool]:
    """Return the streams of most kernel time, and whether of several none ever overlaps."""
    # Sorting narrow numbers is done by counting them.
    narrow = work.kernels.stream.astype(np.uint16 if len(work.streams) < 1 << 16 else np.int64)
    order = np.argsort(narrow, kind="stable")
    counts = np.bincount(work.kernels.stream, minlength=len(work.streams) + 1)
    ends = np.cumsum(counts)
    sets = {
        number: union(
            picked(work.kernels.spans, order[ends[number] - counts[number] : ends[number]])
        )
        for number in range(1, len(counts))
        if counts[number]
    }
    several = Covered(at_once(list(sets.values())))
    told = []
    for number, spans in sets.items():
        process, context_id, stream_id = work.streams[number - 1]
        overlapped_ns = int(several.inside(spans).sum())
        told.append(
            StreamTime(
                process, context_id, stream_id, int(counts[number]), total_ns(spans), overlapped_ns
            )
        )
    told.sort(key=lambda one: (-one.time_ns, one.stream_id))
    all_ns = sum(one.time_ns for one in told)
    used = [one for one in told if one.time_ns >= LEAST_TIME * all_ns]
    never = len(used) > 1 and all(one.overlapped_ns <= LEAST_OVERLAP * one.time_ns for one in used)
    return told[:MOST_STREAMS], never


def at_once(sets: Sequence[Intervals]) -> Intervals:
    """Return the set of time that lies in two sets or more."""
    if len(sets) < 2:
        nothing = np.zeros(0, dtype=np.int64)
        return Intervals(nothing, nothing)
    # The lowest bit says whether something begins: numbers are sorted faster than their order.
    begins = [2 * one.start_ns + 1 for one in sets]
    edges = np.sort(np.concatenate((*begins, *(2 * one.end_ns for one in sets))))
    depth = np.cumsum(2 * (edges & 1).astype(np.int8) - 1, dtype=np.int32)
    places = np.flatnonzero(depth[:-1] > 1)
    return union(Intervals(edges[places] >> 1, edges[places + 1] >> 1))
