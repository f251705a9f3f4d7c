"""When all that ran on a GPU was recorded: where the windows of its processes are open at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gnomon.analysis.collecting import Bools
from gnomon.analysis.intervals import Intervals, Ints
from gnomon.analysis.kernel_overlap import busy


def recorded_throughout(samples: Intervals, windows: Sequence[Intervals]) -> Bools:
    """Return which samples (n,) lie in a window of every process that was there.

    ``windows`` are those of each process with work on the GPU, in any order. Between its first
    and its last one a process is there; a sample of which no process was there is left out.
    """
    complete = np.ones(len(samples), dtype=bool)
    covered = np.zeros(len(samples), dtype=bool)
    for one in windows:
        whole = busy(one)
        if whole.is_empty:
            continue
        at = np.searchsorted(whole.start_ns, samples.start_ns, side="right") - 1
        inside = (at >= 0) & (samples.end_ns <= whole.end_ns[at])
        away = (samples.end_ns <= whole.start_ns[0]) | (samples.start_ns >= whole.end_ns[-1])
        complete &= inside | away
        covered |= inside
    return complete & covered


def between_records(windows: Intervals, start_ns: Ints, end_ns: Ints) -> Intervals:
    """Return windows from the start of their first record to the end of their last.

    What was launched before a window opened can run in it without a record, and what still runs
    when it closes can be without one; ``start_ns`` and ``end_ns`` are of all records.
    """
    start_ns, end_ns = np.sort(start_ns), np.sort(end_ns)
    whole = busy(windows)
    first = np.searchsorted(start_ns, whole.start_ns, side="left")
    last = np.searchsorted(end_ns, whole.end_ns, side="right") - 1
    some = (first < len(start_ns)) & (last >= 0)
    first, last = first[some], last[some]
    kept = start_ns[first] < end_ns[last]
    return Intervals(start_ns[first][kept], end_ns[last][kept])
