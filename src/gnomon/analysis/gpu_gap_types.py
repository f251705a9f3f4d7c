"""What is told of the time of a GPU in which no kernel ran; the shape of ``kernels --gaps --json``.

Times are nanoseconds within windows of recording; None is "not known", never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class GapReason(StrEnum):
    """Why no kernel ran: first what the GPU did, then what its thread did, then patterns."""

    COPYING = "copying"
    QUEUED = "queued"
    LAUNCHING = "launching"
    COPY_CALL = "copy_call"
    SYNCHRONIZING = "synchronizing"
    MEMORY_CALL = "memory_call"
    CUDA_CALL = "cuda_call"
    RUN_QUEUE = "run_queue"
    IO = "io"
    LOADER = "loader"
    LOCK = "lock"
    SLEEP = "sleep"
    REQUEST = "request"
    OFF_CPU = "off_cpu"
    OWN_CODE = "own_code"
    AFTER_SYNCHRONIZATION = "after_synchronization"
    AFTER_COPY_TO_HOST = "after_copy_to_host"
    AFTER_COLLECTIVE = "after_collective"
    LAUNCH_BOUND = "launch_bound"
    PERIODIC = "periodic"
    UNKNOWN = "unknown"


REASONS = tuple(GapReason)
CODES = {reason: code for code, reason in enumerate(REASONS)}


@dataclass(frozen=True, slots=True)
class BusyTime:
    """What a GPU did in the time that is known; the last four add up to the first."""

    known_ns: int
    kernels_only_ns: int
    copies_only_ns: int
    both_ns: int
    neither_ns: int

    @property
    def kernels_ns(self) -> int:
        """Time in which a kernel ran, whatever else did."""
        return self.kernels_only_ns + self.both_ns


@dataclass(frozen=True, slots=True)
class CounterCheck:
    """A counter against the intervals of what ran, over the same ``seconds``.

    ``counted_pct`` is what the counter reads, ``ran_pct`` the share of time in which ``ran``
    (kernels, or kernels and copies) ran.
    """

    counter: str
    source: str
    ran: str
    counted_pct: float
    ran_pct: float
    seconds: float

    @property
    def difference_pct(self) -> float:
        """By how many points the counter reads more."""
        return self.counted_pct - self.ran_pct


@dataclass(frozen=True, slots=True)
class GapPair:
    """The gaps between two kernels by name; ``reasons``: nanoseconds, which add up to the total.

    ``period_ns``: after how long they come again, where they come regularly.
    """

    before: str
    after: str
    count: int
    total_ns: int
    p50_ns: int
    longest_ns: int
    period_ns: int | None
    reasons: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class GpuGaps:
    """The gaps of one GPU: stretches of a window without a kernel, between two kernels.

    ``at_edges_ns`` lies before the first or after the last kernel of a window: how long such a
    gap really was is not known. ``reasons``: nanoseconds, largest first, which add up to
    ``total_ns``. ``threads``: how many threads that feed it were followed; 0 where patterns alone
    tell. ``pairs``: those of most time.
    """

    gpu_uuid: str
    mig_uuid: str | None
    windows: int
    dropped: int
    busy: BusyTime
    checks: Sequence[CounterCheck]
    count: int
    total_ns: int
    at_edges_ns: int
    p50_ns: int | None
    p95_ns: int | None
    p99_ns: int | None
    longest_ns: int | None
    reasons: Mapping[str, int]
    threads: int
    pairs: Sequence[GapPair]

    def share_pct(self, reason: str) -> float:
        """Return the share of the time of all gaps that a reason has."""
        return 100.0 * self.reasons.get(reason, 0) / max(self.total_ns, 1)

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dumps``."""
        return asdict(self)
