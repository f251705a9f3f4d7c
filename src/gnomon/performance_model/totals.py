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


@dataclass(frozen=True, slots=True)
class Totals:
    """FLOPs by dtype in the three senses of ``ceiling.Ceiling``, bytes and seconds.

    ``serial_s`` is the time of what runs one after the other, ``overlapped_s`` of what runs beside
    it; ``*_ideal_s`` the same at bare peaks.
    """

    flops: Mapping[str, float]
    useful_flops: Mapping[str, float]
    executed_flops: Mapping[str, float]
    bytes: Bytes
    collective_bytes: float
    serial_s: float
    overlapped_s: float
    serial_ideal_s: float
    overlapped_ideal_s: float
    seconds_by_bound: Mapping[BoundBy, float]

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
    # Indexed by whether the operator is overlapped.
    seconds, ideal = [0.0, 0.0], [0.0, 0.0]
    for one in timed:
        operator = one.operator
        seconds[operator.is_overlapped] += one.time_s
        ideal[operator.is_overlapped] += one.ideal_s
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
        serial_s=seconds[0],
        overlapped_s=seconds[1],
        serial_ideal_s=ideal[0],
        overlapped_ideal_s=ideal[1],
        seconds_by_bound=dict(bounds),
    )
