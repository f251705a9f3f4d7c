"""Counters against the model: whether the tokens account for the FLOPs and the bytes.

Two independent ways lead to the same figure. Hardware counters say how much of the peak was
used; the model says how much a token takes, and the workload how many tokens there were. Where
they disagree, the description of the workload is wrong, not the hardware.
"""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.analysis.summary_types import GpuSummary
from gnomon.performance_model.ceiling import Ceiling

# A ceiling of best kernels is not exceeded by more than this, ever; 1.7 % were seen on a GEMM
# that rounds its tiles up.
ABOVE_CEILING = 1.05
# Below this share of a peak, what else runs on the GPU decides.
LEAST_PCT = 2.0

# Why tokens were cheaper than described, and why there were more of them.
FEWER = "a prefix cache, shorter prompts or contexts, or a smaller model"
FASTER = f"{FEWER}, a larger batch, or a narrower dtype"
MORE_FLOPS = "recompute, padding, rejected drafts, longer sequences or another model"
MORE_BYTES = "operators that are not fused, a smaller batch, longer contexts or another model"
# By how much the two may differ, and what it means where counters saw more. FLOPs are counted
# exactly, but for the padding of tiles; activations as a well-fused engine moves them.
AGREE = {"FLOPs": (1.10, MORE_FLOPS), "DRAM bytes": (1.30, MORE_BYTES)}


@dataclass(frozen=True, slots=True)
class Derived:
    """What the tokens that were made must have taken, per GPU and in percent of its peaks."""

    tokens_per_s: float
    compute_sol_pct: float
    memory_sol_pct: float

    @classmethod
    def of(cls, tokens_per_s: float | None, ceiling: Ceiling) -> Derived | None:
        """Scale the ceiling's own work to a token rate; None where there is none."""
        if tokens_per_s is None:
            return None
        share = tokens_per_s / ceiling.tokens_per_s
        return cls(tokens_per_s, share * ceiling.compute_sol_pct, share * ceiling.memory_sol_pct)


def findings(summary: GpuSummary, ceiling: Ceiling, derived: Derived | None) -> list[str]:
    """Return a sentence for each contradiction between counters, tokens and the model."""
    # An upper bound proves nothing by being high.
    compute_pct = None if summary.at_most else summary.compute_sol_pct
    memory_pct = summary.memory_sol_pct
    found = [_compute_above(compute_pct, ceiling.compute_sol_pct)]
    if derived is None:
        found.append(_memory_above(memory_pct, ceiling.memory_sol_pct))
    else:
        found += [
            _too_many_tokens(derived.tokens_per_s, ceiling.tokens_per_s),
            _apart("FLOPs", compute_pct, derived.compute_sol_pct),
            _apart("DRAM bytes", memory_pct, derived.memory_sol_pct),
        ]
    return [finding for finding in found if finding is not None]


def _compute_above(measured_pct: float | None, attainable_pct: float) -> str | None:
    if not _is_above(measured_pct, attainable_pct):
        return None
    return (
        f"inputs wrong: compute SOL of {measured_pct:.0f} % was measured, more than the attainable "
        f"{attainable_pct:.0f}: another phase, batch, dtype or model than described?"
    )


def _memory_above(measured_pct: float | None, attainable_pct: float) -> str | None:
    if not _is_above(measured_pct, attainable_pct):
        return None
    return (
        f"memory SOL of {measured_pct:.0f} % was measured, more than the attainable "
        f"{attainable_pct:.0f}: operators that are not fused move more bytes, or the phase, batch "
        "or dtype is another than described"
    )


def _is_above(measured_pct: float | None, attainable_pct: float) -> bool:
    return measured_pct is not None and measured_pct > max(
        LEAST_PCT, ABOVE_CEILING * attainable_pct
    )


def _too_many_tokens(made_per_s: float, attainable_per_s: float) -> str | None:
    if made_per_s <= ABOVE_CEILING * attainable_per_s:
        return None
    return (
        f"inputs wrong: {made_per_s:,.0f} tokens/s were made, and {attainable_per_s:,.0f} are "
        f"attainable: {FASTER}?"
    )


def _apart(name: str, measured_pct: float | None, model_pct: float) -> str | None:
    """Compare what counters saw with what the tokens take, both in percent of peak."""
    if measured_pct is None or max(measured_pct, model_pct) < LEAST_PCT:
        return None
    factor, more = AGREE[name]
    if model_pct > factor * measured_pct:
        return (
            f"inputs wrong: the tokens take {model_pct:.0f} % of peak in {name}, and counters saw "
            f"{measured_pct:.0f}: {FEWER}?"
        )
    if measured_pct > factor * model_pct:
        return (
            f"counters saw {measured_pct:.0f} % of peak in {name}, and the tokens account for "
            f"{model_pct:.0f}: {more}?"
        )
    return None
