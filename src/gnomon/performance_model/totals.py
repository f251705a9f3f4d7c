"""The sums over a step's operators: FLOPs, bytes and seconds of one GPU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gnomon.enums import BoundBy
from gnomon.performance_model.operators import Kind
from gnomon.performance_model.roofline import Timed


@dataclass(frozen=True, slots=True)
class Bytes:
    """DRAM traffic of one GPU in a step, by what moved; ``gradients`` of weights, in training."""

    weights: float
    kv_read: float
    kv_write: float
    activations: float
    gradients: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.kv_read + self.kv_write + self.activations + self.gradients


@dataclass(slots=True)
class Pass:
    """Seconds of a forward or backward pass, or of a step that has but one.

    ``serial_s`` is the time of what runs one after the other, ``overlapped_s`` of what runs beside
    it; ``*_ideal_s`` the same at bare peaks.
    """

    serial_s: float = 0.0
    overlapped_s: float = 0.0
    serial_ideal_s: float = 0.0
    overlapped_ideal_s: float = 0.0

    def add(self, one: Timed) -> None:
        """Add an operator."""
        if one.operator.is_overlapped:
            self.overlapped_s += one.time_s
            self.overlapped_ideal_s += one.ideal_s
        else:
            self.serial_s += one.time_s
            self.serial_ideal_s += one.ideal_s


@dataclass(frozen=True, slots=True)
class Totals:
    """FLOPs by dtype in the three senses of ``ceiling.Ceiling``, bytes and seconds."""

    flops: Mapping[str, float]
    useful_flops: Mapping[str, float]
    executed_flops: Mapping[str, float]
    bytes: Bytes
    collective_bytes: float
    forward: Pass
    backward: Pass
    seconds_by_bound: Mapping[BoundBy, float]

    @property
    def serial_s(self) -> float:
        """The time of what runs one after the other, in both passes."""
        return self.forward.serial_s + self.backward.serial_s

    def exposed_s(self, stretch: float) -> float:
        """Return what is waited for of what runs beside the passes: what outlasts its own.

        ``stretch``: by what a pipeline's bubble stretches the passes.
        """
        return sum(
            max(0.0, part.overlapped_s - part.serial_s * stretch)
            for part in (self.forward, self.backward)
        )

    def ideal_s(self, stretch: float) -> float:
        """Return the time of the step at bare peaks."""
        return sum(
            max(part.serial_ideal_s * stretch, part.overlapped_ideal_s)
            for part in (self.forward, self.backward)
        )

    @property
    def leading_dtype(self) -> str:
        """The dtype that most FLOPs are executed in."""
        return max(self.executed_flops, key=lambda dtype: self.executed_flops[dtype])


def sum_up(timed: Iterable[Timed]) -> Totals:
    """Return the sums over timed operators."""
    flops: defaultdict[str, float] = defaultdict(float)
    useful: defaultdict[str, float] = defaultdict(float)
    executed: defaultdict[str, float] = defaultdict(float)
    bounds: defaultdict[BoundBy, float] = defaultdict(float)
    weights = kv_read = kv_write = activations = gradients = collective = 0.0
    ahead, back = Pass(), Pass()
    for one in timed:
        operator = one.operator
        (back if operator.is_backward else ahead).add(one)
        if operator.kind is Kind.COLLECTIVE:
            collective += operator.collective_bytes
            if not operator.is_overlapped:
                bounds[BoundBy.COMMUNICATION] += one.time_s
            continue
        bounds[BoundBy.LATENCY] += one.launch_s
        busy = BoundBy.COMPUTE if one.compute_s > one.memory_s else BoundBy.MEMORY
        bounds[busy] += one.time_s - one.launch_s
        if operator.executed_flops:
            flops[operator.dtype] += operator.flops
            executed[operator.dtype] += operator.executed_flops
            if not operator.is_recompute:
                useful[operator.dtype] += operator.flops
        weights += operator.weight_bytes
        kv_read += operator.kv_read_bytes
        kv_write += operator.kv_write_bytes
        activations += operator.activation_read_bytes + operator.activation_write_bytes
        gradients += operator.gradient_bytes
    return Totals(
        flops=dict(flops),
        useful_flops=dict(useful),
        executed_flops=dict(executed),
        bytes=Bytes(weights, kv_read, kv_write, activations, gradients),
        collective_bytes=collective,
        forward=ahead,
        backward=back,
        seconds_by_bound=dict(bounds),
    )
