"""A recording period by period: what the GPUs reached, how much was done, what they waited for.

A GPU waits for the threads that feed it. What these did for the largest part of a period, other
than waiting for the GPU themselves, is what it waited for: for as long as it was idle, where
counters tell it; else this is the most that it can have waited.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gnomon.analysis.intervals import Floats
from gnomon.analysis.lanes import OWN_CODE, WAITING, Grid, Lane, lanes
from gnomon.analysis.questions import Scope, Span, ThreadKey
from gnomon.analysis.silence import Silences, silences
from gnomon.analysis.summary import summarize
from gnomon.analysis.throughput import counted_launches_per_s, tokens_per_s
from gnomon.analysis.totals import Totals, totals
from gnomon.recording.base import Measurements, Session

# Less than this is how any thread works, and no wait of the GPU's.
LEAST_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Period:
    """All GPUs in [from_ns, to_ns]: means in percent, rates a second; None where not recorded.

    ``waited_for``: a part of ``lanes.PARTS``, and ``waited_pct`` its share of the period; None
    where the GPUs did not wait, or nobody knows.
    """

    from_ns: int
    to_ns: int
    busy_pct: float | None
    compute_sol_pct: float | None
    memory_sol_pct: float | None
    idle_pct: float | None
    tokens_per_s: float | None
    launches_per_s: float | None
    waited_for: str | None
    waited_pct: float | None


@dataclass(frozen=True, slots=True)
class Timeline:
    """Periods in the order of time; ``threads``: of whom ``waited_for`` tells."""

    span: Span
    period_ns: int
    periods: Sequence[Period]
    threads: Sequence[ThreadKey]
    silences: Silences | None

    def to_json(self) -> dict[str, Any]:
        """Return what ``gnomon timeline --json`` prints."""
        return {
            "schema": 1,
            "window": asdict(self.span),
            "period_ns": self.period_ns,
            "periods": [asdict(one) for one in self.periods],
            "threads": [asdict(one) for one in self.threads],
            "silence": None if self.silences is None else _silence(self.silences),
        }


def timeline(
    measurements: Measurements,
    session: Session,
    scope: Scope,
    period_ns: int,
    threads: Sequence[ThreadKey],
) -> Timeline:
    """Return the periods of a scope; ``threads``: those that feed the GPUs."""
    span = scope.span
    grid = grid_of(span, period_ns)
    gpus = {one.from_ns: one for one in totals(_summaries(measurements, span, period_ns))}
    launches = counted_launches_per_s(session, grid)
    tokens = tokens_per_s(measurements, grid, fewest=1)
    did = _mean_parts(lanes(session, grid, threads), grid.bins)
    periods = []
    for number, begin_ns in enumerate(range(span.from_ns, span.to_ns, period_ns)):
        whole = Span(begin_ns, min(begin_ns + period_ns, span.to_ns))
        # The last bin may reach beyond the span, where nothing was looked at.
        part = (whole.to_ns - whole.from_ns) / period_ns
        periods.append(
            _period(
                whole,
                gpus.get(begin_ns),
                None if tokens is None else float(tokens[number]) / part,
                None if launches is None else float(launches[number]) / part,
                _cut({name: float(shares[number]) for name, shares in did.items()}, part),
            )
        )
    return Timeline(span, period_ns, periods, threads, silences(measurements, session, scope))


def grid_of(span: Span, period_ns: int) -> Grid:
    """Return bins of exactly ``period_ns`` that cover a span; the last may reach beyond it."""
    bins = max(1, -(-(span.to_ns - span.from_ns) // period_ns))
    return Grid(span, bins, period_ns)


def _summaries(measurements: Measurements, span: Span, period_ns: int) -> Any:
    return summarize(measurements, from_ns=span.from_ns, to_ns=span.to_ns, by=period_ns)


def _mean_parts(did: Sequence[Lane], bins: int) -> Mapping[str, Floats]:
    """Return part -> mean share of the threads in each bin; shape (bins,)."""
    found: dict[str, Floats] = {}
    for lane in did:
        for part, shares in lane.parts.items():
            found[part] = found.get(part, np.zeros(bins)) + np.array(shares) / len(did)
    return found


def _cut(did: Mapping[str, float], part: float) -> Mapping[str, float]:
    """Return shares of the part of a bin that lies in the span.

    Beyond it there are no rows, which reads as a thread's own code.
    """
    beyond = {OWN_CODE: 1 - part}
    return {
        name: min(1.0, max(0.0, share - beyond.get(name, 0.0)) / part)
        for name, share in did.items()
    }


def _period(
    span: Span,
    gpus: Totals | None,
    tokens: float | None,
    launches: float | None,
    did: Mapping[str, float],
) -> Period:
    idle_pct = None if gpus is None else gpus.idle_pct
    waited_for, waited_pct = waited(did, idle_pct)
    return Period(
        from_ns=span.from_ns,
        to_ns=span.to_ns,
        busy_pct=None if gpus is None else gpus.busy_pct,
        compute_sol_pct=None if gpus is None else gpus.compute_sol_pct,
        memory_sol_pct=None if gpus is None else gpus.memory_sol_pct,
        idle_pct=idle_pct,
        tokens_per_s=tokens,
        launches_per_s=launches,
        waited_for=waited_for,
        waited_pct=waited_pct,
    )


def waited(did: Mapping[str, float], idle_pct: float | None) -> tuple[str | None, float | None]:
    """Return what GPUs waited for and how long, percent; None for both where they did not.

    ``did``: part -> share of the threads' time, 0 to 1; ``idle_pct``: of the GPUs, if known.
    """
    candidates = {part: share for part, share in did.items() if part != WAITING}
    if not candidates:
        return None, None
    part = max(candidates, key=lambda one: candidates[one])
    share = candidates[part]
    bounded_pct = 100 * share if idle_pct is None else min(100 * share, idle_pct)
    return (part, bounded_pct) if bounded_pct >= 100 * LEAST_SHARE else (None, None)


def _silence(told: Silences) -> dict[str, Any]:
    return {
        "by_counters": told.by_counters,
        "are_all_kept": told.are_all_kept,
        "count": len(told.stretches),
        "total_ns": told.total_ns,
        "p50_ns": told.length_ns(0.5),
        "p99_ns": told.length_ns(0.99),
        "longest": [asdict(one) for one in told.longest(10)],
    }
