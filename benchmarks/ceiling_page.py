"""Puts the tables of a run of ``benchmarks.ceiling --json`` into the page that publishes them.

    python -m benchmarks.ceiling_page RESULTS.json docs/measurements/ceiling.md

Each table replaces the one under its heading; the prose around them is for people to write.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from benchmarks.pages import Table, renew, with_tables
from gnomon.hardware import HardwareProfile, profile
from gnomon.performance_model.constants import DEFAULT

Document = Mapping[str, Any]


def renewed(page: str, results: Document) -> str:
    """Return the page with its tables made anew. Raises ValueError where it lacks one."""
    tables = {
        "## The points": points(results["points"]),
        "## The two calibrations": constants(results["calibrations"]),
    }
    return with_tables(page, tables)


def points(rows: list[Document]) -> Table:
    """Every point: tokens/s beside attainable, the counters beside what is known of the work."""
    heads = (
        *("point", "tokens/s", "of attainable, default", "of attainable, calibrated"),
        *("TFLOP/s: counters", "model", "error", "padding"),
        *("DRAM GB/s: counters", "model, fused", "error", "as it ran", "error"),
        *("SM clock, MHz", "W", "how it ran"),
    )
    return [heads, *(_point(row) for row in rows)]


def _point(row: Document) -> tuple[str, ...]:
    def of(constants: str) -> str:
        return f"{row[f'of_{constants}_pct']:.1f} % of {row[f'{constants}_tokens_per_s']:,.0f}"

    # A decode step's FLOPs are mostly padding, which has a column of its own.
    is_prefill = row["name"].startswith("prefill")
    return (
        row["name"],
        _figure(row["tokens_per_s"]),
        of("default"),
        of("calibrated"),
        _figure(row["counter_flops_per_s"], 1e12, 1),
        _figure(row["model_flops_per_s"], 1e12, 1),
        _error(row["flops_error_pct"]) if is_prefill else "",
        f"{_figure(row['padding_pct'], digits=1)} %",
        _figure(row["counter_dram_bytes_per_s"], 1e9),
        _figure(row["model_dram_bytes_per_s"], 1e9),
        _error(row["dram_error_pct"]),
        _figure(row["executed_dram_bytes_per_s"], 1e9),
        _error(row["executed_dram_error_pct"]),
        _figure(row["sm_clock_mhz"]),
        _figure(row["power_watts"]),
        row["engine"],
    )


def _figure(value: float | None, unit: float = 1.0, digits: int = 0) -> str:
    return "-" if value is None else f"{value / unit:,.{digits}f}"


def _error(error_pct: float | None) -> str:
    return "-" if error_pct is None else f"{error_pct:+.1f} %"


class Constant(NamedTuple):
    """A constant as it is measured, in ``unit``, beside the default share or time.

    ``peak``: what it is a share of; None of a time. ``default``: None where there is none.
    """

    name: str
    value: float
    unit: str
    peak: float | None
    default: float | None


def measured(calibration: Document, gpu: HardwareProfile) -> Iterator[Constant]:
    """Yield the constants of a calibration in the order in which they are told."""
    for dtype, roofs in calibration["flops"].items():
        for kind, flops_per_s in roofs.items():
            name = f"flops.{dtype}.{kind}"
            share = DEFAULT.compute[dtype]
            yield Constant(name, flops_per_s / 1e12, "TFLOP/s", _peak(gpu, dtype), share)
    bandwidth = (gpu.dram_bytes_per_s or 0.0) / 1e9 or None
    link = (gpu.nvlink_bytes_per_s or gpu.pcie_bytes_per_s or 0.0) / 1e9 or None
    rates = (
        ("attention_flops", "TFLOP/s", 1e12, _peak(gpu, "bf16"), DEFAULT.attention_compute),
        ("memory_bytes_per_s", "GB/s", 1e9, bandwidth, DEFAULT.memory),
        ("decode_attention_bytes_per_s", "GB/s", 1e9, bandwidth, DEFAULT.decode_attention),
        ("link_bytes_per_s", "GB/s", 1e9, link, DEFAULT.link),
        ("launch_s", "µs", 1e-6, None, DEFAULT.launch_s / 1e-6),
        ("product_launch_s", "µs", 1e-6, None, None),
        ("attention_launch_s", "µs", 1e-6, None, None),
        ("collective_s", "µs", 1e-6, None, DEFAULT.collective_s / 1e-6),
    )
    for name, unit, size, peak, default in rates:
        if name in calibration:
            yield Constant(name, calibration[name] / size, unit, peak, default)


def _peak(gpu: HardwareProfile, dtype: str) -> float | None:
    flops_per_s = gpu.flops(dtype)
    return None if flops_per_s is None else flops_per_s / 1e12


def constants(calibrations: list[Document]) -> Table:
    """Each constant in the first and in the last calibration, and what is taken without one."""
    first, last = (
        {one.name: one for one in measured(found, profile({"name": found["gpu_name"]}))}
        for found in (calibrations[0], calibrations[-1])
    )
    heads = ("constant", "default", "first", "second", "difference", "second, of peak")
    return [heads, *(_constant(first[name], last[name]) for name in first if name in last)]


def _constant(first: Constant, last: Constant) -> tuple[str, ...]:
    if last.default is None:
        default = ""
    elif last.peak is None:
        default = f"{last.default:.1f} {last.unit}"
    else:
        default = f"{100 * last.default:.0f} %"
    digits = 2 if last.peak is None else 1
    return (
        f"`{last.name}`",
        default,
        f"{first.value:,.{digits}f} {first.unit}",
        f"{last.value:,.{digits}f} {last.unit}",
        f"{100 * (last.value / first.value - 1):+.2f} %",
        "" if last.peak is None else f"{100 * last.value / last.peak:.1f} %",
    )


if __name__ == "__main__":
    sys.exit(renew(renewed, __doc__))
