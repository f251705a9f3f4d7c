"""Steps of a GPU by its kernels: the sequence that comes again and again on its busiest stream.

The period is found as for a thread's calls (``steps.period``), on names of kernels and kinds of
copies of the window with most of them. Where names alone do not repeat (one kernel does all), a
long gap before an operation counts as part of its name. A step begins where something comes that
comes once in a period; of several such places, after the longest gap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gnomon.analysis.gpu_work import GpuWork
from gnomon.analysis.interval_sets import Covered, picked
from gnomon.analysis.intervals import Intervals, Ints
from gnomon.analysis.steps import period

MOST_TOKENS = 1 << 18
FEWEST_STEPS = 3
# A gap is long where it takes so many times the usual one, and more than any launch does.
LONG_TIMES, LONG_NS = 10, 20_000
# Steps are as long as they should be where they have the period's number of operations, but for
# this share: a copy more, a kernel that is chosen by size.
SAME_WITHIN = 0.02


@dataclass(frozen=True, slots=True)
class FoundSteps:
    """Steps (n,) within windows, of what they were told, how surely (0 to 1), and why so."""

    spans: Intervals
    name: str
    basis: str
    confidence: float
    reason: str


@dataclass(frozen=True, slots=True)
class _Sequence:
    """Operations of one stream in order: token, begin, and the gap before each; arrays (n,)."""

    token: Ints
    start_ns: Ints
    gap_ns: Ints


def sequence_steps(work: GpuWork) -> FoundSteps | None:
    """Return the steps of a GPU by what repeats on its busiest stream; None where nothing does."""
    if not len(work.kernels) or work.known.is_empty:
        return None
    sequence = _sequence(work)
    shown = _shown(sequence, work.known)
    for basis, token in (("sequence", sequence.token), ("gaps", _with_gaps(sequence))):
        length = period(token[shown])
        places = None if length is None else _begins(token, sequence.gap_ns, shown, length)
        if length is None or places is None:
            continue
        found = _steps(places, sequence, work, length, basis)
        if found is not None:
            return found
    return None


def inside(spans: Intervals, known: Intervals) -> Intervals:
    """Return the intervals that lie wholly in a set, and have a length."""
    length_ns = spans.end_ns - spans.start_ns
    return picked(spans, (Covered(known).inside(spans) == length_ns) & (length_ns > 0))


def _sequence(work: GpuWork) -> _Sequence:
    stream = int(np.argmax(np.bincount(work.kernels.stream, work.kernels.duration_ns)))
    kernels = np.flatnonzero(work.kernels.stream == stream)
    copies = np.flatnonzero(work.copies.stream == stream)

    def joined(of_kernels: Ints, of_copies: Ints) -> Ints:
        return np.concatenate((of_kernels[kernels], of_copies[copies]))

    start_ns = joined(work.kernels.spans.start_ns, work.copies.spans.start_ns)
    end_ns = joined(work.kernels.spans.end_ns, work.copies.spans.end_ns)
    token = joined(work.kernels.label, work.copies.label + len(work.kernel_labels))
    order = np.argsort(start_ns, kind="stable")
    start_ns, end_ns, token = start_ns[order], end_ns[order], token[order]
    gap_ns = np.zeros_like(start_ns)
    gap_ns[1:] = np.maximum(start_ns[1:] - np.maximum.accumulate(end_ns)[:-1], 0)
    return _Sequence(token.astype(np.int64), start_ns, gap_ns)


def _shown(sequence: _Sequence, known: Intervals) -> slice:
    """Return the operations that show the period: the middle of the window with most of them."""
    first = np.searchsorted(sequence.start_ns, known.start_ns)
    last = np.searchsorted(sequence.start_ns, known.end_ns)
    window = int(np.argmax(last - first))
    begin, end = int(first[window]), int(last[window])
    spare = max(0, end - begin - MOST_TOKENS) // 2
    return slice(begin + spare, end - spare)


def _with_gaps(sequence: _Sequence) -> Ints:
    usual_ns = float(np.median(sequence.gap_ns))
    is_long = sequence.gap_ns > max(LONG_TIMES * usual_ns, LONG_NS)
    return sequence.token * 2 + is_long


def _begins(token: Ints, gap_ns: Ints, shown: slice, length: int) -> Ints | None:
    """Return the places at which steps begin; None where nothing comes once in a period."""
    kinds = 1 + int(token.max())
    pairs = token.copy()
    pairs[1:] += kinds * (1 + token[:-1])
    for tokens in (token, pairs):
        names, number = np.unique(tokens[shown], return_inverse=True)
        order = np.argsort(number, kind="stable")
        counts = np.bincount(number)
        ends = np.cumsum(counts)
        expected = len(number) / length
        once = {}
        for kind in np.flatnonzero((counts >= expected / 2) & (counts <= expected + 2)).tolist():
            mine = order[ends[kind] - counts[kind] : ends[kind]]
            # Something more now and then moves some steps apart, not the usual ones.
            if abs(np.median(np.diff(mine)) - length) <= max(1.0, SAME_WITHIN * length):
                once[kind] = float(gap_ns[shown][mine].mean())
        if once:
            return np.flatnonzero(tokens == names[max(once, key=lambda kind: once[kind])])
    return None


def _steps(
    places: Ints, sequence: _Sequence, work: GpuWork, length: int, basis: str
) -> FoundSteps | None:
    begins = sequence.start_ns[places]
    whole = Intervals(begins[:-1], begins[1:])
    spans = inside(whole, work.known)
    if len(spans) < FEWEST_STEPS:
        return None
    many = np.diff(places)[np.searchsorted(begins, spans.start_ns)]
    same = float(np.mean(np.abs(many - length) <= max(1.0, SAME_WITHIN * length)))
    token = int(sequence.token[places[0]])
    names = [one.short for one in work.kernel_labels]
    names += [one.short for one in work.copy_labels]
    what = "operations" if basis == "sequence" else "operations, told apart by the gaps before them"
    return FoundSteps(
        spans,
        f"from {names[token]}",
        basis,
        round(same, 3),
        f"{100 * same:.0f} % of {len(spans):,} steps have {length:,} {what}",
    )
