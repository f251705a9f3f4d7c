"""What can be asked of measurements, whether they lie on disk, in memory or are being replayed.

Analysis and surfaces know this protocol only, so they cannot tell a live recording from an old
one: that is how ``demo``, the tests and ``top`` share one road.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

# Why a source is unavailable that has not said anything so far.
NOT_YET = "it has not answered yet"


@dataclass(frozen=True, slots=True)
class Unavailable:
    """A metric that was not measured in [from_ns, to_ns], with the reason and the remedy."""

    metric: str
    reason: str
    remedy: str = ""
    source: str = ""
    gpu_uuid: str | None = None
    from_ns: int | None = None
    to_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Meta:
    """What is true of a recording as a whole; several writers are merged.

    ``gpus`` maps uuid to the facts of ``sources`` (keys of ``sources/nvml.py: gpu_facts``):
    name, index, pci_bus_id, compute_capability ("9.0"), sm_count, vram_total_bytes,
    memory_bus_bits, max_sm_clock_mhz, max_memory_clock_mhz, power_limit_watts,
    power_limit_default_watts, power_limit_min_watts, power_limit_max_watts, persistence_mode,
    ecc_mode, mig_mode, pcie_generation_max, pcie_lanes_max, nvlink_count, driver_version,
    vbios_version. A fact that the driver refused is absent.
    """

    schema_version: int
    host: Mapping[str, Any] = field(default_factory=dict)
    gpus: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    unavailable: Sequence[Unavailable] = ()


@dataclass(frozen=True, slots=True)
class SkippedSegment:
    """A file of the recording that is not read, in part or whole, and why."""

    path: str
    reason: str


class Measurements(Protocol):
    """Measurements in a time range; every method may be called while they are being written."""

    def meta(self) -> Meta: ...

    def bounds(self) -> tuple[int, int] | None:
        """First interval start and last interval end, Unix ns; None where nothing was recorded."""
        ...

    def read(
        self,
        table: str,
        *,
        from_ns: int | None = None,
        to_ns: int | None = None,
        columns: Sequence[str] | None = None,
        encoded: bool = False,
    ) -> Any:
        """Return a ``pyarrow.Table`` of rows with from_ns < ts_ns <= to_ns, ordered by ts_ns.

        The table has the columns asked for (all by default), null where a segment lacks one.
        A table without rows comes back empty, never missing. ``encoded``: text comes as a code a
        row and a dictionary, which saves a third of the time of a long range.
        """
        ...

    def pieces(
        self,
        table: str,
        *,
        from_ns: int | None = None,
        to_ns: int | None = None,
        columns: Sequence[str],
    ) -> Sequence[Any]:
        """Return the rows of ``read``, text encoded, in tables that are each ordered by ts_ns.

        Rows lie in a table with others that fill the same columns: who takes them apart by source
        does not need the sources put together first.
        """
        ...

    def cuts(self, table: str, from_ns: int, to_ns: int) -> Sequence[int]:
        """Return the moments in a range, ascending, at which it is cheaply read in parts."""
        ...

    def skipped(self) -> Sequence[SkippedSegment]: ...


@dataclass(frozen=True, slots=True)
class Arrays:
    """Columns as numpy arrays, all of one length.

    A column that was asked for ``numbered`` holds numbers from 0 (int32) in place of its values,
    which ``values`` has by number.
    """

    columns: Mapping[str, Any]
    values: Mapping[str, Sequence[Any]]


class Session(Protocol):
    """Measurements that are asked one SELECT after the other, in the dialect of DuckDB."""

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of one SELECT, column name -> value.

        Raises RecordingError where the query is wrong or goes beyond the session's limits.
        """
        ...

    def arrays(self, query: str, numbered: Collection[str] = ()) -> Arrays:
        """Return the columns of one SELECT as numpy arrays, of any number of rows.

        Columns are numbers without nulls. Raises RecordingError as ``rows`` does.
        """
        ...

    def keep(self, query: str, parts: Mapping[str, str] = MappingProxyType({})) -> None:
        """Compute a SELECT once for queries after it that contain it, in parentheses.

        ``parts``: other SELECTs -> how each follows from the table ``{kept}``. No answer
        depends on it, only how long it takes.
        """
        ...


class Questionable(Measurements, Protocol):
    """Measurements that can be asked in SQL as well; tables have the names of ``tables.TABLES``."""

    def session(self) -> AbstractContextManager[Session]:
        """Return a session over what is recorded now."""
        ...
