"""Money and energy for a million tokens, and what closing a gap saves.

At a fixed amount of work, GPUs, money and energy (at equal power) are proportional to 1 / MFU:
from 20 to 30 % MFU a third is saved, from 40 to 50 % a fifth.
"""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.performance_model._checks import number

SECONDS_PER_HOUR = 3600.0
MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Cost:
    """What tokens cost at a throughput; money in the currency of ``gpu_hour_cost``.

    ``joules_per_million_tokens`` is that of the GPUs alone; None where no power is known.
    """

    gpus: int
    gpu_hour_cost: float | None
    money_per_million_tokens: float | None
    joules_per_million_tokens: float | None


def cost(
    tokens_per_s: float,
    gpus: int,
    gpu_hour_cost: float | None = None,
    watts_per_gpu: float | None = None,
) -> Cost:
    """Return what tokens cost at ``tokens_per_s`` of all GPUs together.

    Raises ModelError where a price, a power or a throughput makes no sense.
    """
    number("tokens per second", tokens_per_s, 1e-12, 1e15)
    if gpu_hour_cost is not None:
        number("--gpu-hour-cost", gpu_hour_cost, 0, 1e6)
    if watts_per_gpu is not None:
        number("power per GPU in W", watts_per_gpu, 0, 1e5)
    gpu_seconds = gpus * MILLION / tokens_per_s
    return Cost(
        gpus=gpus,
        gpu_hour_cost=gpu_hour_cost,
        money_per_million_tokens=None
        if gpu_hour_cost is None
        else gpu_seconds * gpu_hour_cost / SECONDS_PER_HOUR,
        joules_per_million_tokens=None if watts_per_gpu is None else gpu_seconds * watts_per_gpu,
    )


def saving_pct(achieved: float, reachable: float) -> float:
    """Return by how many percent cost falls when ``achieved`` becomes ``reachable``.

    Both are MFU, or tokens per second; 100 (1 - achieved / reachable), negative where less is
    reachable than achieved. Raises ModelError unless both are positive.
    """
    number("achieved", achieved, 1e-12, 1e15)
    number("reachable", reachable, 1e-12, 1e15)
    return 100 * (1 - achieved / reachable)


def gpus_needed(flops_per_s: float, peak_flops: float, mfu_pct: float) -> float:
    """Return the GPUs that do ``flops_per_s`` of useful work at an MFU: work / (peak x MFU).

    Raises ModelError unless all are positive and the MFU at most 100.
    """
    number("FLOP/s", flops_per_s, 0, 1e30)
    number("peak FLOP/s", peak_flops, 1, 1e20)
    number("MFU in percent", mfu_pct, 1e-9, 100)
    return flops_per_s / (peak_flops * mfu_pct / 100)
