"""Puts the tables of a run of ``benchmarks.accuracy --json`` into the page that publishes them.

    python -m benchmarks.accuracy_page RESULTS.json docs/measurements/accuracy.md

Each table replaces the one under its heading; the prose around them is for people to write.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.pages import renew, with_tables

Row = dict[str, Any]
TERMS = ("copying", "idle", "sm_empty", "stalled", "clock", "padding", "achieved")
COMPUTE_SOL = "compute SOL"
BY_NVML = "compute SOL by NVML clock"
TOLD_ELSEWHERE = (COMPUTE_SOL, "clock by CUPTI", "ledger sum", "bound by")


def kernels(rows: Sequence[Row]) -> list[list[str]]:
    """The phases whose compute SOL is held against the program's FLOP/s, with all three clocks."""
    table = [
        [
            "kernel",
            "SM clock, MHz: NVML",
            "CUPTI",
            "clock64",
            "program",
            "compute SOL",
            "error",
            "by NVML's clock",
        ]
    ]
    for row in rows:
        checks = {check["quantity"]: check for check in row["checks"]}
        if checks.get(COMPUTE_SOL, {}).get("tolerance") is None:
            continue
        clocks = (_number(row["clocks_mhz"][name], 0) for name in ("nvml", "cupti", "clock64"))
        sol = checks[COMPUTE_SOL]
        by_nvml = f"{checks[BY_NVML]['error']:+.1f} %" if BY_NVML in checks else ""
        missed = "" if sol["passed"] else " **missed**"
        table.append(
            [
                row["record"]["name"],
                *clocks,
                f"{sol['truth']:.2f}",
                f"{sol['measured']:.2f}",
                f"{sol['error']:+.2f} %{missed}",
                by_nvml,
            ]
        )
    return table


def phases(rows: Sequence[Row]) -> list[list[str]]:
    """What gnomon says of every phase beside what the program counted."""
    table = [
        [
            "phase",
            "bound by",
            "busy",
            "engine",
            "SM active",
            "pipe",
            "compute SOL",
            "memory SOL",
            "program",
        ]
    ]
    for row in rows:
        one = row["summary"]
        shares = (_number(one[f"{name}_pct"], 1) for name in ("busy", "engine_active", "sm_active"))
        pipe = f"{one['pipe']} {_number(one['pipe_active_pct'], 1)}"
        sols = (_number(one[f"{name}_sol_pct"], 2) for name in ("compute", "memory"))
        table.append([row["record"]["name"], one["bound_by"], *shares, pipe, *sols, _program(row)])
    return table


def ledgers(rows: Sequence[Row]) -> list[list[str]]:
    """The compute ledger of every phase."""
    table = [["phase", *(term.replace("sm_empty", "SMs empty") for term in TERMS)]]
    for row in rows:
        ledger = row["summary"]["ledger"]
        terms = [_number(ledger[f"{term}_pct"], 2) for term in TERMS]
        table.append([row["record"]["name"], *terms])
    return table


def terms(rows: Sequence[Row]) -> list[list[str]]:
    """Every other check that has a tolerance, but for sums and names."""
    table = [["phase", "check", "gnomon", "truth", "difference", "allowed"]]
    for row in rows:
        for check in row["checks"]:
            quantity = check["quantity"]
            if check["tolerance"] is None or quantity in TOLD_ELSEWHERE:
                continue
            percent = " %" if check["unit"] == "%" else ""
            missed = "" if check["passed"] else " **missed**"
            figures = (_figure(check[name]) for name in ("measured", "truth"))
            difference = f"{check['error']:+.2f}{percent}{missed}"
            allowed = f"{check['tolerance']}{percent}"
            table.append([row["record"]["name"], quantity, *figures, difference, allowed])
    return table


TABLES: dict[str, Callable[[Sequence[Row]], list[list[str]]]] = {
    "## The kernels": kernels,
    "## The phases": phases,
    "## The ledgers": ledgers,
    "## Each term": terms,
}


def renewed(page: str, rows: Sequence[Row]) -> str:
    """Return the page with its tables made anew. Raises ValueError where it lacks one."""
    return with_tables(page, {heading: table(rows) for heading, table in TABLES.items()})


def _program(row: Row) -> str:
    record = row["record"]
    seconds = (record["to_ns"] - record["from_ns"]) / 1e9
    said = []
    if record["model_flops"]:
        rate = record["model_flops"] / seconds / 1e12
        said.append(f"{rate:,.1f} TFLOP/s {record['flops_dtype']}")
    if record["model_bytes"]:
        said.append(f"{record['model_bytes'] / seconds / 1e9:,.0f} GB/s")
    if record["tokens"]:
        said.append(f"{record['tokens'] / seconds:,.0f} tokens/s")
    return ", ".join(said)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _figure(value: float) -> str:
    return f"{value / 1e9:,.0f} GB/s" if abs(value) > 1e9 else f"{value:.2f}"


if __name__ == "__main__":
    sys.exit(renew(renewed, __doc__))
