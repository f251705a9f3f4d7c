"""Many ceilings as tables: remedies, sweeps, the climb with concurrency, GPUs side by side.

Nothing here computes; what cannot be is told in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from gnomon.cli.ceiling_text import (
    Table,
    bar,
    constants_text,
    count,
    print_heading,
    print_lines,
    print_model,
    print_table,
    print_warnings,
    time_text,
    yes,
)
from gnomon.cli.numbers import UNKNOWN, pct
from gnomon.performance_model.ceiling import Ceiling
from gnomon.performance_model.comparison import MEASURES, Candidate, caveats, ranks
from gnomon.performance_model.cost import cost
from gnomon.performance_model.report import warnings_of
from gnomon.performance_model.sweep import Climb, Point
from gnomon.performance_model.what_if import Remedy, WhatIf
from gnomon.performance_model.workload import Workload

BAR_WIDTH = 8


def print_remedies(found: WhatIf, out: Console) -> None:
    """Print remedies by predicted gain, what is taken for granted, and what does not apply."""
    table = Table("remedy", "tokens/s>", "latency>", "fits", "remark")
    for one in found.remedies:
        table.add_row(*_remedy(one))
    print_table("What if: tokens/s a GPU, and the time of a token or step", table, out)
    if found.assumed:
        table = Table("remedy", "tokens/s>", "latency>", "fits", "remark")
        for one in found.assumed:
            table.add_row(*_remedy(one))
        print_table("The ceiling has already", table, out)
    assumed = {one.name for one in found.assumed}
    names: dict[str, list[str]] = {}
    for name, reason in found.not_applicable.items():
        if name not in assumed:
            names.setdefault(reason, []).append(name)
    if names:
        out.print(Text("Does not apply", style="bold"))
        lines = (
            Text(f"{', '.join(alike)}: ").append(reason, "dim") for reason, alike in names.items()
        )
        print_lines(lines, out)


def _remedy(one: Remedy) -> tuple[str, ...]:
    flops = _change(100 * (one.flops_per_token_ratio - 1))
    return (
        one.name,
        _change(one.gain_pct),
        _change(one.latency_pct),
        yes(one.fits),
        f"{one.remark}; FLOPs {flops}" if flops != "0 %" else one.remark,
    )


def _change(percent: float | None) -> str:
    """``+12 %``; a factor where percents are no longer read at a glance."""
    if percent is None:
        return UNKNOWN
    if percent >= 1000:
        return f"x {percent / 100 + 1:,.0f}"
    return "0 %" if abs(percent) < 0.05 else f"{percent:+.1f} %"


def print_sweep(
    workload: Workload,
    names: Sequence[str],
    points: Iterable[Point],
    gpu_hour_cost: float | None,
    out: Console,
) -> Mapping[str, int]:
    """Print a row for each point; the reason in the place of figures where it cannot be.

    Returns reason -> how many points cannot be for it.
    """
    print_heading(workload, out)
    figures = ("tokens/s>", "a GPU>", "TTFT>", "TPOT>", "compute>", "memory>", "bound by", "fits")
    money = _money_column(gpu_hour_cost)
    table = Table(*(f"{name}>" for name in names), *money, *figures)
    errors: dict[str, int] = {}
    warnings = dict.fromkeys(workload.warnings)
    for one in points:
        values = [
            f"{value:,}" if isinstance(value, int) else value for value in one.values.values()
        ]
        if one.ceiling is None:
            errors[one.error or ""] = errors.get(one.error or "", 0) + 1
            table.add_row(*values, *[UNKNOWN] * (len(money) + 6), "cannot be", UNKNOWN)
            continue
        answer = one.ceiling
        warnings |= dict.fromkeys(warnings_of(answer))
        table.add_row(
            *values,
            *_money(answer, gpu_hour_cost),
            count(answer.tokens_per_s),
            count(answer.tokens_per_s_per_gpu),
            time_text(answer.ttft_s),
            time_text(answer.tpot_s),
            pct(answer.compute_sol_pct),
            pct(answer.memory_sol_pct),
            str(answer.bound_by),
            yes(one.fits),
        )
    print_table("Attainable; compute and memory are SOL", table, out)
    for reason, times in errors.items():
        print_lines([Text(f"cannot be ({times} x): {reason}", style="yellow")], out)
    print_warnings(warnings, out)
    return errors


def _money_column(gpu_hour_cost: float | None) -> list[str]:
    return [] if gpu_hour_cost is None else ["cost/M>"]


def _money(answer: Ceiling, gpu_hour_cost: float | None) -> list[str]:
    """Return the cell of what a million tokens cost; none without a price."""
    money = cost(answer.tokens_per_s, answer.gpus, gpu_hour_cost).money_per_million_tokens
    return [] if money is None else [count(money)]


def print_climb(
    workload: Workload, steps: Sequence[Climb], gpu_hour_cost: float | None, out: Console
) -> None:
    """Print the climb from memory-bound to compute-bound: both SOLs as bars, and tokens/s."""
    ascii_only = not out.encoding.lower().startswith("utf")
    print_heading(workload, out)
    money = _money_column(gpu_hour_cost)
    figures = ("tokens/s>", "TPOT>", "compute SOL", "memory SOL", "bound by")
    table = Table("clients>", *money, *figures)
    for one in steps:
        answer = one.ceiling
        sols = (
            f"{bar(sol / 100, BAR_WIDTH, ascii_only=ascii_only)} {pct(sol)}"
            for sol in (answer.compute_sol_pct, answer.memory_sol_pct)
        )
        waiting = "" if one.running == one.clients else f"; {one.running:,} run"
        table.add_row(
            f"{one.clients:,}",
            *_money(answer, gpu_hour_cost),
            count(answer.tokens_per_s),
            time_text(answer.tpot_s),
            *sols,
            f"{answer.bound_by}{waiting}",
        )
    print_table("The climb: attainable, as more clients come", table, out)
    told = [warning for one in steps for warning in warnings_of(one.ceiling)]
    print_warnings([*workload.warnings, *told], out)


def print_comparison(found: Sequence[Candidate], now_ns: int, out: Console) -> None:
    """Print GPUs side by side with their places, the best by tokens per second and GPU first.

    Below them, whose constants each rests on.
    """
    print_model(found[0].workload, out)
    places = ranks(found)
    table = Table(
        "GPU", "TFLOP/s>", "tokens/s>", "tokens/money>", "tokens/J>", "TPOT>", "bound by", "fits"
    )
    names = _names(found)
    for at, one in enumerate(found):
        cells = [_placed(getattr(one, measure), places[measure][at]) for measure in MEASURES]
        table.add_row(
            names[at],
            *cells,
            time_text(one.ceiling.tpot_s),
            str(one.ceiling.bound_by),
            yes(one.fits),
        )
    print_table("A GPU, attainable (place)", table, out)
    if all(one.tokens_per_money is None for one in found):
        print_lines([Text("--gpu-hour-cost A,B,... ranks by money too", "dim")], out)
    resting: dict[str, list[str]] = {}
    for at, one in enumerate(found):
        resting.setdefault(constants_text(one.ceiling.constants, now_ns), []).append(names[at])
    print_lines(
        (
            Text(text if len(resting) == 1 else f"{', '.join(of)}: {text}", "dim")
            for text, of in resting.items()
        ),
        out,
    )
    told = [warning for one in found for warning in warnings_of(one.ceiling)]
    print_warnings([*found[0].workload.warnings, *told, *caveats(found)], out)


def _names(found: Sequence[Candidate]) -> list[str]:
    """Return the names of the GPUs; those that are there twice with their price."""
    names = [one.workload.gpu.name.removeprefix("NVIDIA ") for one in found]
    return [
        name
        if names.count(name) == 1 or one.gpu_hour_cost is None
        else f"{name} at {one.gpu_hour_cost:g}"
        for name, one in zip(names, found, strict=True)
    ]


def _placed(value: float | None, place: int | None) -> str:
    return UNKNOWN if value is None else f"{count(value)} ({place})"
