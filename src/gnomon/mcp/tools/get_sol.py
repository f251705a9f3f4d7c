"""How close the GPUs ran to the speed of light, and where the rest went."""

from __future__ import annotations

import math
from typing import Any

from gnomon.analysis.budget import with_budgets
from gnomon.analysis.summary import summarize
from gnomon.analysis.summary_types import GpuSummary
from gnomon.mcp.desk import Desk, QuestionError, only_gpu
from gnomon.mcp.parameters import Gpu, Model, Since, Split, TrafficOf, Until
from gnomon.mcp.reply import Answer, marked, said

MOST_ENTRIES = 1000
# What an entry of many is read for; all of it is told of a single window.
SHORT = (
    "uuid",
    "mig_uuid",
    "phase",
    "from_ns",
    "to_ns",
    "bound_by",
    "busy_pct",
    "compute_sol_pct",
    "at_most",
    "memory_sol_pct",
    "ledger",
    "sm_clock_mhz",
    "power_watts",
    "throttle_reasons",
    "tokens_per_s",
    "busiest_thread_cpu_pct",
    "budget",
    "warnings",
)


def answer(
    desk: Desk,
    *,
    since: Since = None,
    until: Until = None,
    by: Split = None,
    gpu: Gpu = None,
    model: Model = None,
    traffic: TrafficOf = None,
) -> Answer:
    """Say how close each GPU ran to its peak, the verdict first, and where the rest went.

    busy_pct is nvidia-smi's GPU-Util: it reads 100 while a GPU does almost nothing, so never
    conclude from it. compute_sol_pct and memory_sol_pct are shares of the hardware's peak
    (at_most true: an upper bound, the true clock was not measured). ledger is where 100 % of the
    arithmetic peak went: copying, idle, sm_empty, stalled, clock (throttled), padding, achieved;
    memory_ledger is the same of DRAM bandwidth. bound_by is what keeps it from going faster.
    budget, with a model: attainable_pct is what this model could reach at best, budget_pct what
    can still be won.

    All _pct are 0 to 100, rates are per second, other units are in the names. A number that is
    missing or null was not measured; unavailable says why. With by, entries are short.
    """
    from_ns, to_ns = desk.window(since, until)
    split = desk.split(by)
    if isinstance(split, int) and (to_ns - from_ns) / split > MOST_ENTRIES:
        raise QuestionError(
            f"by: {math.ceil((to_ns - from_ns) / split)} entries are more than {MOST_ENTRIES}; "
            "take a longer period, or less time with since and until"
        )
    options = traffic.model_dump(exclude_none=True) if traffic is not None else {}
    ceiling_of = desk.grammar.ceilings(model, options)
    meta = desk.recording.meta()
    every = summarize(desk.recording, from_ns=from_ns, to_ns=to_ns, by=split)
    summaries = only_gpu(every, gpu, meta, lambda one: (one.uuid, one.mig_uuid))
    if not summaries:
        raise QuestionError(_why_nothing(split))
    if ceiling_of is not None:
        summaries = with_budgets(summaries, ceiling_of)
    return Answer(
        facts={"from_ns": from_ns, "to_ns": to_ns},
        lists={"entries": [_entry(each, is_short=split is not None) for each in summaries]},
        advice="ask again with since at the end of the last entry, a longer period, or one gpu",
    )


def _entry(summary: GpuSummary, *, is_short: bool) -> dict[str, Any]:
    values = marked(summary.to_json())
    values["phase"] = said(summary.phase)
    values["warnings"] = tuple(map(said, summary.warnings))
    if is_short:
        values = {name: values[name] for name in SHORT}
        values = {name: value for name, value in values.items() if value not in (None, ())}
    values.pop("verdict", None)
    return {"verdict": summary.verdict} | values


def _why_nothing(split: str | int | None) -> str:
    if split == "phase":
        return "no phase is in this window; `gnomon mark NAME` names what a workload does"
    return "no GPU was measured in this window; get_status says what was, and what was not"
