"""The shape of a GPU's peaks, whatever they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gnomon.enums import Pipe
from gnomon.hardware.peaks import DTYPES_OF_PIPE
from gnomon.hardware.specs import GpuSpec


@dataclass(frozen=True, slots=True)
class HardwareProfile:
    """The peaks that a GPU (or MIG device) is measured against.

    ``peak_source`` is "table", "computed" or "calibrated"; ``notes`` says what a reader of any
    percentage of these peaks should know. ``dram_bytes_per_s`` is what the hardware's DRAM
    percentage is a share of. ``pcie_bytes_per_s`` and ``nvlink_bytes_per_s`` are one direction.
    What is not known is None.
    """

    name: str
    sku: str | None
    peak_source: str
    notes: tuple[str, ...] = ()
    spec: GpuSpec | None = None
    sm_count: int | None = None
    dram_bytes_per_s: float | None = None
    pcie_bytes_per_s: float | None = None
    nvlink_bytes_per_s: float | None = None
    tdp_watts: float | None = None
    max_memory_clock_mhz: float | None = None
    peak_flops: Mapping[str, float] = field(default_factory=dict)
    reference_clocks_mhz: Mapping[Pipe, float] = field(default_factory=dict)

    def flops(self, dtype: str) -> float | None:
        """Return the dense peak of a dtype (``specs.DTYPES``, "fp16_vector") in FLOP/s."""
        return self.peak_flops.get(dtype)

    def reference_clock_mhz(self, pipe: Pipe) -> float | None:
        """Return the SM clock in MHz at which the peak of a pipe holds."""
        return self.reference_clocks_mhz.get(pipe)

    def pipe_flops(self, pipe: Pipe) -> float | None:
        """Return the peak of a pipe's leading dtype in FLOP/s: 16-bit for the tensor pipe."""
        known = (dtype for dtype in DTYPES_OF_PIPE[pipe] if dtype in self.peak_flops)
        return next((self.peak_flops[dtype] for dtype in known), None)
