"""The table of kernels joined with their speed of light: what each row loses.

A row can stand for many shapes, on several GPUs. Its value of a counter is the mean over their
time, as far as it is known; shapes that are known only in common count with their common value
where the row holds all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gnomon.analysis.kernel_sol import judged
from gnomon.analysis.kernel_sol_report import kernels_sol
from gnomon.analysis.kernel_sol_types import GpuKernelSol, KernelKey, KernelSol, to_plain
from gnomon.analysis.kernel_told import Told
from gnomon.analysis.kernel_types import KernelRow, KernelTable, Shape
from gnomon.analysis.kernel_verdict import verdict
from gnomon.analysis.roofline_points import measured_points
from gnomon.analysis.roofline_types import Measured, MeasuredPoint
from gnomon.analysis.summary_types import GpuSummary
from gnomon.enums import ClockSource
from gnomon.hardware import HardwareProfile, profile
from gnomon.recording.base import Measurements, Meta

# A value that stands for less of a row's time than this is none of the row.
LEAST_KNOWN = 0.5
# What a row of the table says itself.
OF_THE_ROW = ("key", "calls", "time_ns", "time_share_pct", "lost_pct")


@dataclass(frozen=True, slots=True)
class RowSol:
    """A row of the table and what it reaches; ``sol`` is None where no counters were sampled.

    ``gpu_uuid`` is the GPU on which its longest shape ran for most time.
    ``known_pct`` is the share of the row's time that the worst known of the values told stands
    for. ``lost_pct``, of the time that was recorded: share x (100 - the larger of compute and
    memory SOL).
    """

    row: KernelRow
    sol: KernelSol | None
    known_pct: float | None
    lost_pct: float | None
    gpu_uuid: str | None = None

    def to_json(self, point: MeasuredPoint | None = None) -> dict[str, Any]:
        """Return the row with its speed of light, and its place on a roofline where it has one."""
        sol = None
        if self.sol is not None:
            sol = {
                name: value for name, value in to_plain(self.sol).items() if name not in OF_THE_ROW
            }
            sol["known_pct"], sol["gpu_uuid"] = self.known_pct, self.gpu_uuid
            sol["roofline"] = point and {
                "dtype": point.dtype,
                "flops_per_s": point.flops_per_s,
                "dram_bytes_per_s": point.dram_bytes_per_s,
                "flop_per_byte": point.flop_per_byte,
                "roof_pct": point.roof_pct,
            }
        return {**self.row.to_json(), "lost_pct": self.lost_pct, "sol": sol}


def speed_of_light(
    measurements: Measurements, table: KernelTable
) -> tuple[list[RowSol], list[GpuKernelSol]]:
    """Return a table's rows by what they lose, and the GPUs that counters were sampled of."""
    span, gpus = table.span, measurements.meta().gpus
    of_table = {one.uuid for one in table.gpus}
    found = [
        one
        for one in kernels_sol(measurements, from_ns=span.from_ns, to_ns=span.to_ns)
        if one.gpu_uuid in of_table
    ]
    profiles = {one.gpu_uuid: profile(gpus.get(one.gpu_uuid, {})) for one in found}
    return losses(table.rows, found, profiles), found


def losses(
    rows: Sequence[KernelRow],
    found: Sequence[GpuKernelSol],
    profiles: Mapping[str, HardwareProfile],
) -> list[RowSol]:
    """Return the rows in the order of what they lose; those of unknown loss after, by their time.

    ``profiles``: GPU uuid -> its peaks.
    """
    by_gpu = [(one.gpu_uuid, one.by_shape(), profiles[one.gpu_uuid]) for one in found]
    joined = [_joined(row, by_gpu) for row in rows]
    return sorted(
        joined,
        key=lambda one: (one.lost_pct is None, -(one.lost_pct or 0.0), -one.row.total_ns),
    )


def points(rows: Sequence[RowSol], gpu_uuid: str, meta: Meta) -> Measured:
    """Return the roofline points of the rows of one GPU, by ``label``.

    A row is shown as a window of its own: the FLOP/s and bytes/s that it reaches while it runs.
    """
    summaries = [
        GpuSummary(
            uuid=gpu_uuid,
            name=one.row.name,
            phase=label(one.row),
            from_ns=0,
            to_ns=one.sol.time_ns,
            samples=one.sol.samples,
            pipe=one.sol.pipe,
            compute_sol_pct=one.sol.compute_sol_pct,
            memory_sol_pct=one.sol.memory_sol_pct,
            sm_clock_mhz=one.sol.sm_clock_mhz,
            sm_clock_source=ClockSource.CUPTI.value,
            bound_by=one.sol.bound_by,
            unavailable=dict(one.sol.unavailable),
        )
        for one in rows
        if one.sol is not None and one.gpu_uuid == gpu_uuid
    ]
    return measured_points(summaries, meta)


def label(row: KernelRow) -> str:
    """Return a row's short name, with its launch where the row is of one shape."""
    if row.grid is None or row.block is None:
        return row.short_name
    return KernelKey(row.short_name, Shape(0, row.grid, row.block)).label


def document(
    table: KernelTable,
    rows: Sequence[RowSol],
    found: Sequence[GpuKernelSol],
    meta: Meta,
    limit: int | None = None,
) -> dict[str, Any]:
    """Return the document of ``gnomon kernels --json`` with the speed of light in it."""
    placed = {
        (one.uuid, one.name): one
        for gpu in found
        for one in points(rows, gpu.gpu_uuid, meta).points
    }
    shown = rows if limit is None else rows[:limit]
    gpus = [
        {name: value for name, value in gpu.to_json().items() if name != "kernels"}
        | {"copies": [to_plain(one) for one in gpu.kernels if not one.key.is_kernel]}
        for gpu in found
    ]
    kernels = [one.to_json(placed.get((one.gpu_uuid or "", label(one.row)))) for one in shown]
    return {**table.to_json(limit), "kernels": kernels, "speed_of_light": gpus}


def _joined(
    row: KernelRow, by_gpu: Sequence[tuple[str, Mapping[Shape, KernelSol], HardwareProfile]]
) -> RowSol:
    members = [
        (kernels[shape], peaks, uuid)
        for shape, _ in row.members
        for uuid, kernels, peaks in by_gpu
        if shape in kernels
    ]
    if not members:
        return RowSol(row, None, None, None)
    longest, peaks, uuid = max(members, key=lambda one: one[0].time_ns)
    kernels = [one for one, _, _ in members]
    if len(kernels) == 1:
        sol, known_pct = longest, 100.0
    else:
        sol, known_pct = _together(row, kernels, longest, peaks)
    reached = (sol.compute_sol_pct, sol.memory_sol_pct)
    lost = None
    if row.share_pct is not None and reached[0] is not None and reached[1] is not None:
        lost = row.share_pct * max(100.0 - max(reached[0], reached[1]), 0.0) / 100.0
    return RowSol(row, sol, known_pct, lost, uuid)


def _together(
    row: KernelRow, kernels: Sequence[KernelSol], longest: KernelSol, peaks: HardwareProfile
) -> tuple[KernelSol, float]:
    """Return what several shapes reach together, and the share of their time that it stands for."""
    labels = {one.key.label for one in kernels}
    time_ns = sum(one.time_ns for one in kernels)
    told, least = Told(), 1.0
    for name in dict.fromkeys(name for one in kernels for name in (*one.values_pct, *_common(one))):
        parts = [
            (one.time_ns, *value)
            for one in kernels
            if (value := _value(one, name, labels)) is not None
        ]
        covered_ns = sum(ns for ns, _, _ in parts)
        if covered_ns < LEAST_KNOWN * time_ns or not covered_ns:
            told.unavailable[name] = (
                f"known of {100 * covered_ns / max(time_ns, 1):.0f} % of its time"
            )
            continue
        least = min(least, covered_ns / time_ns)
        told.values_pct[name] = sum(ns * value for ns, value, _ in parts) / covered_ns
        # Errors of shapes that were told apart go against each other: added up, they are a bound.
        told.errors_pct[name] = sum(ns * error for ns, _, error in parts) / covered_ns
    clocks = [(one.time_ns, one.sm_clock_mhz) for one in kernels if one.sm_clock_mhz is not None]
    clock_ns = sum(ns for ns, _ in clocks)
    bare = KernelSol(
        KernelKey(row.name, longest.key.shape),
        calls=sum(one.calls for one in kernels),
        time_ns=time_ns,
        time_share_pct=sum(one.time_share_pct for one in kernels),
        alone_pct=sum(one.alone_pct * one.time_ns for one in kernels) / max(time_ns, 1),
        samples=sum(one.samples for one in kernels),
        values_pct=told.values_pct,
        errors_pct=told.errors_pct,
        sm_clock_mhz=sum(ns * mhz for ns, mhz in clocks) / clock_ns if clock_ns else None,
        unavailable=told.unavailable or ({} if told.values_pct else longest.unavailable),
    )
    whole = judged(bare, told, peaks)
    return replace(whole, verdict=verdict(whole)), 100.0 * least


def _common(kernel: KernelSol) -> Sequence[str]:
    return () if kernel.group is None else tuple(kernel.group.values_pct)


def _value(kernel: KernelSol, name: str, labels: set[str]) -> tuple[float, float] | None:
    """Return a kernel's value of a counter and its error, or that of a group within the row."""
    if name in kernel.values_pct:
        return kernel.values_pct[name], kernel.errors_pct.get(name, 0.0)
    group = kernel.group
    if group is None or name not in group.values_pct or not set(group.members) <= labels:
        return None
    return group.values_pct[name], group.errors_pct[name]
