"""What the threads that feed a GPU did while it had nothing to run.

Each gap belongs to the thread that put something into a stream last before it ended: that thread
fed what came next. At each moment a thread is off the CPU (for want of one, for a disk, or
waiting for what its stack says), in a CUDA call, or in code of its own; the last is told only where
all of its calls and stays were kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gnomon.analysis.activity import ThreadActivity, activities
from gnomon.analysis.gpu_gap_types import CODES, GapReason
from gnomon.analysis.interval_sets import complement, crossed, lasting, picked, union
from gnomon.analysis.intervals import Intervals, Ints
from gnomon.analysis.latency import latency
from gnomon.analysis.operations import CUDA_LAYERS, DISPATCH, Kind, kind_of
from gnomon.analysis.overlap import Reason, waits_sql
from gnomon.analysis.questions import Scope, Span, ThreadKey, literal
from gnomon.recording.base import Session

OF_KINDS = {
    Kind.LAUNCH: GapReason.LAUNCHING,
    Kind.GRAPH_LAUNCH: GapReason.LAUNCHING,
    Kind.COPY: GapReason.COPY_CALL,
    Kind.FILL: GapReason.COPY_CALL,
    Kind.SYNCHRONIZATION: GapReason.SYNCHRONIZING,
    Kind.ALLOCATION: GapReason.MEMORY_CALL,
    Kind.RELEASE: GapReason.MEMORY_CALL,
    Kind.OTHER: GapReason.CUDA_CALL,
}
# Waiting inside a CUDA call is told by the call.
OF_WAITS = {
    Reason.LOADER: GapReason.LOADER,
    Reason.LOCK: GapReason.LOCK,
    Reason.SLEEP: GapReason.SLEEP,
    Reason.REQUEST: GapReason.REQUEST,
    Reason.UNKNOWN: GapReason.OFF_CPU,
    Reason.NOTHING: GapReason.OFF_CPU,
}
IN_CALL = -1

OBSERVERS_SQL = "SELECT DISTINCT host, pid, tid FROM threads WHERE role = 'observer'"
CALLS_SQL = """\
SELECT ts_ns - duration_ns AS from_ns, ts_ns AS to_ns, (CASE {reasons} END)::INTEGER AS reason,
  (CASE WHEN operation IN ({dispatch}) THEN 1 ELSE 0 END)::INTEGER AS is_dispatch,
  (CASE WHEN selection = 'all' AND coalesce(weight, 1) = 1 THEN 1 ELSE 0 END)::INTEGER AS is_kept
FROM host_calls WHERE {where}"""
STAYS_SQL = """\
SELECT from_ns, ts_ns AS to_ns, coalesce(queued_ns, 0)::BIGINT AS queued_ns,
  coalesce(disk_ns, 0)::BIGINT AS disk_ns,
  (CASE reason {reasons} ELSE {call} END)::INTEGER AS reason,
  (CASE WHEN weight = 1 THEN 1 ELSE 0 END)::INTEGER AS is_kept
FROM ({waits})"""


@dataclass(frozen=True, slots=True)
class FeedingThread:
    """What a thread did: a set of stretches of time (k,), and the code of the reason of each.

    ``dispatches_ns``: when calls that put something into a stream began, ascending.
    """

    thread: ThreadKey
    dispatches_ns: Ints
    spans: Intervals
    reason: Ints


def feeding_threads(
    session: Session, span: Span, pids: Sequence[int], gpu_uuid: str
) -> Sequence[FeedingThread]:
    """Return what the threads of some processes did that feed a GPU; none without a trace."""
    rows = session.rows(OBSERVERS_SQL)
    scope = Scope(span, tuple(ThreadKey(**row) for row in rows))
    found = activities(session, scope, latency(session, scope))
    feeding = [one for one in found if one.feeds_gpu and one.thread.pid in pids]
    return [_thread(session, one) for one in feeding if _may_feed(session, one, gpu_uuid)]


def explained(
    pieces: Intervals, until_ns: Ints, threads: Sequence[FeedingThread]
) -> tuple[Ints, Ints, Ints]:
    """Return what threads did in pieces of gaps: places of pieces, codes and nanoseconds (k,).

    ``until_ns`` (n,): when the gap of each piece ended, which says whose it is.
    """
    if not threads:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, nothing
    owner = _owners(until_ns, threads)
    places, codes, lengths = [], [], []
    for number, thread in enumerate(threads):
        mine = np.flatnonzero(owner == number)
        met = crossed(picked(pieces, mine), thread.spans)
        places.append(mine[met.left])
        codes.append(thread.reason[met.right])
        lengths.append(met.ns)
    return np.concatenate(places), np.concatenate(codes), np.concatenate(lengths)


def _owners(until_ns: Ints, threads: Sequence[FeedingThread]) -> Ints:
    """Return the thread that dispatched last before each moment; -1 for none."""
    moments_ns = np.concatenate([one.dispatches_ns for one in threads])
    whose = np.repeat(np.arange(len(threads)), [len(one.dispatches_ns) for one in threads])
    order = np.argsort(moments_ns, kind="stable")
    place = np.searchsorted(moments_ns[order], until_ns, side="right") - 1
    return np.where(place >= 0, np.append(whose[order], -1)[place], -1)


def _may_feed(session: Session, worker: ThreadActivity, gpu_uuid: str) -> bool:
    """Tell whether a thread's calls went to a GPU, as far as its recorder knew."""
    rows = session.rows(
        f"SELECT DISTINCT gpu_uuid FROM host_calls WHERE {worker.thread.condition} "
        f"AND {worker.span.condition} AND gpu_uuid IS NOT NULL"
    )
    return not rows or gpu_uuid in {row["gpu_uuid"] for row in rows}


def _thread(session: Session, worker: ThreadActivity) -> FeedingThread:
    calls, call_reason, dispatches_ns, has_all_calls = _calls(session, worker)
    stays, stay_reason, has_all_stays = _stays(session, worker)
    outside = crossed(calls, complement(union(stays)))
    parts = [(stays, stay_reason), (outside.pieces, call_reason[outside.left])]
    if has_all_calls and has_all_stays and worker.is_followed:
        active = Intervals(np.array([worker.span.from_ns]), np.array([worker.span.to_ns]))
        own = crossed(active, complement(union(stays, calls))).pieces
        parts.append((own, np.full(len(own), CODES[GapReason.OWN_CODE])))
    begins = np.concatenate([spans.start_ns for spans, _ in parts])
    ends = np.concatenate([spans.end_ns for spans, _ in parts])
    order = np.argsort(begins, kind="stable")
    reason = np.concatenate([one for _, one in parts])[order]
    return FeedingThread(
        worker.thread, dispatches_ns, Intervals(begins[order], ends[order]), reason
    )


def _calls(session: Session, worker: ThreadActivity) -> tuple[Intervals, Ints, Ints, bool]:
    """Return a thread's outermost CUDA calls, disjoint and in order, and whether all were kept."""
    kinds = {one.operation: kind_of(one.operation) for one in worker.operations}
    if not kinds:
        nothing = np.zeros(0, dtype=np.int64)
        return Intervals(nothing, nothing), nothing, nothing, True
    where = (
        f"{worker.thread.condition} AND {worker.span.condition} AND coalesce(depth, 0) = 0 "
        f"AND duration_ns IS NOT NULL AND operation IS NOT NULL "
        f"AND layer IN ({', '.join(literal(one.value) for one in CUDA_LAYERS)})"
    )
    query = CALLS_SQL.format(
        reasons=_cases("operation", {name: OF_KINDS[kind] for name, kind in kinds.items()}),
        dispatch=", ".join(literal(name) for name, kind in kinds.items() if kind in DISPATCH)
        or "NULL",
        where=where,
    )
    found = session.arrays(query).columns
    order = np.argsort(found["from_ns"], kind="stable")
    begins, ends, reason = (found[name][order] for name in ("from_ns", "to_ns", "reason"))
    dispatches_ns = begins[found["is_dispatch"][order] == 1]
    spans, kept = _disjoint(Intervals(begins, ends))
    return spans, reason[kept], dispatches_ns, bool(found["is_kept"].all())


def _stays(session: Session, worker: ThreadActivity) -> tuple[Intervals, Ints, bool]:
    """Return the parts of a thread's stays off the CPU by what it waited for.

    It waits by itself or for a disk first, and for a CPU once it could run again.
    """
    cases = " ".join(f"WHEN {literal(one.value)} THEN {CODES[to]}" for one, to in OF_WAITS.items())
    query = STAYS_SQL.format(
        reasons=cases, call=IN_CALL, waits=waits_sql({worker.thread: worker.span})
    )
    found = session.arrays(query).columns
    begins, ends = found["from_ns"], found["to_ns"]
    waited_ns = np.maximum(ends - found["queued_ns"], begins)
    read_ns = np.minimum(begins + found["disk_ns"], waited_ns)
    edges = (begins, read_ns, waited_ns, ends)
    whole = np.ones(len(begins), dtype=np.int64)
    reasons = np.concatenate(
        (whole * CODES[GapReason.IO], found["reason"], whole * CODES[GapReason.RUN_QUEUE])
    )
    spans = Intervals(np.concatenate(edges[:-1]), np.concatenate(edges[1:]))
    told = np.flatnonzero((reasons != IN_CALL) & (spans.end_ns > spans.start_ns))
    told = told[np.argsort(spans.start_ns[told], kind="stable")]
    parts, kept = _disjoint(picked(spans, told))
    has_all = bool(found["is_kept"].all()) and not worker.is_off_cpu_biased
    return parts, reasons[told][kept], has_all


def _disjoint(ordered: Intervals) -> tuple[Intervals, Ints]:
    """Return intervals cut so that none begins before another ended, and which are left."""
    latest_ns = np.maximum.accumulate(ordered.end_ns)
    begins = ordered.start_ns.copy()
    begins[1:] = np.maximum(begins[1:], latest_ns[:-1])
    kept = np.flatnonzero(ordered.end_ns > begins)
    return lasting(Intervals(begins, ordered.end_ns)), kept


def _cases(column: str, reasons: dict[str, GapReason]) -> str:
    return " ".join(
        f"WHEN {column} = {literal(word)} THEN {CODES[reason]}" for word, reason in reasons.items()
    )
