"""Where a phase is told to: a JSON-lines sidecar, and a gnomon recording's phases table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.known_work import Work


@dataclass(frozen=True, slots=True)
class PhaseRecord:
    """A finished phase: when it was (Unix ns), its work, and what is known to be true of it.

    ``model_flops``, ``model_bytes`` and ``tokens`` are totals of the phase; ``expected`` maps
    keys of ``gnomon summary`` to values known independently, and ``bounds`` to the words that a
    truthful ``bound_by`` may use.
    """

    name: str
    from_ns: int
    to_ns: int
    iterations: int
    model_flops: float | None = None
    flops_dtype: str | None = None
    model_bytes: float | None = None
    tokens: float | None = None
    expected: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        name: str,
        bounds_ns: tuple[int, int],
        iterations: int,
        work: Work,
        expected: dict[str, Any],
    ) -> PhaseRecord:
        return cls(
            name,
            *bounds_ns,
            iterations,
            work.flops or None,
            work.flops_dtype if work.flops else None,
            work.dram_bytes,
            work.tokens,
            expected,
        )

    @property
    def seconds(self) -> float:
        return (self.to_ns - self.from_ns) / 1e9

    @property
    def flops_per_s(self) -> float | None:
        return None if self.model_flops is None else self.model_flops / self.seconds

    @property
    def bytes_per_s(self) -> float | None:
        return None if self.model_bytes is None else self.model_bytes / self.seconds


@dataclass(frozen=True, slots=True)
class Announcer:
    """Writes phases to a sidecar file and marks them in a recording; either may be None."""

    sidecar: Path | None = None
    recording: Path | None = None

    def announce(self, record: PhaseRecord) -> None:
        """Write both edges of a finished phase, with the instants at which they were.

        Writing a mark takes tens of milliseconds (files are synchronized); before the phase it
        would leave the GPU idle inside it.
        """
        if self.sidecar is not None:
            with self.sidecar.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(record)) + "\n")
        if self.recording is not None:
            _mark(self.recording, record)


def _mark(recording: Path, record: PhaseRecord) -> None:
    from gnomon.enums import PhaseEdge
    from gnomon.recording.marks import mark

    mark(recording, record.name, PhaseEdge.BEGIN, ts_ns=record.from_ns)
    mark(
        recording,
        record.name,
        PhaseEdge.END,
        ts_ns=record.to_ns,
        model_flops=record.model_flops,
        flops_dtype=record.flops_dtype,
        model_bytes=record.model_bytes,
        tokens=record.tokens,
        detail={"iterations": record.iterations, "expected": record.expected},
    )


def read_sidecar(path: Path) -> list[PhaseRecord]:
    """Read the phases of a sidecar in the order in which they ended."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [PhaseRecord(**json.loads(line)) for line in lines if line.strip()]
