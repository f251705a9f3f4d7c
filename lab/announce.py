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
        cls, name: str, bounds_ns: tuple[int, int], iterations: int, work: Work, expected: dict
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

    def begin(self, name: str) -> None:
        if self.recording is not None:
            from gnomon.recording.marks import mark

            mark(self.recording, name, "begin")

    def end(self, name: str, work: Work) -> None:
        """Mark the end; call at once, before anything slow is asked of the phase."""
        if self.recording is not None:
            from gnomon.recording.marks import mark

            mark(
                self.recording,
                name,
                "end",
                model_flops=work.flops or None,
                flops_dtype=work.flops_dtype if work.flops else None,
                model_bytes=work.dram_bytes,
                tokens=work.tokens,
            )

    def write(self, record: PhaseRecord) -> None:
        if self.sidecar is not None:
            with self.sidecar.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(record)) + "\n")


def read_sidecar(path: Path) -> list[PhaseRecord]:
    """Read the phases of a sidecar in the order in which they ended."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [PhaseRecord(**json.loads(line)) for line in lines if line.strip()]
