"""Holds what gnomon says of a phase against what is known of it: pure functions, no GPU.

Each term of the ledger is held against something that does not come from the same counter: the
program's own sleep, its copies' events, ``clock64`` inside its kernels, its FLOPs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.announce import PhaseRecord
from lab.phases import NINE_KERNELS

COMPUTE_TOLERANCE_PCT = 2.0
DRAM_TOLERANCE_PCT = 1.0
CLOCK_TOLERANCE_PCT = 1.5
TERM_TOLERANCE_POINTS = 1.5
# A block's prologue and epilogue hold an SM but lie outside its own clock64 readings.
SHORT_KERNEL_TOLERANCE_POINTS = 3.0

COMPUTE_CHECKED = frozenset(
    {*NINE_KERNELS, "gemm_bf16_8192", "gemm_half_padding", "quarter_of_sms", "half_of_sms"}
)
DRAM_CHECKED = frozenset({"copy_device", "gemv"})
ALWAYS_FULL = frozenset(
    {"quarter_of_sms", "half_of_sms", "one_thread_loop", "graph_of_4us_kernels"}
)

Peak = Callable[[str], float | None]


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison. ``error`` is in percent of the truth or in points, as ``unit`` says;
    without a tolerance it is only shown.
    """

    phase: str
    quantity: str
    measured: float | str | None
    truth: float | str | None
    error: float | None
    unit: str
    tolerance: float | None

    @property
    def passed(self) -> bool:
        """Whether it holds; what has a tolerance and was not measured does not."""
        if self.tolerance is None:
            return True
        return self.error is not None and abs(self.error) <= self.tolerance


@dataclass(frozen=True, slots=True)
class Clocks:
    """Mean SM clock of a phase in MHz, by who read it; None where nobody did."""

    cupti: float | None = None
    nvml: float | None = None
    clock64: float | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """A phase: the program's record, gnomon's summary (GpuSummary as JSON), the clocks."""

    record: PhaseRecord
    summary: Mapping[str, Any]
    clocks: Clocks
    peak_flops: Peak

    @property
    def name(self) -> str:
        return self.record.name

    def expected(self, key: str) -> float | None:
        value = self.record.expected.get(key)
        return float(value) if value is not None else None

    def term(self, key: str) -> float | None:
        value = self.summary["ledger"][f"{key}_pct"]
        return None if value is None else float(value)

    def share_of_peak(self, flops_per_s: float | None) -> float | None:
        """Turn FLOP/s into percent of the peak of the phase's dtype."""
        dtype = self.record.flops_dtype
        peak = self.peak_flops(dtype) if dtype else None
        return flops_per_s / peak * 100 if flops_per_s is not None and peak else None

    @property
    def program_pct(self) -> float | None:
        """What the program's own count of executed FLOPs is of the peak."""
        return self.share_of_peak(self.expected("executed_flops_per_s") or self.record.flops_per_s)

    @property
    def nvml_sol_pct(self) -> float | None:
        """What Compute SOL would be with the clock that NVML reads."""
        active, reference = self.summary["pipe_active_pct"], self.summary["reference_clock_mhz"]
        if active is None or not reference or self.clocks.nvml is None:
            return None
        return float(active * self.clocks.nvml / reference)


def compare(subject: Subject) -> list[Check]:
    """Return every comparison that the phase allows."""
    return [
        *_compute(subject),
        *_dram(subject),
        *_clock(subject),
        *_terms(subject),
        *_busy_lie(subject),
        _sum_of_terms(subject),
        _bound(subject),
    ]


def clock_means(rows: Sequence[Mapping[str, Any]], from_ns: int, to_ns: int) -> dict[str, float]:
    """Mean clock by source, of rows (ts_ns, duration_ns, sm_clock_source, sm_clock_mhz) that lie
    inside a window; weighted by duration, instants evenly.
    """
    sums: dict[str, tuple[float, float]] = {}
    for row in rows:
        if row["sm_clock_mhz"] is None or row["ts_ns"] > to_ns:
            continue
        if row["ts_ns"] - row["duration_ns"] < from_ns:
            continue
        weight = float(row["duration_ns"] or 1)
        total, weights = sums.get(row["sm_clock_source"], (0.0, 0.0))
        sums[row["sm_clock_source"]] = (total + weight * row["sm_clock_mhz"], weights + weight)
    return {source: total / weights for source, (total, weights) in sums.items()}


def _compute(subject: Subject) -> Iterator[Check]:
    truth = subject.program_pct
    if truth is None:
        return
    tolerance = COMPUTE_TOLERANCE_PCT if subject.name in COMPUTE_CHECKED else None
    measured = subject.summary["compute_sol_pct"]
    yield _relative(subject, "compute SOL", measured, truth, tolerance)
    yield _relative(subject, "compute SOL by NVML clock", subject.nvml_sol_pct, truth, None)


def _dram(subject: Subject) -> Iterator[Check]:
    if subject.record.bytes_per_s is None:
        return
    checked = subject.name in DRAM_CHECKED
    if checked or subject.record.tokens is not None:
        measured, truth = subject.summary["dram_bytes_per_s"], subject.record.bytes_per_s
        # A model's bytes are the least it must move; what eager code moves beyond is no error.
        quantity = "DRAM bytes/s" if checked else "DRAM over the model's least"
        tolerance = DRAM_TOLERANCE_PCT if checked else None
        yield _relative(subject, quantity, measured, truth, tolerance)


def _clock(subject: Subject) -> Iterator[Check]:
    truth = subject.clocks.clock64
    if truth is None:
        return
    yield _relative(subject, "clock by CUPTI", subject.clocks.cupti, truth, CLOCK_TOLERANCE_PCT)
    yield _relative(subject, "clock by NVML", subject.clocks.nvml, truth, None)
    active, reference = subject.summary["pipe_active_pct"], subject.summary["reference_clock_mhz"]
    if active is not None and reference and active >= 5.0:
        lost = active * (1 - truth / reference)
        yield _points(subject, "ledger clock", subject.term("clock"), lost, TERM_TOLERANCE_POINTS)


def _terms(subject: Subject) -> Iterator[Check]:
    for name in ("idle", "copying"):
        truth = subject.expected(f"{name}_pct")
        if truth is not None:
            measured = subject.term(name)
            yield _points(subject, f"ledger {name}", measured, truth, TERM_TOLERANCE_POINTS)
    padding = subject.share_of_peak(subject.expected("padding_flops_per_s"))
    if padding is not None:
        measured = subject.term("padding")
        yield _points(subject, "ledger padding", measured, padding, TERM_TOLERANCE_POINTS)
    active = subject.expected("sm_active_pct")
    if active is None:
        return
    tolerance = _sm_tolerance(subject)
    yield _points(subject, "SM active", subject.summary["sm_active_pct"], active, tolerance)
    if subject.name in ALWAYS_FULL:
        yield _points(
            subject, "ledger sm_empty", subject.term("sm_empty"), 100.0 - active, tolerance
        )
        yield from _stalled(subject, active, tolerance)


def _stalled(subject: Subject, active: float, tolerance: float) -> Iterator[Check]:
    """SM active, less the pipe's share of cycles by the program's FLOPs at the true clock."""
    reference, clock = subject.summary["reference_clock_mhz"], subject.clocks.clock64
    share = subject.program_pct
    if share is None or not reference or not clock:
        return
    truth = active - share * reference / clock
    yield _points(subject, "ledger stalled", subject.term("stalled"), truth, tolerance)


def _sm_tolerance(subject: Subject) -> float:
    short = subject.name == "graph_of_4us_kernels"
    return SHORT_KERNEL_TOLERANCE_POINTS if short else TERM_TOLERANCE_POINTS


def _busy_lie(subject: Subject) -> Iterator[Check]:
    """One spinning thread: busy says 100, compute SOL is nothing."""
    if subject.name != "one_thread_loop":
        return
    yield _points(subject, "busy", subject.summary["busy_pct"], 100.0, 1.0)
    yield _points(subject, "compute SOL", subject.summary["compute_sol_pct"], 0.0, 1.0)


def _sum_of_terms(subject: Subject) -> Check:
    known = [value for value in subject.summary["ledger"].values() if value is not None]
    total = sum(known) if known else None
    return _points(subject, "ledger sum", total, 100.0, 0.01)


def _bound(subject: Subject) -> Check:
    allowed = subject.record.expected["bounds"]
    named = subject.summary["bound_by"]
    error = 0.0 if named in allowed else None
    return Check(subject.name, "bound by", named, " or ".join(allowed), error, "", 0.0)


def _relative(
    subject: Subject, quantity: str, measured: float | None, truth: float, tolerance: float | None
) -> Check:
    error = (measured / truth - 1) * 100 if measured is not None and truth else None
    return Check(subject.name, quantity, measured, truth, error, "%", tolerance)


def _points(
    subject: Subject, quantity: str, measured: float | None, truth: float, tolerance: float | None
) -> Check:
    error = measured - truth if measured is not None else None
    return Check(subject.name, quantity, measured, truth, error, "points", tolerance)
