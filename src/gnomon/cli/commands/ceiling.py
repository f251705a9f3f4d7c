"""``gnomon ceiling``: what a model could reach at best on a GPU, by open arithmetic."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import click

from gnomon._errors import CommandError, ModelError
from gnomon.cli import base
from gnomon.cli.model_options import Asked, gpu_option, gpus, model_options, usage_errors

if TYPE_CHECKING:
    from gnomon.performance_model.ceiling import Ceiling
    from gnomon.performance_model.cost import Cost
    from gnomon.performance_model.workload import Workload


@click.command(
    "ceiling",
    cls=base.Command,
    examples=[
        (
            "gnomon ceiling --model Llama-3.1-8B --gpu H200-SXM-141GB --batch 64",
            "serving with 64 running sequences: tokens/s, TTFT and TPOT, and what binds them",
        ),
        (
            "gnomon ceiling --model ./config.json --gpu L40S --tp 4 --phase decode --what-if",
            "a decode step on four GPUs, and which remedy would bring most",
        ),
        (
            "gnomon ceiling --model Qwen3-32B --gpu L40S,H100-SXM5-80GB,H200-SXM-141GB",
            "which GPU is best for it: FLOP/s, tokens/s, tokens for the money and the watt",
        ),
        (
            "gnomon ceiling --model Qwen3-32B --gpu L40S --sweep tp=1,2,4 --sweep batch=1..512",
            "every combination; ranges double, batch=8..64:8 goes in steps of 8",
        ),
    ],
)
@model_options
@gpu_option
@click.option(
    "--gpu-hour-cost",
    metavar="N[,N...]",
    help="Price of one GPU for an hour; one for each GPU, or one for all.",
)
@click.option("--operators", "show_operators", is_flag=True, help="Show every operator.")
@click.option("--what-if", "show_remedies", is_flag=True, help="Rank remedies by predicted gain.")
@click.option(
    "--sweep",
    "sweeps",
    metavar="NAME=VALUES",
    multiple=True,
    help="Values of batch, prompt, output, context, cached-prefix, tp, pp, ep, dp, dtype or "
    "kv-dtype; several make the product.",
)
@click.option(
    "--concurrency", metavar="N..M", help="Draw the climb as more clients come, such as 2..1024."
)
@base.json_option()
def command(  # noqa: PLR0913  one parameter an option
    *,
    asked: Asked,
    gpu: str,
    gpu_hour_cost: str | None,
    show_operators: bool,
    show_remedies: bool,
    sweeps: tuple[str, ...],
    concurrency: str | None,
    as_json: bool,
) -> None:
    """Say what a model could reach at best on a GPU, and what binds it."""
    workloads = asked.workloads(gpus(gpu))
    _one_view(
        {
            "--sweep": bool(sweeps),
            "--concurrency": concurrency is not None,
            "several GPUs": len(workloads) > 1,
            "--what-if or --operators": show_remedies or show_operators,
        }
    )
    with usage_errors():
        costs = _costs(gpu_hour_cost, len(workloads))
        if sweeps:
            _sweep(workloads[0], sweeps, costs[0], as_json=as_json)
        elif concurrency is not None:
            _climb(workloads[0], concurrency, costs[0], as_json=as_json)
        elif len(workloads) > 1:
            _compare(workloads, costs, as_json=as_json)
        elif as_json:
            _print_json(workloads[0], costs[0], remedies=show_remedies)
        else:
            _show(workloads[0], costs[0], operators=show_operators, remedies=show_remedies)


def _one_view(views: dict[str, bool]) -> None:
    wanted = [name for name, is_wanted in views.items() if is_wanted]
    if len(wanted) > 1:
        raise click.UsageError(f"{' and '.join(wanted)} are answers of their own: ask for one")


def _costs(text: str | None, count: int) -> list[float | None]:
    """Return the price of an hour of each GPU: the option's, else the configured one."""
    if text is None:
        from gnomon import configuration  # noqa: PLC0415

        return [configuration.load().gpu_hour_cost] * count
    try:
        costs: list[float | None] = [float(part) for part in text.split(",")]
    except ValueError:
        raise ModelError(f"--gpu-hour-cost is {text!r}: it must be a number, or several") from None
    if len(costs) not in (1, count):
        raise ModelError(f"--gpu-hour-cost has {len(costs)} prices for {count} GPUs: give one each")
    return costs * count if len(costs) == 1 else costs


def _show(
    workload: Workload, gpu_hour_cost: float | None, *, operators: bool, remedies: bool
) -> None:
    from gnomon.cli import ceiling_rendering, ceiling_views, rendering  # noqa: PLC0415  rich

    answer = workload.ceiling()
    out = rendering.console()
    price = _price(workload, answer, gpu_hour_cost)
    ceiling_rendering.print_ceiling(workload, answer, price, time.time_ns(), out)
    if operators:
        ceiling_rendering.print_operators(answer, out)
    if remedies:
        from gnomon.performance_model.what_if import what_if  # noqa: PLC0415

        ceiling_views.print_remedies(what_if(workload), out)


def _print_json(workload: Workload, gpu_hour_cost: float | None, *, remedies: bool) -> None:
    from gnomon.performance_model import report  # noqa: PLC0415
    from gnomon.performance_model.what_if import what_if  # noqa: PLC0415

    answer = workload.ceiling()
    document = report.full(
        workload, answer, _price(workload, answer, gpu_hour_cost), time.time_ns()
    )
    if remedies:
        document["what_if"] = report.remedies(what_if(workload))
    base.print_json(document)


def _price(workload: Workload, answer: Ceiling, gpu_hour_cost: float | None) -> Cost:
    from gnomon.performance_model.cost import cost  # noqa: PLC0415

    return cost(answer.tokens_per_s, answer.gpus, gpu_hour_cost, workload.gpu.tdp_watts)


def _sweep(
    workload: Workload, texts: tuple[str, ...], gpu_hour_cost: float | None, *, as_json: bool
) -> None:
    from gnomon.performance_model import report  # noqa: PLC0415
    from gnomon.performance_model.sweep import axis, size, sweep  # noqa: PLC0415

    axes = [axis(text) for text in texts]
    points = sweep(workload, axes)
    if as_json:
        rows = (report.point(one, gpu_hour_cost) for one in points)
        document = report.several(workload, "sweep", rows, time.time_ns())
        base.print_json(document)
        reasons = [row["error"] for row in document["sweep"] if row["error"] is not None]
    else:
        from gnomon.cli import ceiling_text, ceiling_views, rendering  # noqa: PLC0415  rich

        names, out = [one.name for one in axes], rendering.console()
        errors = ceiling_views.print_sweep(workload, names, points, gpu_hour_cost, out)
        ceiling_text.print_constants(workload.constants, time.time_ns(), out)
        reasons = [reason for reason, times in errors.items() for _ in range(times)]
    if len(reasons) == size(axes):
        asked = " ".join(f"--sweep {text}" for text in texts)
        raise CommandError(f"no point of {asked} can be computed: {reasons[0]}")


def _climb(workload: Workload, text: str, gpu_hour_cost: float | None, *, as_json: bool) -> None:
    from gnomon.performance_model import report  # noqa: PLC0415
    from gnomon.performance_model.sweep import climb, doubling  # noqa: PLC0415

    found = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", text.strip(), re.ASCII)
    if found is None:
        raise ModelError(f"--concurrency is {text!r}: write a range such as 2..1024")
    clients = doubling(int(found[1]), int(found[2]), f"--concurrency {text}")
    steps = list(climb(workload, clients))
    if as_json:
        rows = (report.step_of_climb(one, gpu_hour_cost) for one in steps)
        base.print_json(report.several(workload, "concurrency", rows, time.time_ns()))
        return
    from gnomon.cli import ceiling_text, ceiling_views, rendering  # noqa: PLC0415  rich

    out = rendering.console()
    ceiling_views.print_climb(workload, steps, gpu_hour_cost, out)
    ceiling_text.print_constants(workload.constants, time.time_ns(), out)


def _compare(workloads: tuple[Workload, ...], costs: list[float | None], *, as_json: bool) -> None:
    from gnomon.performance_model import report  # noqa: PLC0415
    from gnomon.performance_model.comparison import compare  # noqa: PLC0415

    found = compare(workloads, costs)
    if as_json:
        base.print_json(report.comparison(found, time.time_ns()))
        return
    from gnomon.cli import ceiling_views, rendering  # noqa: PLC0415  rich

    ceiling_views.print_comparison(found, time.time_ns(), rendering.console())
