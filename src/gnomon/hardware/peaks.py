"""Peaks per dtype, and the clock at which each datasheet peak holds.

A pipe's counter says in which share of elapsed cycles it issued. To turn that into a share of
the datasheet's peak one must know at which clock the peak was stated:

    reference clock = peak FLOP/s / (SMs x FLOP per clock and SM)

It differs between pipes of one GPU: an H100 SXM's tensor peaks hold at 1830 MHz, its FP32 and
FP64 peaks at its boost clock of 1980. So each pipe has its own, derived here from the printed
figures and checked against each other and against the boost clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gnomon.enums import Pipe
from gnomon.hardware.specs import GpuSpec

PIPE_OF_DTYPE: Mapping[str, Pipe] = {
    "fp64": Pipe.FP64,
    "fp64_tensor": Pipe.FP64_TENSOR,
    "fp32": Pipe.FP32,
    "tf32": Pipe.TENSOR,
    "bf16": Pipe.TENSOR,
    "fp16": Pipe.TENSOR,
    "fp8": Pipe.TENSOR,
    "int8": Pipe.TENSOR,
    "fp4": Pipe.TENSOR,
    "fp16_vector": Pipe.FP16,
}

DTYPES_OF_PIPE: Mapping[Pipe, tuple[str, ...]] = {
    Pipe.TENSOR: ("bf16", "fp16", "tf32", "fp8", "int8", "fp4"),
    Pipe.FP64_TENSOR: ("fp64_tensor",),
    Pipe.FP64: ("fp64",),
    Pipe.FP32: ("fp32",),
    Pipe.FP16: ("fp16_vector",),
}
"""The dtypes of a pipe, the one that gives its reference clock first."""

AGREEMENT_PCT = 1.0
"""Beyond this, two dtypes of one pipe do not hold at the same clock: one figure is off."""

BOOST_TOLERANCE_PCT = 2.0
"""No pipe can run further above the boost clock than figures of two digits are rounded."""


@dataclass(frozen=True, slots=True)
class DerivedClock:
    """The clock at which one printed peak holds; ``lowest``/``highest`` from its rounding."""

    dtype: str
    pipe: Pipe
    clock_mhz: float
    lowest_mhz: float
    highest_mhz: float


def derive_clocks(spec: GpuSpec, sm_count: int | None = None) -> tuple[DerivedClock, ...]:
    """Return the clock behind every printed peak of a SKU whose rate per SM is known.

    ``sm_count`` stands in where the table has none; without either the result is empty.
    """
    sms = spec.sm_count or sm_count
    if not sms:
        return ()
    derived = []
    for dtype, flops in spec.peak_flops.items():
        rate = spec.rates.flop_per_clock_per_sm.get(dtype)
        if rate is None:
            continue
        per_mhz = sms * rate * 1e6
        rounding = spec.peak_rounding[dtype]
        derived.append(
            DerivedClock(
                dtype,
                PIPE_OF_DTYPE[dtype],
                flops / per_mhz,
                (flops - rounding) / per_mhz,
                (flops + rounding) / per_mhz,
            )
        )
    return tuple(derived)


def reference_clocks_mhz(spec: GpuSpec, sm_count: int | None = None) -> dict[Pipe, float]:
    """Return the reference clock of every pipe for which the datasheet lets one be derived.

    Where the boost clock lies within the rounding of the printed figure, it is the clock: H100's
    FP64 figure of 33.5 TFLOP/s means 1980 MHz, not 1983. Half precision outside the tensor
    pipe has no printed peak and shares the FP32 datapath's clock.
    """
    by_dtype = {derived.dtype: derived for derived in derive_clocks(spec, sm_count)}
    clocks: dict[Pipe, float] = {}
    for pipe, dtypes in DTYPES_OF_PIPE.items():
        derived = next((by_dtype[dtype] for dtype in dtypes if dtype in by_dtype), None)
        if derived is not None:
            clocks[pipe] = _boost_or_derived(derived, spec.boost_clock_mhz)
    if Pipe.FP32 in clocks and "fp16_vector" in spec.rates.flop_per_clock_per_sm:
        clocks[Pipe.FP16] = clocks[Pipe.FP32]
    return clocks


def _boost_or_derived(derived: DerivedClock, boost_mhz: float | None) -> float:
    if boost_mhz is not None and derived.lowest_mhz <= boost_mhz <= derived.highest_mhz:
        return boost_mhz
    return derived.clock_mhz


def disagreements(spec: GpuSpec, sm_count: int | None = None) -> tuple[str, ...]:
    """Return, as sentences, where the printed figures of a SKU contradict each other.

    Checked: dtypes of one pipe must hold at one clock, and no pipe's clock may lie above the
    boost clock; the rounding of the figures is allowed for.
    """
    notes = []
    derived = derive_clocks(spec, sm_count)
    reference = reference_clocks_mhz(spec, sm_count)
    for one in derived:
        clock_mhz = reference[one.pipe]
        if _off(one, clock_mhz) > AGREEMENT_PCT:
            notes.append(
                f"the {one.dtype} peak holds at {one.clock_mhz:.0f} MHz, the figure that sets the "
                f"{one.pipe} pipe's clock at {clock_mhz:.0f} MHz"
            )
    boost_mhz = spec.boost_clock_mhz
    for pipe, clock_mhz in reference.items():
        if boost_mhz and clock_mhz > boost_mhz * (1 + BOOST_TOLERANCE_PCT / 100):
            notes.append(
                f"the {pipe} peak would need {clock_mhz:.0f} MHz, above the boost clock of "
                f"{boost_mhz:.0f} MHz"
            )
    return tuple(notes)


def _off(derived: DerivedClock, clock_mhz: float) -> float:
    """Return by how many percent a clock misses the interval that rounding leaves open."""
    below = max(0.0, derived.lowest_mhz - clock_mhz)
    above = max(0.0, clock_mhz - derived.highest_mhz)
    return max(below, above) / clock_mhz * 100
