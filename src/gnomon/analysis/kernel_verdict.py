"""One short sentence on a kernel: what is near its roof, and what to do."""

from __future__ import annotations

from gnomon.analysis.bounds import THRESHOLDS
from gnomon.analysis.kernel_sol_types import KernelSol
from gnomon.enums import BoundBy

# Below this a kernel leaves most SMs without work.
FEW_SMS_PCT = 50.0
MUCH_CLOCK_PCT = 5.0
# What is told of kernels that are known only in common.
IN_COMMON = (
    ("sm_active_pct", "SMs"),
    ("tensor_pipe_pct", "tensor"),
    ("dram_active_pct", "DRAM"),
)


def verdict(kernel: KernelSol) -> str:
    """Return "tensor 94 %, clock-limited" and its like; why not, where nothing is known."""
    parts = []
    if kernel.pipe is not None and kernel.pipe_active_pct is not None:
        parts.append((kernel.pipe_active_pct, f"{kernel.pipe} {kernel.pipe_active_pct:.0f} %"))
    if kernel.memory_sol_pct is not None:
        parts.append((kernel.memory_sol_pct, f"DRAM {kernel.memory_sol_pct:.0f} %"))
    if not parts:
        return _unknown(kernel)
    text = max(parts)[1]
    advice = _advice(kernel)
    return f"{text}{advice}" if advice else text


def _unknown(kernel: KernelSol) -> str:
    group = kernel.group
    if group is None:
        return f"not told: {next(iter(kernel.unavailable.values()), 'not measured')}"
    others = len(group.members) - 1
    told = [
        f"{word} {group.values_pct[name]:.0f} %"
        for name, word in IN_COMMON
        if name in group.values_pct
    ]
    company = (
        f" with {others} other{'s' if others > 1 else ''}" if others else " with what ran beside it"
    )
    return f"only known{company}: {', '.join(told)}"


def _advice(kernel: KernelSol) -> str:
    ledger, bound = kernel.ledger, kernel.bound_by
    if ledger is None or bound is None or not kernel.key.is_kernel:
        return ""
    if bound == BoundBy.CLOCK or (
        bound == BoundBy.COMPUTE and (ledger.clock_pct or 0.0) > MUCH_CLOCK_PCT
    ):
        return ", clock-limited"
    if bound == BoundBy.COMPUTE:
        return ", compute-bound"
    if bound == BoundBy.MEMORY:
        near = (kernel.memory_sol_pct or 0.0) >= 0.9 * THRESHOLDS["attainable_dram_pct"].value
        return ": at the memory's roof, fuse or shrink its data" if near else ": fuse"
    if (ledger.sm_empty_pct or 0.0) >= FEW_SMS_PCT:
        return f": {ledger.sm_empty_pct:.0f} % of SMs empty, too small a grid"
    return ": waits, under neither roof"
