"""What a column and a table are, and the columns that many tables have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Column:
    """One column: ``type`` is an Arrow type name, ``source`` says where the value comes from."""

    name: str
    type: str
    unit: str
    meaning: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One table, with its columns in the order in which they are stored."""

    name: str
    meaning: str
    columns: tuple[Column, ...]

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"table {self.name!r} has no column {name!r}")

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def pct(name: str, meaning: str, source: str) -> Column:
    return Column(name, "float64", "% (0 to 100)", meaning, source)


def rate(name: str, meaning: str, source: str) -> Column:
    return Column(name, "float64", "bytes/s", meaning, source)


def size(name: str, meaning: str, source: str) -> Column:
    return Column(name, "int64", "bytes", meaning, source)


def mhz(name: str, meaning: str, source: str) -> Column:
    return Column(name, "float64", "MHz", meaning, source)


def ns(name: str, meaning: str, source: str) -> Column:
    return Column(name, "int64", "ns", meaning, source)


def watts(name: str, meaning: str, source: str) -> Column:
    return Column(name, "float64", "W", meaning, source)


def celsius(name: str, meaning: str, source: str) -> Column:
    return Column(name, "float64", "°C", meaning, source)


def count(name: str, meaning: str, source: str) -> Column:
    return Column(name, "int64", "count", meaning, source)


def text(name: str, meaning: str, source: str = "") -> Column:
    return Column(name, "string", "", meaning, source)


TIME = (
    Column("ts_ns", "int64", "Unix ns", "end of the interval", "clock_gettime(CLOCK_REALTIME)"),
    Column("duration_ns", "int64", "ns", "length of the interval", "clock_gettime(MONOTONIC_RAW)"),
)
GPU = (
    text("gpu_uuid", "the GPU, as NVML names it", "nvmlDeviceGetUUID"),
    text("mig_uuid", "the MIG instance, null for the whole GPU", "nvmlDeviceGetUUID"),
)
PROCESS = (
    text("process_id", "hash of boot id, pid and start time: unique across pid reuse", "/proc"),
    Column("pid", "int32", "", "process id in the root namespace", "NVML, /proc"),
)
