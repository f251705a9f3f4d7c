"""What is told of steps and ranges on a GPU; the shape of ``kernels --steps --json``.

Times are nanoseconds, summed over all instances; None is "not known", never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gnomon.analysis.summary_types import ComputeLedger


@dataclass(frozen=True, slots=True)
class RangeCounters:
    """Counters of the whole GPU while a range was running, and the ledger they make.

    In the ledger the engine's share and that of copying are those of the recorded intervals;
    ``no_ledger`` says why there is none.
    """

    source: str
    samples: int
    sm_active_pct: float
    memory_sol_pct: float | None
    pipe: str | None
    pipe_active_pct: float | None
    compute_sol_pct: float | None
    ledger: ComputeLedger | None
    no_ledger: str


@dataclass(frozen=True, slots=True)
class RangeParts:
    """All instances of a step or range.

    ``compute_ns``, the two exposed parts and ``host_ns`` add up to ``total_ns``. A collective is
    overlapped where a compute kernel runs, a copy where any kernel does. Families (kernels of
    compute and collectives) may run at the same time, and then add up to more. ``by_launch``: an
    instance is the time from the first to the last of what was launched in it; else it is the
    time in which the range was open on the host.
    """

    name: str
    count: int
    by_launch: bool
    total_ns: int
    p50_ns: int
    p95_ns: int
    longest_ns: int
    compute_ns: int
    collectives_exposed_ns: int
    collectives_overlapped_ns: int
    copies_exposed_ns: int
    copies_overlapped_ns: int
    host_ns: int
    families: Mapping[str, int]
    counters: RangeCounters | None = None
    no_counters: str = ""


@dataclass(frozen=True, slots=True)
class RepeatedCopy:
    """Copies of one kind and size that come in nearly every step; what they hold is not known."""

    kind: str
    bytes: int
    per_step: float
    count: int
    total_ns: int
    exposed_ns: int


@dataclass(frozen=True, slots=True)
class StreamTime:
    """Kernels of one stream; ``overlapped_ns``: while kernels of another stream ran as well."""

    process: str
    context_id: int
    stream_id: int
    kernels: int
    time_ns: int
    overlapped_ns: int


@dataclass(frozen=True, slots=True)
class GpuSteps:
    """Steps and ranges of one GPU.

    ``basis`` says what tells steps: ranges, marks, phases, sequence (of kernels) or gaps (between
    them); None where nothing does, and ``confidence_reason`` why. ``confidence`` is 0 to 1.
    ``streams_never_overlap``: several streams have kernels, and no two of them ever ran at once.
    """

    gpu_uuid: str
    mig_uuid: str | None
    windows: int
    dropped: int
    known_ns: int
    basis: str | None
    confidence: float
    confidence_reason: str
    steps: RangeParts | None
    ranges: Sequence[RangeParts] = ()
    repeated_copies: Sequence[RepeatedCopy] = ()
    streams: Sequence[StreamTime] = ()
    streams_never_overlap: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dumps``."""
        return asdict(self)
