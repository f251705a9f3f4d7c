"""What is held against the ceiling: points, what the model says of them, and the judgement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gnomon.enums import Pipe
from gnomon.hardware import HardwareProfile
from gnomon.performance_model import huggingface
from gnomon.performance_model.ceiling import Ceiling, ceiling
from gnomon.performance_model.constants import Constants
from gnomon.performance_model.operators import Kind
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import Decode, Prefill
from gnomon.performance_model.roofline import Timed

MODEL = "Llama-3.1-8B"
DTYPE = "bf16"
# What a bare chain of operators runs of a decode step.
CHAIN = (Kind.PRODUCT, Kind.DECODE_ATTENTION)
ABOVE_PCT = 3.0
BELOW_PCT = 20.0
FLOPS_PCT = 3.0
DRAM_PCT = 5.0
AGREE_PCT = 2.0
# From here on a prefill fills the GPU, and engines have no excuse.
LARGE_PREFILL_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Workload:
    """One point: ``length`` is the prompt of a prefill, the context of a decode step."""

    kind: Literal["prefill", "decode", "chain"]
    batch: int
    length: int

    @property
    def name(self) -> str:
        return f"{self.kind}_{self.batch}x{self.length}"

    @property
    def tokens(self) -> int:
        """Tokens of one step."""
        return self.batch * self.length if self.kind == "prefill" else self.batch

    @property
    def is_large_prefill(self) -> bool:
        return self.kind == "prefill" and self.tokens >= LARGE_PREFILL_TOKENS


WORKLOADS = (
    *(Workload("prefill", b, s) for b, s in ((1, 512), (1, 2048), (4, 2048), (8, 2048))),
    *(Workload("prefill", b, s) for b, s in ((1, 8192), (2, 8192))),
    *(Workload("decode", batch, 1024) for batch in (1, 8, 32, 128, 256)),
    *(Workload("decode", batch, 8192) for batch in (1, 32)),
    *(Workload("chain", batch, 1024) for batch in (1, 8, 32, 128, 256)),
)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the model says of one step on one GPU."""

    tokens_per_s: float
    flops: float
    dram_bytes: float


def expect(workload: Workload, gpu: HardwareProfile, constants: Constants) -> Expected:
    """Return the ceiling of a workload; of a chain, the sum over the operators that it runs.

    DRAM bytes of a decode step are weights and cache: its activations stay in the L2.
    """
    answer = _ceiling(workload, gpu, constants)
    chosen = [
        timed
        for timed in answer.operators
        if workload.kind != "chain" or timed.operator.kind in CHAIN
    ]
    time_s = sum(timed.time_s for timed in chosen)
    return Expected(
        workload.tokens / time_s,
        sum(timed.operator.executed_flops for timed in chosen),
        sum(_dram_bytes(workload, timed) for timed in chosen),
    )


def _ceiling(workload: Workload, gpu: HardwareProfile, constants: Constants) -> Ceiling:
    architecture = huggingface.read(MODEL).architecture
    batch, length = workload.batch, workload.length
    phase = Prefill(batch, length) if workload.kind == "prefill" else Decode(batch, length)
    return ceiling(architecture, gpu, Layout(), phase, constants)


def _dram_bytes(workload: Workload, timed: Timed) -> float:
    one = timed.operator
    if workload.kind == "prefill":
        return one.total_bytes
    return one.weight_bytes + one.kv_read_bytes + one.kv_write_bytes


@dataclass(frozen=True, slots=True)
class Ran:
    """What the program counted: steps in so many seconds, and how they were run."""

    workload: Workload
    steps: int
    seconds: float
    engine: str

    @property
    def tokens_per_s(self) -> float:
        return self.workload.tokens * self.steps / self.seconds


@dataclass(frozen=True, slots=True)
class Compared:
    """A row of the table: the program, the model, and the counters of gnomon's recording.

    ``executed_dram_bytes_per_s``: what the kernels that ran move by arithmetic, where the model
    has what fused ones must. ``padding_pct``: the share of counted FLOPs that the model does not
    know of. None as far as counters were not read.
    """

    name: str
    engine: str
    tokens_per_s: float
    default_tokens_per_s: float
    calibrated_tokens_per_s: float
    model_flops_per_s: float
    counter_flops_per_s: float | None
    model_dram_bytes_per_s: float
    executed_dram_bytes_per_s: float | None
    counter_dram_bytes_per_s: float | None
    sm_clock_mhz: float | None
    sm_clock_source: str | None
    power_watts: float | None

    @property
    def of_default_pct(self) -> float:
        return 100 * self.tokens_per_s / self.default_tokens_per_s

    @property
    def of_calibrated_pct(self) -> float:
        return 100 * self.tokens_per_s / self.calibrated_tokens_per_s

    @property
    def flops_error_pct(self) -> float | None:
        return _error_pct(self.counter_flops_per_s, self.model_flops_per_s)

    @property
    def dram_error_pct(self) -> float | None:
        return _error_pct(self.counter_dram_bytes_per_s, self.model_dram_bytes_per_s)

    @property
    def executed_dram_error_pct(self) -> float | None:
        """How far the counters are from what the kernels that ran move."""
        executed = self.executed_dram_bytes_per_s
        return None if executed is None else _error_pct(self.counter_dram_bytes_per_s, executed)

    @property
    def padding_pct(self) -> float | None:
        counted = self.counter_flops_per_s
        return 100 * (1 - self.model_flops_per_s / counted) if counted else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {name: getattr(self, name) for name in _DERIVED}


_DERIVED = (
    "of_default_pct",
    "of_calibrated_pct",
    "flops_error_pct",
    "padding_pct",
    "dram_error_pct",
    "executed_dram_error_pct",
)


def _error_pct(measured: float | None, truth: float) -> float | None:
    return None if measured is None else 100 * (measured / truth - 1)


def compare(
    ran: Ran,
    default: Expected,
    calibrated: Expected,
    executed_bytes: float | None,
    summary: Mapping[str, Any],
    gpu: HardwareProfile,
) -> Compared:
    """Put together what a program did and what gnomon's summary of the same phase says.

    ``executed_bytes``: of a step, by ``ceiling_traffic``.
    """
    steps_per_s = ran.steps / ran.seconds
    executed = None if executed_bytes is None else executed_bytes * steps_per_s
    return Compared(
        name=ran.workload.name,
        engine=ran.engine,
        tokens_per_s=ran.tokens_per_s,
        default_tokens_per_s=default.tokens_per_s,
        calibrated_tokens_per_s=calibrated.tokens_per_s,
        model_flops_per_s=calibrated.flops * steps_per_s,
        counter_flops_per_s=counter_flops_per_s(summary, gpu),
        model_dram_bytes_per_s=calibrated.dram_bytes * steps_per_s,
        executed_dram_bytes_per_s=executed,
        counter_dram_bytes_per_s=summary.get("dram_bytes_per_s"),
        sm_clock_mhz=summary.get("sm_clock_mhz"),
        sm_clock_source=summary.get("sm_clock_source"),
        power_watts=summary.get("power_watts"),
    )


def counter_flops_per_s(summary: Mapping[str, Any], gpu: HardwareProfile) -> float | None:
    """Return the FLOP/s that the tensor pipe did by its counter, at the clock of the summary.

    Compute SOL is pipe activity x SM clock ÷ reference clock, a share of the peak. None where it
    was not measured, or another pipe was the busiest.
    """
    share_pct, peak = summary.get("compute_sol_pct"), gpu.flops(DTYPE)
    if share_pct is None or peak is None or summary.get("pipe") != Pipe.TENSOR:
        return None
    return float(share_pct) / 100 * peak


def complaints(workload: Workload, row: Compared) -> Iterator[str]:
    """Yield what of a row is outside its tolerance.

    Counters are held where all the work is known: FLOPs on prefill (small batches are padded),
    DRAM bytes on the chain, and on decode steps with the activations that their kernels write.
    A prefill's bytes depend on the order of a product's tiles, which nobody outside cuBLAS knows.
    """
    for constants, share_pct in (
        ("default", row.of_default_pct),
        ("calibrated", row.of_calibrated_pct),
    ):
        if share_pct > 100 + ABOVE_PCT:
            yield f"{row.name}: {share_pct:.1f} % of the attainable by {constants} constants"
    must_be_near = workload.is_large_prefill or workload.kind == "chain"
    if must_be_near and row.of_calibrated_pct < 100 - BELOW_PCT:
        yield f"{row.name}: only {row.of_calibrated_pct:.1f} % of the calibrated attainable"
    if workload.kind == "prefill":
        yield from _off(row.name, "FLOP/s", row.flops_error_pct, FLOPS_PCT)
    if workload.kind == "chain":
        yield from _off(row.name, "DRAM bytes/s", row.dram_error_pct, DRAM_PCT)
    if workload.kind == "decode":
        yield from _off(row.name, "DRAM bytes/s", row.executed_dram_error_pct, DRAM_PCT)


def _off(name: str, what: str, error_pct: float | None, allowed_pct: float) -> Iterator[str]:
    if error_pct is None:
        yield f"{name}: {what} by counters is not known"
    elif abs(error_pct) > allowed_pct:
        yield f"{name}: {what} by counters is {error_pct:+.1f} % off the count"
