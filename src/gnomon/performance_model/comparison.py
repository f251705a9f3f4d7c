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

# What DEFAULT's constants were fitted to, as ``constants.py`` says.
_FITTED_ON = ("H100", "H200")


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


def ranks(candidates: Sequence[Candidate]) -> Mapping[str, tuple[int | None, ...]]:
    """Return measure -> the place of each candidate, from 1, in their order.

    Equals share a place; candidates without a value have None.
    """
    return {measure: _places([getattr(one, measure) for one in candidates]) for measure in MEASURES}


def _places(values: Sequence[float | None]) -> tuple[int | None, ...]:
    known = [value for value in values if value is not None]
    return tuple(
        None if value is None else 1 + sum(other > value for other in known) for value in values
    )


def caveats(candidates: Sequence[Candidate]) -> tuple[str, ...]:
    """Return a warning that names the GPUs whose constants were measured on other ones."""
    strangers = [
        one.workload.gpu.name
        for one in candidates
        if one.ceiling.constants.gpu_name is None
        and not (one.workload.gpu.sku or "").startswith(_FITTED_ON)
    ]
    if not strangers:
        return ()
    names = list(dict.fromkeys(strangers))
    whose = "its constants are" if len(names) == 1 else "their constants are"
    warning = (
        f"{', '.join(names)}: {whose} those of H100 and H200, as shares of peak; measured ones may "
        "change places (gnomon calibrate)"
    )
    return (warning,)
