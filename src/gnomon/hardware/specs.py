"""What the datasheets say: the GPU table and the rates of each architecture, as data.

``gpus.csv`` has one row a SKU, with its sources, how well each is established (``evidence``)
and what sources disagree on (``notes``). ``architectures.csv`` has the operations one SM can
start per clock; a SKU's ``rates`` column names its row. All peaks are dense: datasheets that
print figures with sparsity are halved. Tera and giga are powers of ten.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

from gnomon._errors import GnomonError

DTYPES = ("fp64", "fp64_tensor", "fp32", "tf32", "bf16", "fp16", "fp8", "int8", "fp4")
"""Types of arithmetic with a published dense peak; int8 counts operations as FLOP."""

_TERA_COLUMNS = {
    "fp64": "fp64_tflops",
    "fp64_tensor": "fp64_tensor_tflops",
    "fp32": "fp32_tflops",
    "tf32": "tf32_tflops",
    "bf16": "bf16_fp16_tflops",
    "fp16": "bf16_fp16_tflops",
    "fp8": "fp8_tflops",
    "int8": "int8_tops",
    "fp4": "fp4_tflops",
}


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """What one SM of an architecture can do per clock.

    ``flop_per_clock_per_sm`` counts a fused multiply-add as 2; keys are ``DTYPES`` and
    ``fp16_vector`` (half precision outside the tensor pipe). A type it cannot do is absent.
    ``product_line`` tells GeForce, whose tensor cores run at half rate, from professional
    boards of the same compute capability; "none" marks rates of one SKU alone.
    """

    name: str
    compute_capability: str
    product_line: str
    flop_per_clock_per_sm: Mapping[str, float]
    nvlink_bytes_per_s_per_link: float | None
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class GpuSpec:
    """One SKU as its datasheet has it; None where no source gives the value.

    ``peak_flops`` maps a dtype to its dense FLOP/s, ``peak_rounding`` to half a unit of the
    last digit printed. ``nvlink_bytes_per_s`` is one direction of all links together.
    ``bf16_measured_flops`` is the best GEMM others have measured, of any shape.
    """

    sku: str
    nvml_names: tuple[str, ...]
    architecture: str
    compute_capability: str
    rates: Rates
    sm_count: int | None
    boost_clock_mhz: float | None
    peak_flops: Mapping[str, float]
    peak_rounding: Mapping[str, float]
    memory_bytes: int | None
    memory_type: str
    dram_bytes_per_s: float
    memory_bus_bits: int | None
    l2_bytes: int | None
    tdp_watts: float
    nvlink_bytes_per_s: float | None
    pcie_generation: int | None
    pcie_lanes: int
    bf16_measured_flops: float | None
    evidence: str
    sources: tuple[str, ...]
    notes: str


@cache
def load_rates() -> Mapping[str, Rates]:
    """Return the rates of every architecture by name."""
    return MappingProxyType({row["rates"]: _rates(row) for row in _rows("architectures.csv")})


@cache
def load() -> Mapping[str, GpuSpec]:
    """Return every SKU of the table by name, in the table's order."""
    return MappingProxyType({row["sku"]: _spec(row) for row in _rows("gpus.csv")})


def lookup(sku: str) -> GpuSpec:
    """Return the SKU of this name, upper or lower case.

    Raises GnomonError with the nearest names where the table has none.
    """
    table = {name.casefold(): spec for name, spec in load().items()}
    found = table.get(sku.strip().casefold())
    if found is not None:
        return found
    near = difflib.get_close_matches(sku.strip().casefold(), table, n=3, cutoff=0.4)
    known = ", ".join(table[name].sku for name in near) if near else ", ".join(load())
    raise GnomonError(f"no GPU {sku!r} in the GPU table; did you mean one of: {known}?")


def _rows(name: str) -> list[dict[str, str]]:
    text = resources.files("gnomon.hardware").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _rates(row: Mapping[str, str]) -> Rates:
    gigabytes = _number(row["nvlink_gbs_per_link_direction"])
    kinds = (*DTYPES, "fp16_vector")
    return Rates(
        name=row["rates"],
        compute_capability=row["compute_capability"],
        product_line=row["product_line"],
        flop_per_clock_per_sm=MappingProxyType(
            {kind: float(row[kind]) for kind in kinds if row[kind]}
        ),
        nvlink_bytes_per_s_per_link=None if gigabytes is None else gigabytes * 1e9,
        source=row["source"],
    )


def _spec(row: Mapping[str, str]) -> GpuSpec:
    printed = _printed_peaks(row)
    nvlink_gigabytes = _number(row["nvlink_gbs_bidir"])
    return GpuSpec(
        sku=row["sku"],
        nvml_names=tuple(row["nvml_names"].split(";")),
        architecture=row["arch"],
        compute_capability=row["compute_capability"],
        rates=load_rates()[row["rates"]],
        sm_count=_integer(row["sm_count"]),
        boost_clock_mhz=_number(row["boost_mhz"]),
        peak_flops=MappingProxyType({d: _tera(float(text)) for d, text in printed.items()}),
        peak_rounding=MappingProxyType({d: _tera(_half_unit(text)) for d, text in printed.items()}),
        memory_bytes=_integer(row["mem_gb"], 10**9),
        memory_type=row["mem_type"],
        dram_bytes_per_s=float(row["mem_bw_gbs"]) * 1e9,
        memory_bus_bits=_integer(row["mem_bus_bits"]),
        l2_bytes=_integer(row["l2_mb"], 10**6),
        tdp_watts=float(row["tdp_watts"]),
        nvlink_bytes_per_s=None if nvlink_gigabytes is None else nvlink_gigabytes / 2 * 1e9,
        pcie_generation=_integer(row["pcie_gen"]),
        pcie_lanes=int(row["pcie_lanes"]),
        bf16_measured_flops=_number(row["bf16_mamf_tflops"], 1e12),
        evidence=row["evidence"],
        sources=tuple(source.strip() for source in row["source_url"].split(" ; ")),
        notes=row["notes"],
    )


def _printed_peaks(row: Mapping[str, str]) -> dict[str, str]:
    """Return dtype -> the figure as printed, in tera-operations per second."""
    printed = {dtype: row[column] for dtype, column in _TERA_COLUMNS.items() if row[column]}
    if float(row["compute_capability"]) < 8.0:
        # Volta and Turing tensor cores know fp16 and no bf16.
        printed.pop("bf16", None)
    return printed


def _half_unit(figure: str) -> float:
    """Return half a unit of the last printed digit: 33.5 may be anything from 33.45 to 33.55."""
    decimals = len(figure.partition(".")[2])
    return float(0.5 * 10.0**-decimals)


def _tera(value: float) -> float:
    # Rounded, so that 66.9 comes out as 66,900,000,000,000 and not a 64th of a FLOP off.
    return float(round(value * 1e12))


def _number(text: str, scale: float = 1.0) -> float | None:
    return float(text) * scale if text else None


def _integer(text: str, scale: int = 1) -> int | None:
    return round(float(text) * scale) if text else None
