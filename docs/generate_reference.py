# ruff: noqa: INP001
"""Write the pages of docs/reference from the code that they describe.

python docs/generate_reference.py            write them
python docs/generate_reference.py --check    fail where a committed page is out of date
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from gnomon import configuration, hardware
from gnomon.enums import Pipe
from gnomon.hardware.peaks import disagreements, reference_clocks_mhz
from gnomon.hardware.specs import GpuSpec, load_rates
from gnomon.tables import SCHEMA_VERSION, TABLES, Table

DIRECTORY = Path(__file__).parent / "reference"
NOTICE = "<!-- Written by docs/generate_reference.py: edit {source}, then run it again. -->"
NONE = "-"


def main(arguments: list[str] | None = None) -> int:
    """Write or check all pages; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare only")
    check = parser.parse_args(arguments).check
    stale = [name for name, text in pages().items() if _read(DIRECTORY / name) != text]
    if check and stale:
        sys.stderr.write(
            f"out of date: {', '.join(stale)} in {DIRECTORY}; "
            "run python docs/generate_reference.py\n"
        )
        return 1
    if not check:
        DIRECTORY.mkdir(exist_ok=True)
        for name in stale:
            (DIRECTORY / name).write_text(pages()[name], encoding="utf-8")
            sys.stdout.write(f"wrote {DIRECTORY / name}\n")
    return 0


def pages() -> Mapping[str, str]:
    """Return file name -> text of every page."""
    makers: Mapping[str, Callable[[], Iterable[str]]] = {
        "tables.md": _tables,
        "gpus.md": _gpus,
        "configuration.md": _configuration,
    }
    return {name: "\n".join(maker()) + "\n" for name, maker in makers.items()}


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") or " " for cell in cells) + " |"


def _head(*names: str) -> list[str]:
    return [_row(names), "|" + "---|" * len(names)]


# Tables


def _tables() -> Iterable[str]:
    yield NOTICE.format(source="src/gnomon/tables")
    yield "# Tables\n"
    yield (
        f"Everything that is measured lands in one of these tables (schema version "
        f"{SCHEMA_VERSION}).\n"
        "`gnomon query DIR SQL` reads them under these names.\n"
    )
    yield (
        "In every table `ts_ns` is the end of the interval and `duration_ns` its length.\n"
        "A value that was not read is null, never 0 and never an old value again.\n"
    )
    for table in TABLES.values():
        yield f"- [`{table.name}`](#{table.name}): {_first_sentence(table.meaning)}"
    for table in TABLES.values():
        yield from _table(table)


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].rstrip(".") + "."


def _table(table: Table) -> Iterable[str]:
    yield f"\n## {table.name}\n"
    yield f"{table.meaning}\n"
    yield from _head("column", "type", "unit", "meaning", "source")
    for column in table.columns:
        yield _row((f"`{column.name}`", column.type, column.unit, column.meaning, column.source))


# GPUs


def _gpus() -> Iterable[str]:
    yield NOTICE.format(source="src/gnomon/hardware/gpus.csv or architectures.csv")
    yield "# GPUs\n"
    yield (
        "Peaks are dense, in TFLOP/s (TOP/s for INT8), as the vendor's documents print them.\n"
        "A GPU that is not here is measured all the same: its peaks are computed from what the "
        "driver tells of it, and every number says so.\n"
    )
    yield "## Peaks\n"
    yield from _head(
        "SKU",
        "FP64",
        "FP64 tensor",
        "FP32",
        "TF32",
        "BF16",
        "FP16",
        "FP8",
        "INT8",
        "FP4",
        "DRAM GB/s",
        "NVLink GB/s, one way",
        "W",
    )
    for spec in hardware.load().values():
        yield _row(_peak_cells(spec))
    yield from _clocks()
    yield from _rates()
    yield from _provenance()


def _peak_cells(spec: GpuSpec) -> Iterable[str]:
    yield spec.sku
    for dtype in hardware.DTYPES:
        yield _figure(spec.peak_flops.get(dtype), 1e12)
    yield _figure(spec.dram_bytes_per_s, 1e9)
    yield _figure(spec.nvlink_bytes_per_s, 1e9)
    yield _figure(spec.tdp_watts)


def _figure(value: float | None, unit: float = 1.0) -> str:
    return NONE if value is None else f"{value / unit:.6g}"


def _clocks() -> Iterable[str]:
    yield "\n## Reference clocks\n"
    yield (
        "The SM clock in MHz at which the peak of each pipe holds: peak / (SMs x FLOP per clock "
        "and SM), the boost clock where it lies within the rounding of the printed figure.\n"
        "A pipe's share of the peak is its active share of cycles x the true clock / this clock.\n"
    )
    pipes = (Pipe.TENSOR, Pipe.FP64_TENSOR, Pipe.FP64, Pipe.FP32)
    yield from _head("SKU", "SMs", "boost", *pipes, "figures that contradict each other")
    for spec in hardware.load().values():
        clocks = reference_clocks_mhz(spec)
        yield _row(
            (
                spec.sku,
                spec.sm_count or "from the device",
                _figure(spec.boost_clock_mhz),
                *(NONE if pipe not in clocks else f"{clocks[pipe]:.0f}" for pipe in pipes),
                "; ".join(disagreements(spec)),
            )
        )


def _rates() -> Iterable[str]:
    yield "\n## Rates\n"
    yield "FLOP per clock and SM; a fused multiply-add counts as 2.\n"
    kinds = (*hardware.DTYPES, "fp16_vector")
    yield from _head("rates", "compute capability", "product line", *kinds, "source")
    for rates in load_rates().values():
        per_sm = rates.flop_per_clock_per_sm
        cells = (_figure(per_sm.get(kind)) for kind in kinds)
        yield _row((rates.name, rates.compute_capability, rates.product_line, *cells, rates.source))


def _provenance() -> Iterable[str]:
    yield "\n## Where the figures come from\n"
    yield (
        "Evidence: *read* means that the figures were read in the sources named, *mixed* that some "
        "of them come second hand or are derived.\n"
    )
    for spec in hardware.load().values():
        yield f"- **{spec.sku}** ({spec.evidence}; NVML: {_names(spec)})."
        if spec.notes:
            yield f"  {spec.notes}."
        yield "  Sources: " + ", ".join(_source(text) for text in spec.sources)


def _names(spec: GpuSpec) -> str:
    return ", ".join(f"`{name}`" for name in spec.nvml_names)


def _source(text: str) -> str:
    url, _, remark = text.partition(" ")
    return f"<{url}> {remark}".strip() if url.startswith("http") else text


# Configuration


def _configuration() -> Iterable[str]:
    yield NOTICE.format(source="src/gnomon/configuration.py")
    yield "# Configuration\n"
    yield (
        "Command line over environment over `~/.config/gnomon/config.toml` over "
        "`/etc/gnomon/config.toml`.\n"
        "The files are TOML with these keys; the variable of a key is its name in capitals behind "
        "`GNOMON_`, as in `GNOMON_RECORD_PERIOD_S=0.1`.\n"
    )
    yield from _head("key", "default", "allowed", "meaning")
    defaults = {
        "state_directory": "`$XDG_STATE_HOME/gnomon`; root: `/var/lib/gnomon`",
        "runtime_directory": "`$XDG_RUNTIME_DIR/gnomon`; root: `/run/gnomon`",
    }
    for key, about in configuration.configurable().items():
        default = defaults.get(key) or _default(about["default"])
        yield _row((f"`{key}`", default, about["allowed"], about["meaning"]))


def _default(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    sys.exit(main())
