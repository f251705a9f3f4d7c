"""What a detector says: a cause, when and where, what it cost, and the queries that prove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

from gnomon.enums import Cause, Severity

# Worst first; among equals, what cost more.
ORDER = {severity: place for place, severity in enumerate(reversed(Severity))}


@dataclass(frozen=True, slots=True)
class Evidence:
    """A sentence, its value with unit, and the query that gives this value again."""

    text: str
    value: float | str | None
    unit: str
    sql: str

    def excludes(self, cause: Cause) -> RuledOut:
        """Return a cause that this excludes."""
        return RuledOut(cause, self.text, self.value, self.unit, self.sql)


@dataclass(frozen=True, slots=True)
class RuledOut:
    """A cause that would look alike, and the measurement that excludes it."""

    cause: Cause
    text: str
    value: float | str | None
    unit: str
    sql: str


@dataclass(frozen=True, slots=True)
class Gain:
    """What the remedy would win at most, in its unit, and where that number is from."""

    value: float
    unit: str
    basis: str


class Who(TypedDict):
    """The fields of a finding that name a thread."""

    host: str | None
    pid: int | None
    tid: int | None
    thread: str | None
    rank: int | None


class ToldLoss(TypedDict):
    """The fields of a finding that say when, on which GPU, and what was lost."""

    from_ns: int
    to_ns: int
    gpu: str | None
    thread_seconds: float
    lost_seconds: float | None
    lost_pct: float | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or worth knowing (severity ``info``).

    ``thread_seconds``: time of threads that went to the cause, added over those that waited at
    once. ``lost_seconds``: what GPUs lost by it, at most what they were idle; None where no
    counters tell that. ``lost_pct``: the same as a share of the GPU's peak in [from_ns, to_ns].
    ``confidence``: 0 to 1, with its reason.
    """

    cause: Cause
    severity: Severity
    from_ns: int
    to_ns: int
    evidence: Sequence[Evidence]
    remedy: str
    confidence: float
    confidence_reason: str
    thread_seconds: float | None = None
    lost_seconds: float | None = None
    lost_pct: float | None = None
    gpu: str | None = None
    host: str | None = None
    pid: int | None = None
    tid: int | None = None
    thread: str | None = None
    operation: str | None = None
    rank: int | None = None
    ruled_out: Sequence[RuledOut] = ()
    expected_gain: Gain | None = None

    @property
    def cost_seconds(self) -> float | None:
        """What it is graded and ranked by: the GPU's loss, else the most that it can be."""
        return self.thread_seconds if self.lost_seconds is None else self.lost_seconds

    def to_json(self) -> dict[str, Any]:
        """Return what ``gnomon explain --json`` prints of it."""
        return asdict(self)


def ranked(findings: Sequence[Finding]) -> list[Finding]:
    """Return findings in the order in which they are read: severity, then what they cost."""
    return sorted(
        findings,
        key=lambda one: (
            ORDER[one.severity],
            -(one.cost_seconds or 0.0),
            one.cause,
            one.from_ns,
            one.pid or 0,
            one.tid or 0,
        ),
    )
