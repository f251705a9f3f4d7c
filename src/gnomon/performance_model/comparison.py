"""GPUs side by side at the same workload: by arithmetic, tokens, money and power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gnomon.performance_model.ceiling import Ceiling
from gnomon.performance_model.cost import cost
from gnomon.performance_model.workload import Workload

MEASURES = (
    "effective_tflops_per_gpu",
    "tokens_per_s_per_gpu",
    "tokens_per_money",
    "tokens_per_joule",
)
"""What GPUs are ranked by; more is better."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One kind of GPU. ``effective_tflops_per_gpu`` are FLOPs done over the attainable time.

    ``tokens_per_joule`` (tokens per second and watt) is at the GPU's TDP, ``tokens_per_money`` at
    its price of an hour; None where it is not known.
    """

    workload: Workload
    ceiling: Ceiling
    fits: bool | None
    gpu_hour_cost: float | None
    effective_tflops_per_gpu: float
    tokens_per_s_per_gpu: float
    tokens_per_money: float | None
    tokens_per_joule: float | None


def compare(
    workloads: Sequence[Workload], gpu_hour_costs: Sequence[float | None]
) -> tuple[Candidate, ...]:
    """Return the candidates, the most tokens per second and GPU first; those that fit before.

    ``gpu_hour_costs``: one for each workload. Raises ModelError as ``ceiling`` and ``cost`` do.
    """
    found = [
        _candidate(workload, price)
        for workload, price in zip(workloads, gpu_hour_costs, strict=True)
    ]
    return tuple(sorted(found, key=lambda one: (one.fits is False, -one.tokens_per_s_per_gpu)))


def _candidate(workload: Workload, gpu_hour_cost: float | None) -> Candidate:
    answer = workload.ceiling()
    watts = workload.gpu.tdp_watts
    price = cost(answer.tokens_per_s, answer.gpus, gpu_hour_cost, watts)
    return Candidate(
        workload=workload,
        ceiling=answer,
        fits=workload.fits(),
        gpu_hour_cost=gpu_hour_cost,
        effective_tflops_per_gpu=answer.executed_flops / answer.time_s / 1e12,
        tokens_per_s_per_gpu=answer.tokens_per_s_per_gpu,
        tokens_per_money=_per_million(price.money_per_million_tokens),
        tokens_per_joule=_per_million(price.joules_per_million_tokens),
    )


def _per_million(spent: float | None) -> float | None:
    return 1e6 / spent if spent else None


def ranks(candidates: Sequence[Candidate]) -> Mapping[str, Mapping[str, int]]:
    """Return measure -> name of the GPU -> place, from 1; GPUs without a value have no place."""
    places: dict[str, dict[str, int]] = {}
    for measure in MEASURES:
        values = {
            one.workload.gpu.name: getattr(one, measure)
            for one in candidates
            if getattr(one, measure) is not None
        }
        best = sorted(values, key=lambda name: -values[name])
        places[measure] = {name: place for place, name in enumerate(best, start=1)}
    return places
