"""Ranges, marks and phases that programs named themselves, and which of them are steps.

Numbers in a name count its instances: ``step 12`` and ``step 13`` are both ``step N``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gnomon.analysis.gpu_work import GpuWork
from gnomon.analysis.interval_sets import picked, total_ns
from gnomon.analysis.intervals import Intervals
from gnomon.analysis.kernel_period import FEWEST_STEPS, FoundSteps, inside
from gnomon.analysis.questions import Span
from gnomon.recording.base import Measurements, Session
from gnomon.recording.marks import phases

NUMBER = r"(^|[^A-Za-z0-9])[0-9]+"
NUMBERED = r"\1N"
STEP = re.compile(
    r"(?:^|[^a-z])(?:step|steps|iter|iteration|iterations)(?:[^a-z]|$)", re.IGNORECASE
)
CAMEL_STEP = re.compile(r"(?:[a-z])(?:Step|Iteration)(?:[^a-z]|$)")
# A range that nothing calls a step is one where it fills so much of the time, once at a time.
MOST_OF_TIME = 0.5
UNNAMED_CONFIDENCE = 0.6

RANGES_SQL = """\
SELECT ts_ns - coalesce(duration_ns, 0) AS from_ns, ts_ns AS to_ns,
  regexp_replace(name, '{number}', '{numbered}', 'g') AS name
FROM ranges WHERE name IS NOT NULL AND {span}{pids}"""


@dataclass(frozen=True, slots=True)
class Named:
    """What was said under one name: its instances (n,) in the order of their begins."""

    name: str
    basis: str
    spans: Intervals


def named(
    measurements: Measurements, session: Session, work: GpuWork, span: Span
) -> Sequence[Named]:
    """Return all ranges, marks and phases of a GPU's processes, those of most time first."""
    pids = f" AND (pid IS NULL OR pid IN ({', '.join(map(str, work.pids))}))" if work.pids else ""
    query = RANGES_SQL.format(number=NUMBER, numbered=NUMBERED, span=span.condition, pids=pids)
    read = session.arrays(query, numbered=("name",))
    begins, ends, number = (read.columns[one] for one in ("from_ns", "to_ns", "name"))
    found = []
    for code, name in enumerate(read.values["name"]):
        mine = np.flatnonzero(number == code)
        mine = mine[np.argsort(begins[mine], kind="stable")]
        spans = picked(Intervals(begins, ends), mine)
        lasts = spans.end_ns > spans.start_ns
        if lasts.any():
            found.append(Named(name, "ranges", picked(spans, lasts)))
        if not lasts.all():
            found.append(Named(name, "marks", _between(picked(spans, ~lasts))))
    found += _phases(measurements, span)
    return sorted(found, key=lambda one: -total_ns(one.spans))


def told_steps(found: Sequence[Named], work: GpuWork) -> FoundSteps | None:
    """Return the steps that a program told of itself; None where it told none."""
    whole = [(one, inside(one.spans, work.known)) for one in found]
    usable = [
        (one, spans) for one, spans in whole if len(spans) >= FEWEST_STEPS and _one_at_a_time(spans)
    ]
    for one, spans in usable:
        if STEP.search(one.name) or CAMEL_STEP.search(one.name):
            reason = f"{one.basis} named {one.name!r} tell them"
            return FoundSteps(spans, one.name, one.basis, 1.0, reason)
    for one, spans in usable:
        if one.basis == "ranges" and total_ns(spans) >= MOST_OF_TIME * total_ns(work.known):
            reason = f"the range {one.name!r} comes again and again, though nothing calls it a step"
            return FoundSteps(spans, one.name, one.basis, UNNAMED_CONFIDENCE, reason)
    return None


def _between(marks: Intervals) -> Intervals:
    """Return the time from each mark to the next of its name."""
    return Intervals(marks.start_ns[:-1], marks.start_ns[1:])


def _one_at_a_time(spans: Intervals) -> bool:
    return bool((spans.start_ns[1:] >= spans.end_ns[:-1]).all())


def _phases(measurements: Measurements, span: Span) -> Sequence[Named]:
    by_name: dict[str, list[tuple[int, int]]] = {}
    for one in phases(measurements):
        if one.to_ns > span.from_ns and one.from_ns < span.to_ns:
            name = re.sub(NUMBER, NUMBERED, one.name)
            by_name.setdefault(name, []).append((one.from_ns, one.to_ns))
    return [
        Named(name, "phases", Intervals(*np.array(sorted(pairs), dtype=np.int64).T))
        for name, pairs in by_name.items()
    ]
