"""The first screen of ``gnomon ceiling``, and its operators.

Fits 80 columns and needs no colour; nothing here computes.
"""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from gnomon.cli.ceiling_text import (
    FACT_HANG,
    LABEL_WIDTH,
    VALUE_WIDTH,
    Table,
    amount,
    bar,
    count,
    fact,
    print_constants,
    print_heading,
    print_lines,
    print_table,
    print_warnings,
    time_text,
)
from gnomon.cli.numbers import gib, pct, rate, scaled
from gnomon.enums import BoundBy, Pipe
from gnomon.hardware.peaks import PIPE_OF_DTYPE
from gnomon.performance_model.capacity import Capacity
from gnomon.performance_model.ceiling import Ceiling
from gnomon.performance_model.cost import Cost
from gnomon.performance_model.report import warnings_of
from gnomon.performance_model.workload import Workload

BAR_WIDTH = 20

# Bound -> its sign in the bar of time, and the one for terminals without UTF-8.
_SIGNS = {
    BoundBy.COMPUTE: ("█", "#"),
    BoundBy.MEMORY: ("▒", "m"),
    BoundBy.COMMUNICATION: (">", ">"),
    BoundBy.LATENCY: ("░", "."),
    BoundBy.IDLE: ("·", "-"),
}
_MEANINGS = {
    BoundBy.MEMORY: "weights, cache, activations",
    BoundBy.COMMUNICATION: "on the wire between GPUs",
    BoundBy.LATENCY: "kernels starting",
    BoundBy.IDLE: "pipeline stages waiting",
}


def print_ceiling(
    workload: Workload, answer: Ceiling, price: Cost, now_ns: int, out: Console
) -> None:
    """Print the answer first, then what it is made of, and what it rests on."""
    ascii_only = not out.encoding.lower().startswith("utf")
    print_heading(workload, out)
    print_lines(_answer(answer), out)
    print_lines(_speeds(answer, ascii_only=ascii_only), out, FACT_HANG)
    print_lines(_time(answer, ascii_only=ascii_only), out, FACT_HANG)
    room = workload.capacity()
    print_lines([*_sizes(answer, room), *_costs(answer, price)], out, FACT_HANG)
    print_constants(answer.constants, now_ns, out)
    of_room = [room.warning] if room.warning else []
    print_warnings([*workload.warnings, *warnings_of(answer), *of_room], out)


def _answer(answer: Ceiling) -> list[Text]:
    each = f" ({count(answer.tokens_per_s_per_gpu)} a GPU)" if answer.gpus > 1 else ""
    first = Text(f"{count(answer.tokens_per_s)} tokens/s{each} attainable", style="bold")
    first.append(f", bound by {answer.bound_by}")
    latencies = (("TTFT", answer.ttft_s), ("TPOT", answer.tpot_s))
    second = ", ".join(
        f"{name} {time_text(seconds)}" for name, seconds in latencies if seconds is not None
    )
    return [first, Text(f"{second} at least")] if second else [first]


def _speeds(answer: Ceiling, *, ascii_only: bool) -> list[Text]:
    typical = answer.typical_tokens_per_s
    source = answer.typical
    rows = [
        ("roofline", answer.roofline_tokens_per_s, "every kernel at its bare peak"),
        ("attainable", answer.tokens_per_s, "at the best kernels' rates"),
    ]
    if typical is not None and source is not None:
        rows.append(
            ("typical engine", typical, f"{source.share * 100:.0f} % of attainable, published")
        )
    widest = answer.roofline_tokens_per_s
    lines = []
    for label, tokens_per_s, remark in rows:
        line = Text(f"{label:<{LABEL_WIDTH}} {count(tokens_per_s):>{VALUE_WIDTH}}  ")
        line.append(bar(tokens_per_s / widest, BAR_WIDTH, ascii_only=ascii_only))
        lines.append(line.append(f"  {remark}", style="dim"))
    return lines


def _time(answer: Ceiling, *, ascii_only: bool) -> list[Text]:
    seconds = {bound: s for bound, s in answer.seconds_by_bound.items() if s > 0}
    ordered = sorted(seconds, key=lambda bound: -seconds[bound])
    is_tensor = PIPE_OF_DTYPE[answer.totals.leading_dtype] is Pipe.TENSOR
    meanings = {**_MEANINGS, BoundBy.COMPUTE: f"{'tensor' if is_tensor else 'CUDA'} cores at work"}
    lines = [Text(f"Where the step's {time_text(answer.time_s)} go")]
    for bound in ordered:
        share = seconds[bound] / answer.time_s
        line = Text(f"{bound:<{LABEL_WIDTH}} {pct(100 * share):>{VALUE_WIDTH}}  ")
        sign = _SIGNS[bound][ascii_only]
        line.append(f"{sign * round(share * BAR_WIDTH):<{BAR_WIDTH}}")
        lines.append(line.append(f"  {meanings[bound]}", style="dim"))
    return lines


def _sizes(answer: Ceiling, room: Capacity) -> list[Text]:
    gpu, moved = answer.gpu, answer.bytes
    parts = {
        "weights": moved.weights,
        "cache": moved.kv_read + moved.kv_write,
        "activations": moved.activations,
        "gradients": moved.gradients,
    }
    named = ", ".join(f"{name} {scaled(size, 'B')}" for name, size in parts.items() if size)
    peaks = ", ".join(
        f"{scaled(gpu.flops(dtype), 'FLOP/s')} {dtype}" for dtype in answer.flops_by_dtype
    )
    intensity = (
        f"a step and GPU: {answer.arithmetic_intensity_flop_per_byte:,.0f} a byte, ridge at "
        f"{answer.ridge_flop_per_byte:,.0f}"
    )
    bandwidth = f"of {rate(gpu.dram_bytes_per_s)}; MBU {pct(answer.mbu_pct)}"
    lines = [
        fact("compute SOL", pct(answer.compute_sol_pct), f"of {peaks}; MFU {pct(answer.mfu_pct)}"),
        fact("memory SOL", pct(answer.memory_sol_pct), bandwidth),
        fact("FLOPs", scaled(answer.flops, "FLOP"), intensity),
        fact("bytes", scaled(moved.total, "B"), named),
    ]
    if answer.collective_bytes:
        lines.append(fact("wire", scaled(answer.collective_bytes, "B"), "sent by each GPU"))
    return [*lines, *_room(room)]


def _room(room: Capacity) -> list[Text]:
    needed = gib(room.needed_bytes)
    if room.fits is None:
        return [fact("memory", needed, "a GPU, whose own is not known")]
    verdict = "fits into" if room.fits else "does NOT fit into"
    return [
        fact("memory", needed, f"a GPU, {verdict} {gib(room.usable_bytes)}"),
        fact(
            "room for",
            "",
            f"{room.max_batch:,} such sequences, or {room.max_context:,} tokens in each",
        ),
    ]


def _costs(answer: Ceiling, price: Cost) -> list[Text]:
    joules, money = price.joules_per_million_tokens, price.money_per_million_tokens
    lines = []
    if joules is not None:
        watts = f"a million tokens at {answer.gpu.tdp_watts:,.0f} W a GPU"
        lines.append(fact("energy", scaled(joules, "J"), watts))
    if money is not None:
        hourly = f"a million tokens at {price.gpu_hour_cost:g} a GPU-hour"
        lines.append(fact("cost", f"{money:,.3g}", hourly))
    return lines


def print_operators(answer: Ceiling, out: Console) -> None:
    """Print a row for each operator, with its share of the time; those of most time first."""
    dtypes = list(answer.flops_by_dtype)
    several = ["dtype"] if len(dtypes) > 1 else []
    table = Table("operator", "times>", "FLOP>", *several, "bytes>", "time>", "share>", "bound by")
    for one in sorted(answer.operators, key=lambda one: -one.time_s):
        operator = one.operator
        table.add_row(
            operator.name,
            f"{operator.count:,.4g}",
            amount(operator.flops),
            *([operator.dtype if operator.flops else ""] if several else []),
            amount(operator.total_bytes or operator.collective_bytes),
            time_text(one.time_s),
            pct(100 * one.time_s / answer.time_s),
            str(one.bound_by),
        )
    print_table(f"Operators of a step on one GPU, in {' and '.join(dtypes)}", table, out)
