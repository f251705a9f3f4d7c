"""A calibration as text for people: each constant beside its default, and what it means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gnomon.cli.numbers import UNKNOWN, rate, scaled
from gnomon.hardware import HardwareProfile
from gnomon.performance_model.constants import DEFAULT, Constants, from_calibration

MOST_FAILURES = 12


class Row(NamedTuple):
    """One constant, in words."""

    constant: str
    default: str
    measured: str
    meaning: str


def rows(document: Mapping[str, Any], profile: HardwareProfile) -> list[Row]:
    """Return a row for each constant of the model, and for each link that was measured."""
    constants = from_calibration(document, profile)
    return [
        *_compute(document, constants),
        *_shares(document, constants),
        *_floors(document),
        *_host_links(document),
    ]


def _compute(document: Mapping[str, Any], constants: Constants) -> Iterator[Row]:
    for dtype, roofs in document.get("flops", {}).items():
        default = _share(DEFAULT.compute.get(dtype))
        burst, sustained = roofs.get("burst"), roofs.get("sustained")
        if burst is not None:
            measured = _measured(constants.burst.get(dtype), scaled(burst, "FLOP/s"))
            yield Row(f"{dtype} burst", "", measured, "large products, rested GPU")
        if sustained is None:
            yield Row(f"{dtype} sustained", default, UNKNOWN, "not measured: default holds")
            continue
        measured = _measured(constants.compute[dtype], scaled(sustained, "FLOP/s"))
        lost = f"; power takes {100 * (1 - sustained / burst):.0f} %" if burst else ""
        yield Row(f"{dtype} sustained", default, measured, f"for seconds{lost}")


_SHARES = (
    ("memory", "memory_bytes_per_s", "B/s", "what streams from DRAM"),
    ("attention_compute", "attention_flops", "FLOP/s", "causal, long prompts"),
    ("decode_attention", "decode_attention_bytes_per_s", "B/s", "reading a KV cache"),
    ("link", "link_bytes_per_s", "B/s", "all-reduce of two GPUs"),
)


def _shares(document: Mapping[str, Any], constants: Constants) -> Iterator[Row]:
    for name, key, unit, meaning in _SHARES:
        value, default = document.get(key), _share(getattr(DEFAULT, name))
        measured = UNKNOWN
        if value is not None:
            absolute = rate(value) if unit == "B/s" else scaled(value, unit)
            measured = _measured(getattr(constants, name), absolute)
        yield Row(name, default, measured, meaning)


_FLOORS = (
    ("launch_s", "empty kernel in a graph"),
    ("product_launch_s", "product, beside bytes"),
    ("attention_launch_s", "decode core, beside bytes"),
    ("collective_s", "all-reduce, beside bytes"),
)


def _floors(document: Mapping[str, Any]) -> Iterator[Row]:
    for name, meaning in _FLOORS:
        yield Row(name, _us(getattr(DEFAULT, name)), _us(document.get(name)), meaning)


def _host_links(document: Mapping[str, Any]) -> Iterator[Row]:
    words = {"h2d": "from pinned host memory", "d2h": "to pinned host memory"}
    for key, value in document.get("pcie", {}).items():
        direction = key.removesuffix("_bytes_per_s")
        yield Row(f"pcie {direction}", "", rate(value), words[direction])


def _share(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _measured(share: float | None, absolute: str) -> str:
    return f"{_share(share)} = {absolute}" if share is not None else absolute


def _us(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else f"{seconds * 1e6:.1f} us"


def show(
    document: Mapping[str, Any],
    profile: HardwareProfile,
    true_clock_missing: str,
    change: tuple[str, float] | None,
    out: Console,
) -> None:
    """Print the constants, how the GPU ran, what failed, and how far the former one was away."""
    out.print(Text(f"{document['gpu_name']}  ", style="bold"), Text(document["gpu_uuid"], "dim"))
    points, failures = document["points"], document["failures"]
    out.print(
        f"driver {document['driver']}, PyTorch {document['torch']}: {len(points)} points in "
        f"{document['took_s']:.0f} s"
    )
    out.print(_table(rows(document, profile)))
    for line in [*_load(document, true_clock_missing), *_agreement(change)]:
        out.print(line)
    for failure in failures[:MOST_FAILURES]:
        out.print(Text(f"not measured: {failure['name']}: {failure['reason']}", style="yellow"))
    if len(failures) > MOST_FAILURES:
        out.print(f"and {len(failures) - MOST_FAILURES} more; all are in the file", style="yellow")


def _table(constants: list[Row]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("constant", "default", "measured", "what it means"):
        is_number = name in ("default", "measured")
        table.add_column(name, justify="right" if is_number else "left", no_wrap=is_number)
    for row in constants:
        table.add_row(*row)
    return table


def _load(document: Mapping[str, Any], true_clock_missing: str) -> Iterator[str]:
    """Say at which clock and power the first sustained point ran."""
    loaded = [p for p in document["points"] if p["sustained"] and p["sm_clock_mhz"] is not None]
    if loaded:
        first = loaded[0]
        watts = first["power_watts"]
        power = "" if watts is None else f", {watts:.0f} W"
        by = {"cupti": "the true clock", "nvml": "by NVML, which reads high on tensor work"}
        yield (
            f"sustained {first['dtype'] or first['kind']} ran at {first['sm_clock_mhz']:,.0f} MHz "
            f"({by.get(first['sm_clock_source'], first['sm_clock_source'])}){power}"
        )
    if true_clock_missing:
        yield f"no true clock: {true_clock_missing}"


def _agreement(change: tuple[str, float] | None) -> Iterator[str]:
    if change is not None:
        name, pct = change
        yield f"farthest from the last calibration: {name}, {pct:+.1f} %"
