"""A GPU that nvidia-smi shows as busy, and that computes and moves next to nothing.

``busy`` says that some kernel ran, not how much of the GPU it used: a kernel that spins, or one
block on one of 132 SMs, reads 100 %. Measured: stretches of ``SHORTEST_BINS`` seconds and more in
which busy was at least ``BUSY_PCT`` while compute SOL, memory SOL and the share of SMs with work
were all below ``LOW_PCT``. What is lost is the time in which the engine was active and SMs stood
empty.

Where busy was not recorded, the share of time with the engine active stands for it. Without
counters of the SMs and the memory it says nothing.

Detection limit: ``SHORTEST_BINS`` seconds, and ``grading.INFO_SHARE`` of the window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from gnomon.analysis.intervals import Floats
from gnomon.analysis.questions import Span, literal
from gnomon.analysis.series import series
from gnomon.analysis.silence import runs
from gnomon.analysis.summary_types import GpuSummary
from gnomon.detectors.case import Case
from gnomon.detectors.finding import Finding
from gnomon.detectors.grading import severity_of
from gnomon.detectors.needs import Need
from gnomon.enums import Cause

NEEDS = (Need.COUNTERS,)
BIN_NS = 1_000_000_000
MOST_BINS = 3_600
# A pause in the work is shorter: loading a batch, saving, compiling.
SHORTEST_BINS = 5
# What looks fully used.
BUSY_PCT = 90.0
# Work that read 90 % busy on an H200 reached 24 % of one of both peaks and more (nine phases of a
# language model); small batches that leave gaps read far less than 90 % busy.
LOW_PCT = 5.0
REMEDY = (
    "Find the kernel that holds the GPU (a profiler's trace names it): one that spins or waits, a "
    "collective whose partner is gone, or a grid of few blocks. Busy is no measure of its work."
)


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each stretch in which a whole GPU was busy with next to nothing."""
    for gpu in case.gpus:
        if (
            gpu.mig_uuid is None
            and gpu.memory_sol_pct is not None
            and gpu.sm_active_pct is not None
        ):
            for span in _stretches(case, gpu):
                found = _finding(case, gpu, span)
                if found is not None:
                    yield found


def _stretches(case: Case, gpu: GpuSummary) -> Iterable[Span]:
    begin_ns, end_ns = gpu.from_ns, gpu.to_ns
    bins = min(MOST_BINS, max(1, (end_ns - begin_ns) // BIN_NS))
    edges = np.linspace(begin_ns, end_ns, bins + 1).astype(np.int64)
    shown = series(case.measurements, gpu.uuid, from_ns=begin_ns, to_ns=end_ns, bins=bins)
    busy = _array(shown["busy_pct"])
    if np.isnan(busy).all():
        busy = 100 - _array(shown["idle_pct"])
    # NaN compares false: what was not measured is no evidence. But SMs without work compute
    # nothing, whether their peak is known or not.
    suspect = (busy >= BUSY_PCT) & (_array(shown["memory_sol_pct"]) < LOW_PCT)
    suspect &= ~(_array(shown["compute_sol_pct"]) >= LOW_PCT)
    return [one for one in runs(suspect, edges) if one.seconds >= SHORTEST_BINS]


def _array(values: list[float | None]) -> Floats:
    return np.array(values, dtype=np.float64)


def _finding(case: Case, gpu: GpuSummary, span: Span) -> Finding | None:
    rows = (
        f"FROM gpu_counters WHERE gpu_uuid = {literal(gpu.uuid)} AND mig_uuid IS NULL "
        f"AND {span.condition}"
    )
    means = _means(case, rows)
    if means["sm_active"] is None or means["sm_active"] >= LOW_PCT or means["engine"] is None:
        return None
    lost_seconds = max(0.0, means["engine"] - means["sm_active"]) / 100 * span.seconds
    severity = severity_of(lost_seconds / max(case.span.seconds, 1e-9))
    if severity is None:
        return None
    busy = "busy_pct" if means["busy"] is not None else "engine_active_pct"
    return Finding(
        cause=Cause.BUSY_WITHOUT_THROUGHPUT,
        severity=severity,
        from_ns=span.from_ns,
        to_ns=span.to_ns,
        gpu=gpu.uuid,
        lost_seconds=lost_seconds,
        lost_pct=100 * lost_seconds / span.seconds,
        evidence=(
            case.evidence("it read as busy {value} of the time", _mean(busy, rows), "%"),
            case.evidence("of its SMs, {value} had work", _mean("sm_active_pct", rows), "%"),
            case.evidence(
                "its memory ran at {value} of its peak", _mean("dram_active_pct", rows), "%"
            ),
        ),
        ruled_out=(
            case.ruled_out(
                Cause.HOST_BOUND,
                "the GPU was without a kernel {value} of the time: its host did feed it",
                _mean("engine_active_pct", rows).replace("SELECT ", "SELECT 100 - ", 1),
                "%",
            ),
        ),
        remedy=REMEDY,
        confidence=0.8,
        confidence_reason="hardware counters over the whole stretch; which kernel it was is not "
        "recorded",
    )


def _mean(column: str, rows: str) -> str:
    """Return the SELECT of a column's mean over time."""
    known = f"FILTER ({column} IS NOT NULL)"
    return f"SELECT sum({column} * duration_ns) {known} / sum(duration_ns) {known} AS pct {rows}"


def _means(case: Case, rows: str) -> Mapping[str, float | None]:
    columns = {"busy": "busy_pct", "engine": "engine_active_pct", "sm_active": "sm_active_pct"}
    return {name: case.value(_mean(column, rows)) for name, column in columns.items()}
