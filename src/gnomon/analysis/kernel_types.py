"""The table of kernels as data: what surfaces show, and programs read as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, NamedTuple

from gnomon.analysis.questions import Span
from gnomon.enums import KernelFamily, OccupancyLimiter

JSON_SCHEMA_VERSION = 1

Dimensions = tuple[int, int, int]


class By(StrEnum):
    """What a row of the table is."""

    NAME = "name"
    SHAPE = "shape"
    FAMILY = "family"


class Shape(NamedTuple):
    """A kernel and how it was launched: by this, what is known of kernels is joined.

    ``grid`` and ``block`` are x, y, z; None where they were not recorded.
    """

    name_hash: int
    grid: Dimensions | None
    block: Dimensions | None


@dataclass(frozen=True, slots=True)
class KernelRow:
    """Kernels of one name, shape or family. Times are ns; what is not known is None.

    ``share_pct`` is of the time that was recorded, of all GPUs that ran kernels. Variation and
    outliers are those of each shape, put together by time: a larger launch is no slower call.
    ``outlier_times`` is what an outlier takes over the median, on average, ``outlier_excess_ns``
    what all of them took longer than that. Gaps, delay, occupancy, waves and tail are means;
    ``gap_on_gpu_total_ns`` is the whole time for which the GPU had no kernel before these.
    ``members`` are the shapes of the row and the time of each, the longest first.
    """

    name: str
    short_name: str
    family: KernelFamily
    grid: Dimensions | None
    block: Dimensions | None
    shapes: int
    count: int
    total_ns: int
    mean_ns: float
    p50_ns: int
    p95_ns: int
    p99_ns: int
    max_ns: int
    share_pct: float | None
    variation_pct: float | None
    outliers: int | None
    outlier_times: float | None
    outlier_excess_ns: int | None
    gap_on_stream_ns: float | None
    gap_on_gpu_ns: float | None
    gap_on_gpu_total_ns: int | None
    launch_delay_ns: float | None
    occupancy_pct: float | None
    occupancy_limiter: OccupancyLimiter | None
    waves: float | None
    tail_pct: float | None
    local_bytes_per_thread: int | None
    members: Sequence[tuple[Shape, int]]

    def to_json(self) -> dict[str, Any]:
        """Return the row without its members, which only another analysis joins by."""
        names = (one.name for one in fields(self) if one.name != "members")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class KernelGpu:
    """A GPU that ran kernels: how long it was recorded, and had at least one (``busy_pct``)."""

    uuid: str | None
    mig_uuid: str | None
    kernels: int
    covered_ns: int
    busy_pct: float | None


@dataclass(frozen=True, slots=True)
class KernelTable:
    """The kernels of a span. ``is_windowed``: it was recorded in windows that are known.

    ``dropped`` is how many operations a recorder lost in them, None where it did not say.
    """

    span: Span
    by: By
    is_windowed: bool
    dropped: int | None
    gpus: Sequence[KernelGpu]
    rows: Sequence[KernelRow]

    def to_json(self, limit: int | None = None) -> dict[str, Any]:
        """Return the document of ``gnomon kernels --json``; ``limit``: rows at most."""
        shown = self.rows if limit is None else self.rows[:limit]
        return {
            "schema": JSON_SCHEMA_VERSION,
            "window": {"from_ns": self.span.from_ns, "to_ns": self.span.to_ns},
            "by": self.by,
            "is_windowed": self.is_windowed,
            "dropped": self.dropped,
            "gpus": [asdict(one) for one in self.gpus],
            "kernels": [row.to_json() for row in shown],
            "left_out": len(self.rows) - len(shown),
        }
