"""Kernels that were loaded at their first launch: lazily loaded modules, and what they cost.

CUDA loads a function when it is first launched, and prepares a graph, which takes milliseconds
where a launch takes microseconds. Measured: the durations of a thread's first launches of a
function that lasted longer than ``USUAL`` of its other launches, less the median of those and less
what it waited for a CPU meanwhile (``_loads``). Told is the stretch in which nearly all of it was,
from ``SHORTEST_NS`` on, in sum over a thread, as information: a start-up. It is more where loads
that came after the first ``WARM_UP`` of a thread's launches cost a real share of a window of
``SHORTEST_WINDOW_S`` and more. Where a thread launched nothing again, there is nothing to compare
with, and the plain durations are told. Where counters were recorded, only for time in which the GPU
was idle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gnomon.analysis.questions import ThreadKey
from gnomon.detectors.case import Case
from gnomon.detectors.causes._loads import SHORTEST_NS, WARM_UP, loads_sql, may_have_loaded
from gnomon.detectors.causes._loss import Loss, loss_of_thread
from gnomon.detectors.finding import Evidence, Finding, Gain
from gnomon.detectors.grading import severity_of
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, Severity

NEEDS = (Need.CALLS, Need.CALL_ORDER)
# In a shorter window the tenth of the launches that comes first says nothing of a warm-up.
SHORTEST_WINDOW_S = 2.0
REMEDY = (
    "Warm up before serving: run each shape once, or set CUDA_MODULE_LOADING=EAGER to load all "
    "kernels at the start."
)

BY_THREAD_SQL = """\
SELECT host, pid, tid, count(*) AS loads, count(usual_ns) AS compared,
  sum(lost_ns)::BIGINT AS lost_ns, arg_max(operation, lost_ns) AS operation,
  coalesce(sum(lost_ns) FILTER (is_late), 0)::BIGINT AS late_ns
FROM ({loads}) GROUP BY ALL ORDER BY lost_ns DESC"""


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each thread whose first launches cost ``SHORTEST_NS`` and more."""
    if not may_have_loaded(case):
        return
    for row in case.session.rows(BY_THREAD_SQL.format(loads=loads_sql(case))):
        if row["lost_ns"] >= SHORTEST_NS:
            thread = ThreadKey(row["host"], row["pid"], row["tid"])
            loss = loss_of_thread(case, thread, loads_sql(case, f" AND {thread.condition}"))
            if loss is not None and loss.idle_ns >= SHORTEST_NS:
                yield _finding(case, thread, loss)


def _finding(case: Case, thread: ThreadKey, loss: Loss) -> Finding:
    """Return the finding of a thread's loads."""
    (row,) = case.session.rows(BY_THREAD_SQL.format(loads=loss.sql))
    return Finding(
        cause=Cause.FIRST_USE_LOADING,
        severity=_severity(case, thread, loss, row["late_ns"]),
        **loss.told,
        **case.who(thread),
        operation=row["operation"],
        evidence=tuple(_evidence(case, row, loss.sql)),
        ruled_out=(
            case.ruled_out(
                Cause.CPU_CONTENTION,
                "in these first launches the thread was off the CPU for {value}",
                f"SELECT sum(off_cpu_ns)::BIGINT AS ns FROM ({loss.sql})",
                "ns",
            ),
        ),
        remedy=REMEDY,
        expected_gain=Gain(loss.idle_ns / 1e9, "s", "once in the life of each process"),
        confidence=0.9,
        confidence_reason="the recorder marked which calls were the first of their function",
    )


def _severity(case: Case, thread: ThreadKey, loss: Loss, late_ns: int) -> Severity:
    if case.span.seconds < SHORTEST_WINDOW_S:
        return Severity.INFO
    if loss.gpu is not None and late_ns:
        late = loss_of_thread(
            case, thread, f"SELECT * FROM ({loss.sql}) WHERE is_late", is_whole=True
        )
        late_ns = 0 if late is None else late.idle_ns
    return severity_of(late_ns / 1e9 / case.span.seconds) or Severity.INFO


def _evidence(case: Case, row: dict[str, Any], loads: str) -> Iterator[Evidence]:
    longer = {0: "", row["loads"]: " longer than others"}.get(
        row["compared"], " longer than others, as far as there are any"
    )
    yield case.evidence(
        f"{row['loads']} first launches of a function took {{value}}{longer}",
        f"SELECT sum(lost_ns)::BIGINT AS ns FROM ({loads})",
        "ns",
    )
    yield case.evidence(
        "the longest of them took {value}",
        f"SELECT max(duration_ns)::BIGINT AS ns FROM ({loads})",
        "ns",
    )
    if row["compared"]:
        yield case.evidence(
            "other launches of this thread took {value} at the median",
            f"SELECT max(usual_ns)::BIGINT AS ns FROM ({loads})",
            "ns",
        )
    yield case.evidence(
        f"of it, {{value}} came after the first {100 * WARM_UP:.0f} % of its launches",
        f"SELECT coalesce(sum(lost_ns) FILTER (is_late), 0)::BIGINT AS ns FROM ({loads})",
        "ns",
    )
