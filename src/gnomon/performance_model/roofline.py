"""How long an operator takes: launch floor + max(compute, memory), or the wire's time.

Operators of a step run one after the other, so that the roofline of a step is the sum of theirs;
max(F / peak, B / bandwidth) over the whole step would overlap one operator's compute with
another's memory traffic.
"""

from __future__ import annotations

from typing import NamedTuple

from gnomon._errors import ModelError
from gnomon.enums import BoundBy
from gnomon.hardware import HardwareProfile
from gnomon.hardware.peaks import PIPE_OF_DTYPE
from gnomon.performance_model.constants import Constants
from gnomon.performance_model.operators import Kind, Operator


class Roofs(NamedTuple):
    """What a GPU's arithmetic, memory and link give: peaks (FLOP/s, bytes/s)."""

    flops: dict[str, float]
    dram_bytes_per_s: float
    link_bytes_per_s: float | None


class Timed(NamedTuple):
    """An operator with its attainable time, and with its ideal one at the bare peaks; seconds.

    ``time_s`` is ``launch_s`` + max(``compute_s``, ``memory_s``) or, on the wire, ``wire_s``.
    """

    operator: Operator
    time_s: float
    ideal_s: float
    launch_s: float = 0.0
    compute_s: float = 0.0
    memory_s: float = 0.0
    wire_s: float = 0.0

    @property
    def bound_by(self) -> BoundBy:
        """What takes most of the time."""
        if self.operator.kind is Kind.COLLECTIVE:
            return BoundBy.COMMUNICATION
        if self.launch_s > max(self.compute_s, self.memory_s):
            return BoundBy.LATENCY
        return BoundBy.COMPUTE if self.compute_s > self.memory_s else BoundBy.MEMORY


def roofs(gpu: HardwareProfile) -> Roofs:
    """Return the roofs of a GPU. Raises ModelError where its peaks are not known."""
    if not gpu.peak_flops or not gpu.dram_bytes_per_s:
        raise ModelError(
            f"--gpu {gpu.name}: its peaks are not known; name a GPU of the table instead"
        )
    link = gpu.nvlink_bytes_per_s or gpu.pcie_bytes_per_s
    return Roofs(dict(gpu.peak_flops), gpu.dram_bytes_per_s, link)


def ridge_flop_per_byte(
    gpu: HardwareProfile, dtype: str, sm_clock_mhz: float | None = None
) -> float:
    """Return the arithmetic intensity above which a GPU is bound by compute.

    Peak / bandwidth; at a live SM clock the peak, and so the ridge, is that share of it. Raises
    ModelError where the GPU has no peak of this dtype.
    """
    roof = roofs(gpu)
    peak = roof.flops.get(dtype)
    if peak is None:
        raise ModelError(
            f"--dtype {dtype}: {gpu.name} has no peak of it; it has {', '.join(roof.flops)}"
        )
    if sm_clock_mhz is not None:
        reference = gpu.reference_clock_mhz(PIPE_OF_DTYPE[dtype])
        if reference:
            peak *= sm_clock_mhz / reference
    return peak / roof.dram_bytes_per_s


def time_operator(operator: Operator, roof: Roofs, constants: Constants) -> Timed:
    """Return an operator's attainable time and its bound."""
    if operator.kind is Kind.COLLECTIVE:
        return _time_collective(operator, roof, constants)
    flops, moved = operator.executed_flops, operator.total_bytes
    peak = roof.flops[operator.dtype]
    kind = operator.kind
    if kind is Kind.PRODUCT or kind is Kind.MEMORY:
        compute, memory = constants.compute[operator.dtype], constants.memory
    else:
        compute = constants.attention_compute
        decodes = kind is Kind.DECODE_ATTENTION
        memory = constants.decode_attention if decodes else constants.memory
    ideal_compute, ideal_memory = flops / peak, moved / roof.dram_bytes_per_s
    compute_s, memory_s = ideal_compute / compute, ideal_memory / memory
    floors_s = {
        Kind.PRODUCT: constants.product_floor_s,
        Kind.DECODE_ATTENTION: constants.decode_attention_floor_s,
    }
    launch_s = operator.count * floors_s.get(kind, constants.launch_s)
    return Timed(
        operator,
        launch_s + max(compute_s, memory_s),
        max(ideal_compute, ideal_memory),
        launch_s,
        compute_s,
        memory_s,
    )


def _time_collective(operator: Operator, roof: Roofs, constants: Constants) -> Timed:
    if roof.link_bytes_per_s is None:
        raise ModelError(
            "the layout needs a link between GPUs, and neither NVLink nor PCIe of this GPU is known"
        )
    ideal_s = operator.collective_bytes / roof.link_bytes_per_s
    latency_s = operator.count * constants.collective_s
    time_s = latency_s + ideal_s / constants.link
    return Timed(operator, time_s, ideal_s, wire_s=time_s)
