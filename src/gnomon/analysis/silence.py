"""When the GPUs had nothing to do, how long each time, and what the threads did that feed them.

With counters a GPU is silent where the engine was inactive and no link moved data, in bins of
``BIN_NS``; all GPUs must be. Without counters all that is known is when no CUDA call of any thread
was in progress: a GPU may have worked on then, so such silence is the most that it can have been.
Where calls were sampled, kept for being slow, or lost, all that is known is when none was that was
kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gnomon.analysis.collecting import Bools
from gnomon.analysis.gpu_idle import BIN_NS, MOST_BINS
from gnomon.analysis.intervals import Ints
from gnomon.analysis.lanes import PARTS
from gnomon.analysis.operations import CUDA_LAYERS
from gnomon.analysis.questions import Scope, Span, ThreadKey, literal
from gnomon.analysis.recorded import lost_rows
from gnomon.analysis.series import series
from gnomon.recording.base import Measurements, Session

# A bin with less work than this is one in which the GPU waited.
SILENT_PCT = 90.0
# Calls come thousands a second: shorter pauses between them are how a thread works.
SHORTEST_NS = 10_000_000
MOST_SILENCES = 200

# A call belongs to the bin it begins in; a silence begins where all calls so far have ended.
CALLS_SQL = """\
SELECT (ts_ns - duration_ns) // {bin} AS bin, min(ts_ns - duration_ns) AS begin_ns,
  max(ts_ns) AS end_ns,
  bool_and(coalesce(selection <> 'biased', TRUE) AND coalesce(weight, 1) = 1) AS are_all_kept
FROM host_calls WHERE {where} AND layer IN ({layers}) AND duration_ns IS NOT NULL
GROUP BY bin ORDER BY bin"""

DID_SQL = """\
SELECT host, pid, tid, count(*) AS stays,
  sum(inside * run_queue_ns / duration_ns)::DOUBLE AS run_queue,
  sum(inside * io_ns / duration_ns)::DOUBLE AS io,
  sum(inside * voluntary_ns / duration_ns)::DOUBLE AS voluntary,
  sum(inside)::DOUBLE AS off_cpu
FROM (
  SELECT off_cpu.*, coalesce(weight, 1)
      * (least(ts_ns, end_ns) - greatest(ts_ns - duration_ns, begin_ns)) AS inside
  FROM off_cpu JOIN (VALUES {silences}) AS silent(begin_ns, end_ns)
    ON ts_ns > begin_ns AND ts_ns - duration_ns < end_ns
  WHERE {where} AND duration_ns > 0 AND ({threads})
) GROUP BY host, pid, tid"""


@dataclass(frozen=True, slots=True)
class Silences:
    """Stretches of silence in ``span``, in the order of time.

    ``by_counters``: told by the GPUs; else by calls, and then the most that it can have been.
    ``are_all_kept``: every call that was made is recorded, as far as is known.
    """

    span: Span
    stretches: Sequence[Span]
    by_counters: bool
    are_all_kept: bool = True

    @property
    def total_ns(self) -> int:
        return sum(one.to_ns - one.from_ns for one in self.stretches)

    def length_ns(self, share: float) -> int | None:
        """Return a nearest-rank percentile of their lengths, 0 to 1; None without any."""
        if not self.stretches:
            return None
        lengths = [one.to_ns - one.from_ns for one in self.stretches]
        return int(np.quantile(lengths, share, method="inverted_cdf"))

    def longest(self, count: int) -> Sequence[Span]:
        """Return the longest ones, in the order of time."""
        chosen = sorted(self.stretches, key=lambda one: one.from_ns - one.to_ns)[:count]
        return sorted(chosen, key=lambda one: one.from_ns)


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What a thread did in silences: ``lanes.PARTS`` off the CPU -> ns; the rest it ran.

    ``running_ns`` is None where its scheduling was not recorded.
    """

    thread: ThreadKey
    off_cpu_ns: Mapping[str, int]
    running_ns: int | None


def silences(measurements: Measurements, session: Session, scope: Scope) -> Silences | None:
    """Return when the GPUs had nothing to do; None where nothing tells it."""
    counted = _by_counters(measurements, scope.span)
    if counted is not None:
        return Silences(scope.span, counted, by_counters=True)
    return _by_calls(session, scope)


def meanwhile(
    session: Session, scope: Scope, silent: Sequence[Span], threads: Sequence[ThreadKey]
) -> Sequence[Meanwhile]:
    """Return what threads did in stretches of silence, at most ``MOST_SILENCES`` of them."""
    if not silent or not threads:
        return ()
    silent = silent[:MOST_SILENCES]
    query = DID_SQL.format(
        silences=", ".join(f"({one.from_ns}, {one.to_ns})" for one in silent),
        where=scope.condition,
        threads=" OR ".join(f"({one.condition})" for one in threads),
    )
    rows = {ThreadKey(row["host"], row["pid"], row["tid"]): row for row in session.rows(query)}
    total_ns = sum(one.to_ns - one.from_ns for one in silent)
    return [_meanwhile(key, rows.get(key), total_ns) for key in threads]


def _meanwhile(key: ThreadKey, row: Mapping[str, float | None] | None, total_ns: int) -> Meanwhile:
    if row is None:
        return Meanwhile(key, {}, None)
    parts = {name: round(row[name] or 0) for name in PARTS[:3]}
    off_cpu_ns = round(row["off_cpu"] or 0)
    parts["unknown"] = off_cpu_ns - sum(parts.values())
    return Meanwhile(
        key,
        {name: value for name, value in parts.items() if value > 0},
        max(0, total_ns - off_cpu_ns),
    )


def _by_counters(measurements: Measurements, span: Span) -> Sequence[Span] | None:
    bins = min(MOST_BINS, max(1, round((span.to_ns - span.from_ns) / BIN_NS)))
    edges = np.linspace(span.from_ns, span.to_ns, bins + 1).astype(np.int64)
    silent: Bools | None = None
    for uuid in measurements.meta().gpus:
        shown = series(measurements, uuid, from_ns=span.from_ns, to_ns=span.to_ns, bins=bins)
        idle_pct = np.array(shown["idle_pct"], dtype=np.float64)
        if np.isnan(idle_pct).all():
            continue
        # Bins without readings are not silent: nobody looked.
        quiet = np.nan_to_num(idle_pct) >= SILENT_PCT
        silent = quiet if silent is None else silent & quiet
    return None if silent is None else runs(silent, edges)


def runs(chosen: Bools, edges: Ints) -> Sequence[Span]:
    """Return neighbouring chosen bins as one stretch each; shapes (bins,) and (bins + 1,)."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8)))
    return [
        Span(int(edges[first]), int(edges[end]))
        for first, end in zip(changes[::2], changes[1::2], strict=True)
    ]


def _by_calls(session: Session, scope: Scope) -> Silences | None:
    """Return pauses of ``SHORTEST_NS`` and more between the first call and the last."""
    layers = ", ".join(literal(layer.value) for layer in CUDA_LAYERS)
    rows = session.rows(
        CALLS_SQL.format(bin=SHORTEST_NS // 2, where=scope.condition, layers=layers)
    )
    if not rows:
        return None
    begins = np.array([row["begin_ns"] for row in rows], dtype=np.int64)
    ends = np.maximum.accumulate(np.array([row["end_ns"] for row in rows], dtype=np.int64))
    pauses = np.flatnonzero(begins[1:] - ends[:-1] >= SHORTEST_NS)
    lost = lost_rows(session, scope.span)
    return Silences(
        scope.span,
        [Span(int(ends[at]), int(begins[at + 1])) for at in map(int, pauses)],
        by_counters=False,
        are_all_kept=all(row["are_all_kept"] for row in rows)
        and not (lost.calls_lost or lost.losses_uncounted),
    )
