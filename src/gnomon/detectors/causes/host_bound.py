"""A thread that feeds a GPU is busy by itself: in its own code, on the CPU, outside CUDA calls.

Measured: the thread's active time, less its stays off the CPU, less its time on the CPU inside
CUDA calls. Between a query whether the GPU has done and the next one it waits for the GPU; a gap
between its calls and stays that is ``LONE_GAP`` times the fifth longest one may be a clock that was
set, or rows that nobody kept. Neither is own code. It speaks in one of two cases, of threads that
were active for ``LEAST_ACTIVE_NS``:

- Own code fills ``OWN_SHARE`` of the active time and synchronisations ``WAITING_SHARE`` at most:
  the thread hardly ever waits for the GPU, so the GPU waits for it. Without counters this is at
  most a warning, and information where it waits at all (``SOME_WAITING_SHARE``): then it keeps pace
  with the GPU, which may be at work on one step while the thread prepares the next.
- Counters show the GPU idle meanwhile: the loss is the time in own code, at most what the GPU was
  idle beyond the thread's own stays off the CPU. Where the thread synchronises more often than
  each ``OWN_CODE_A_WAIT_NS`` of own code, its many waits are the cause (``synchronization``) and
  nothing is said here.

Reported as a warning from 5 % of the time between its first call and its last on; below, it is what
every loop costs. Silent where stays off the CPU were not all recorded, or calls or stays were lost.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.operations import CUDA_LAYERS, Kind, condition
from gnomon.analysis.questions import literal
from gnomon.analysis.recorded import lost_rows
from gnomon.detectors.case import Case, proven, said
from gnomon.detectors.feeding import MOST_DETAILED, MOST_FINDINGS, Cost, Said, finding, graded
from gnomon.detectors.finding import Evidence, Finding, RuledOut
from gnomon.detectors.needs import Need, what_was_lost
from gnomon.enums import Cause, Severity

NEEDS = (Need.CALLS, Need.ALL_CALLS, Need.ALL_ROWS, Need.SCHEDULING, Need.COUNTERS)
LAYERS = ", ".join(literal(layer.value) for layer in CUDA_LAYERS)
LEAST_ACTIVE_NS = 1_000_000_000
# A thread with less than 40 % of its time for calls and waits has no slack to run ahead with.
OWN_SHARE = 0.6
WAITING_SHARE = 0.1
# Waits of 10 us in steps of 10 ms are what a synchronisation itself takes.
SOME_WAITING_SHARE = 0.001
# cudaEventQuery, cuStreamQuery, ...: has the GPU done?
QUERIES = "^cu(da)?(Event|Stream)Query"
LONE_GAP = 10
# What a thread does between two waits for the GPU; less is the price of waiting so often.
OWN_CODE_A_WAIT_NS = 1_000_000
# Of the busiest thread of its process: one that dispatches less is not what the GPU waits for.
DISPATCH_SHARE = 0.5
REMEDY = (
    "Take work off this thread: capture launches in CUDA graphs, compile or batch the steps "
    "between them, move tokenization, sampling and logging to other threads or processes. A "
    "profiler of the host (py-spy) shows the lines."
)


COUNTED_SQL = """\
SELECT coalesce(sum(total_ns), 0)::BIGINT AS in_calls_ns,
  coalesce(sum(total_ns) FILTER ({waits}), 0)::BIGINT AS waiting_ns,
  coalesce(sum(calls) FILTER (regexp_matches(operation, '{queries}')), 0)::BIGINT AS queries
FROM call_histograms WHERE ts_ns > {from_ns} AND ts_ns - duration_ns < {to_ns}
  AND {process} AND layer IN ({layers})"""

# From the end of a query that did not find the GPU done to the next one, with no call in between.
POLLING_SQL = """\
SELECT coalesce(sum(greatest(0, next_ns - ts_ns)), 0)::BIGINT AS ns FROM (
  SELECT ts_ns, return_code, is_query, lead(is_query) OVER following AS is_next_query,
    lead(ts_ns - duration_ns) OVER following AS next_ns
  FROM (SELECT *, regexp_matches(operation, '{queries}') AS is_query {calls})
  WINDOW following AS (ORDER BY ts_ns)
) WHERE is_query AND is_next_query AND return_code IS DISTINCT FROM 0"""

# Of the five longest gaps those that are far longer than the fifth.
LONE_GAPS_SQL = """\
SELECT coalesce(list_sum(list_filter(longest, lambda gap_ns:
  gap_ns > {lone} * coalesce(longest[5], 0))), 0)::BIGINT AS ns
FROM (
  SELECT max(gap_ns, 5) AS longest FROM (
    SELECT begin_ns - max(ts_ns) OVER (
      ORDER BY begin_ns ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS gap_ns
    FROM (SELECT ts_ns - duration_ns AS begin_ns, ts_ns {calls}
      UNION ALL SELECT ts_ns - duration_ns, ts_ns FROM off_cpu WHERE {stays})
  ) WHERE gap_ns > 0
)"""


@dataclass(frozen=True, slots=True)
class OwnCode:
    """How long a thread was on the CPU outside CUDA calls: at least this, of ``active_ns``.

    ``polling_ns`` between queries is a part of ``waiting_ns``; ``lone_ns`` is in gaps of which
    nobody knows, and not active.
    """

    own_ns: int
    waiting_ns: int
    waits: int
    active_ns: int
    polling_ns: int = 0
    lone_ns: int = 0

    @property
    def fills(self) -> bool:
        """Whether it leaves the thread no time to wait for its GPU."""
        return (
            self.own_ns >= OWN_SHARE * self.active_ns
            and self.waiting_ns <= WAITING_SHARE * self.active_ns
        )

    @property
    def keeps_pace(self) -> bool:
        """Whether it waits for its GPU at all."""
        return self.waiting_ns > SOME_WAITING_SHARE * self.active_ns


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each thread whose own code kept the GPU waiting."""
    if not case.dispatch_threads or _lacks_rows(case):
        return
    found = [
        (worker, *known) for worker in case.dispatch_threads if (known := _known(case, worker))
    ]
    found.sort(key=lambda one: -one[2].lost_ns)
    for place, (worker, own, cost) in enumerate(found[:MOST_FINDINGS]):
        confidence, reason = _certainty(own, cost)
        told = Said(
            evidence=tuple(_evidence(case, worker, own, is_detailed=place < MOST_DETAILED)),
            ruled_out=tuple(_ruled_out(case, worker)),
            remedy=REMEDY,
            confidence=confidence,
            confidence_reason=reason,
        )
        yield finding(case, worker, Cause.HOST_BOUND, cost, told)


def _lacks_rows(case: Case) -> bool:
    """Tell whether what was lost may have been the calls and stays that own code would be."""
    calls = sum(one.calls for one in case.operations if one.layer in CUDA_LAYERS)
    stays = sum(one.stays for one in case.activities)
    return what_was_lost(lost_rows(case.session, case.span), calls, stays) is not None


def _certainty(own: OwnCode, cost: Cost) -> tuple[float, str]:
    if cost.gpu_idle_ns is not None:
        return 0.9, "the GPU was measured to be idle meanwhile"
    unknown = "the GPU's idle time was not measured"
    if own.keeps_pace:
        waited = said(own.waiting_ns, "ns")
        return 0.4, (
            f"{unknown}, and the thread waited {waited} for it: it keeps pace with the GPU, which "
            "may have worked on one step while the thread prepared the next"
        )
    return 0.7, f"{unknown}; calls that the recorder does not follow would count as own code"


def _leads(case: Case, worker: ThreadActivity) -> bool:
    """Tell whether no other thread of its process dispatches far more."""
    process = (worker.thread.host, worker.thread.pid)
    most = max(
        one.dispatched
        for one in case.dispatch_threads
        if (one.thread.host, one.thread.pid) == process
    )
    return worker.dispatched >= DISPATCH_SHARE * most


def _known(case: Case, worker: ThreadActivity) -> tuple[OwnCode, Cost] | None:
    """Return a thread's own code and what it cost; None where that is not known, or not much."""
    if worker.active_ns < LEAST_ACTIVE_NS or not worker.stays or worker.is_off_cpu_biased:
        return None
    # Calls that all took no time were not measured.
    if worker.in_calls_ns <= 0 or not _leads(case, worker):
        return None
    own = _own_code(case, worker)
    if own is None or _cost(case, worker, own) is None:
        return None
    # Only now what takes a sort of all of its rows.
    own = _certain(case, worker, own)
    cost = _cost(case, worker, own)
    return None if cost is None else (own, cost)


def _cost(case: Case, worker: ThreadActivity, own: OwnCode) -> Cost | None:
    idle = case.idle_of(worker.thread)
    lost_ns = own.own_ns
    if idle is not None:
        off_cpu_ns = worker.off_cpu_ns + worker.idle_ns - worker.off_cpu_in_calls_ns
        idle_ns = idle.within(worker.span.from_ns, worker.span.to_ns) - off_cpu_ns
        lost_ns = min(lost_ns, max(0, round(idle_ns)))
    is_seen_idle = idle is not None and own.own_ns >= OWN_CODE_A_WAIT_NS * own.waits
    if not own.fills and not is_seen_idle:
        return None
    at_most = Severity.WARNING if idle is None else Severity.CRITICAL
    # Of the time without work too: a GPU that idles for want of requests is not starved by this.
    idle_ns = worker.idle_ns
    cost = graded(case, worker, lost_ns, worker.span, long_ns=idle_ns, at_most=at_most)
    if cost is None or cost.severity is Severity.INFO:
        return None
    is_guess = idle is None and own.keeps_pace
    return replace(cost, severity=Severity.INFO) if is_guess else cost


def _own_code(case: Case, worker: ThreadActivity) -> OwnCode | None:
    """Return what is certain; where rows of calls are missing, they may have been any that long.

    Histograms of the whole process then bound the time in calls from above. None where they count
    so many queries that the thread may have done nothing else.
    """
    in_calls_ns, waiting_ns, queries = worker.on_cpu_in_calls_ns, worker.waiting_ns, 0
    if worker.biased:
        (counted,) = case.session.rows(_counted_sql(worker))
        in_calls_ns = max(in_calls_ns, counted["in_calls_ns"])
        waiting_ns = max(waiting_ns, counted["waiting_ns"])
        queries = counted["queries"]
    own_ns = max(0, worker.on_cpu_ns - in_calls_ns)
    if own_ns < OWN_CODE_A_WAIT_NS * queries:
        return None
    return OwnCode(own_ns, waiting_ns, worker.waits, worker.active_ns)


def _certain(case: Case, worker: ThreadActivity, own: OwnCode) -> OwnCode:
    """Return own code without what lies between queries, or in a gap unlike all others."""
    polls = any(re.match(QUERIES, one.operation) for one in worker.outermost())
    polling_ns = int(case.value(_polling_sql(case, worker))) if polls else 0
    lone_ns = int(case.value(_lone_gaps_sql(case, worker)))
    return OwnCode(
        own_ns=max(0, own.own_ns - polling_ns - lone_ns),
        waiting_ns=own.waiting_ns + polling_ns,
        waits=own.waits,
        active_ns=max(0, own.active_ns - lone_ns),
        polling_ns=polling_ns,
        lone_ns=lone_ns,
    )


def _polling_sql(case: Case, worker: ThreadActivity) -> str:
    return POLLING_SQL.format(queries=QUERIES, calls=_calls(case, worker))


def _lone_gaps_sql(case: Case, worker: ThreadActivity) -> str:
    stays = f"{worker.span.condition} AND {worker.thread.condition}"
    return LONE_GAPS_SQL.format(lone=LONE_GAP, calls=_calls(case, worker), stays=stays)


def _counted_sql(worker: ThreadActivity) -> str:
    """Return the SELECT of what histograms have of the process while the thread was active.

    A call within a call counts twice, which makes the bound no lower.
    """
    return COUNTED_SQL.format(
        waits=condition(Kind.SYNCHRONIZATION),
        queries=QUERIES,
        from_ns=worker.span.from_ns,
        to_ns=worker.span.to_ns,
        process=worker.thread.process_condition,
        layers=LAYERS,
    )


def _evidence(
    case: Case, worker: ThreadActivity, own: OwnCode, *, is_detailed: bool
) -> Iterator[Evidence]:
    span = worker.span
    off_cpu = (
        f"SELECT coalesce(round(sum(least(duration_ns, ts_ns - {case.span.from_ns}) "
        "* coalesce(weight, 1))), 0)::BIGINT AS ns "
        f"FROM off_cpu WHERE {span.condition} AND {worker.thread.condition}"
    )
    on_cpu_in_calls = _sum_sql(case, worker, "duration_ns - coalesce(off_cpu_ns, 0)")
    off_cpu_ns = worker.off_cpu_ns + worker.idle_ns
    without = {
        _polling_sql(case, worker): own.polling_ns,
        _lone_gaps_sql(case, worker): own.lone_ns,
    }
    less = "".join(f" - ({query})" for query, ns in without.items() if ns)
    yield proven(
        ("at most, as not all calls were kept, " if worker.biased else "")
        + f"of {own.active_ns / 1e9:.4g} s in which it was active, it was on the CPU in its own "
        "code for {value}",
        span.to_ns - span.from_ns - off_cpu_ns - worker.on_cpu_in_calls_ns - sum(without.values()),
        f"SELECT {span.to_ns - span.from_ns} - ({off_cpu}) - ({on_cpu_in_calls}){less} AS ns",
        "ns",
    )
    yield proven(
        "on the CPU inside CUDA calls for {value}",
        worker.on_cpu_in_calls_ns,
        on_cpu_in_calls,
        "ns",
    )
    yield proven("off the CPU for {value}, idle time included", off_cpu_ns, off_cpu, "ns")
    if own.polling_ns:
        text = "between one query whether the GPU has done and the next: {value} (not counted)"
        yield proven(text, own.polling_ns, _polling_sql(case, worker), "ns")
    if own.lone_ns:
        text = "without any call or stay, unlike the rest: {value} (not counted)"
        yield proven(text, own.lone_ns, _lone_gaps_sql(case, worker), "ns")
    frame = (
        "SELECT concat_ws(' ', symbol, nullif(concat_ws(':', file, line), '')) AS frame FROM ("
        f"SELECT stack_hash, count(*) AS calls {_calls(case, worker)} "
        "AND stack_hash IN (SELECT stack_hash FROM stacks WHERE kind = 'python') "
        "GROUP BY stack_hash ORDER BY calls DESC, stack_hash LIMIT 1) "
        "JOIN stacks USING (stack_hash) WHERE kind = 'python' ORDER BY depth LIMIT 1"
    )
    for row in case.session.rows(frame) if is_detailed else ():
        yield proven("most of its calls come from {value}", row["frame"], frame, "")


def _ruled_out(case: Case, worker: ThreadActivity) -> Iterator[RuledOut]:
    launches = (Kind.LAUNCH, Kind.GRAPH_LAUNCH)
    off_cpu = proven(
        "inside all its launches it was off the CPU for {value}",
        sum(one.off_cpu_ns or 0 for one in worker.outermost(*launches)),
        f"SELECT coalesce(sum(off_cpu_ns), 0)::BIGINT AS ns {_calls(case, worker)} "
        f"AND {condition(*launches)}",
        "ns",
    )
    waited = proven(
        "it waited for the GPU in synchronisations for {value}",
        sum(one.total_ns for one in worker.outermost(Kind.SYNCHRONIZATION)),
        f"SELECT coalesce(sum(duration_ns), 0)::BIGINT AS ns {_calls(case, worker)} "
        f"AND {condition(Kind.SYNCHRONIZATION)}",
        "ns",
    )
    for cause, shown in ((Cause.CPU_CONTENTION, off_cpu), (Cause.SYNCHRONIZATION, waited)):
        yield shown.excludes(cause)


def _calls(case: Case, worker: ThreadActivity) -> str:
    """Return FROM and WHERE of its outermost CUDA calls."""
    return (
        f"FROM host_calls WHERE {case.span.condition} AND {worker.thread.condition} "
        f"AND layer IN ({LAYERS}) AND coalesce(depth, 0) = 0"
    )


def _sum_sql(case: Case, worker: ThreadActivity, what: str) -> str:
    """Return the SELECT of a sum over its outermost CUDA calls and those that they stand for."""
    return (
        "SELECT coalesce(sum(ns), 0)::BIGINT AS ns FROM ("
        f"SELECT round(sum(({what}) * coalesce(weight, 1))) AS ns {_calls(case, worker)} "
        "GROUP BY layer, operation)"
    )
