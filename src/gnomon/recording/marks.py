"""What the workload says it is doing: phases, written by anybody, at any moment."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnomon import tables
from gnomon.enums import PhaseEdge
from gnomon.recording.base import Measurements
from gnomon.recording.writer import RecordingWriter


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time with a name, and the work that was done in it where it is known.

    ``model_flops`` is the useful work of the whole phase in FLOP of ``flops_dtype``,
    ``model_bytes`` the DRAM traffic it needs, ``tokens`` what it processed.
    """

    name: str
    from_ns: int
    to_ns: int
    model_flops: float | None = None
    flops_dtype: str | None = None
    model_bytes: float | None = None
    tokens: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def mark(  # noqa: PLR0913  one keyword a column
    directory: Path,
    name: str,
    edge: PhaseEdge = PhaseEdge.BEGIN,
    *,
    host_id: str | None = None,
    ts_ns: int | None = None,
    model_flops: float | None = None,
    flops_dtype: str | None = None,
    model_bytes: float | None = None,
    tokens: float | None = None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Write one edge of a phase into a recording, live or old, as a writer of its own.

    What is known of the work belongs on the end edge. Raises RecordingError where the
    directory cannot be written.
    """
    if host_id is None:
        from gnomon.sources._identity import host_identity  # noqa: PLC0415

        host_id = str(host_identity()["id"])
    row = {
        "ts_ns": time.time_ns() if ts_ns is None else ts_ns,
        "duration_ns": 0,
        "name": name,
        "edge": PhaseEdge(edge).value,
        "pid": os.getpid(),
        "model_flops": model_flops,
        "flops_dtype": flops_dtype,
        "model_bytes": model_bytes,
        "tokens": tokens,
        "detail": json.dumps(detail) if detail else None,
    }
    with RecordingWriter(directory, host_id) as writer:
        writer.append("phases", tables.batch("phases", [row]))


def phases(measurements: Measurements) -> list[Phase]:
    """Return the phases in the order of their begins.

    A phase lasts from its begin to the end of the same name, else to the next begin, else to
    the end of what is recorded. An end without a begin is ignored.
    """
    bounds = measurements.bounds()
    edges = measurements.read("phases").to_pylist()
    found: list[Phase] = []
    for index, edge in enumerate(edges):
        if edge["edge"] != PhaseEdge.BEGIN.value:
            continue
        closing = _closing(edges[index + 1 :], edge["name"])
        if closing is not None:
            to_ns = closing["ts_ns"]
        else:
            to_ns = max(bounds[1] if bounds else edge["ts_ns"], edge["ts_ns"])
        done = closing if closing is not None and closing["edge"] == PhaseEdge.END.value else {}
        found.append(_phase(edge, to_ns, done))
    return found


def _closing(later: list[dict[str, Any]], name: str) -> dict[str, Any] | None:
    """Return the edge that ends a phase of this name."""
    for edge in later:
        if edge["edge"] == PhaseEdge.END.value and edge["name"] == name:
            return edge
        if edge["edge"] == PhaseEdge.BEGIN.value:
            return edge
    return None


def _phase(begin: Mapping[str, Any], to_ns: int, done: Mapping[str, Any]) -> Phase:
    def known(column: str) -> Any:
        value = done.get(column)
        return begin[column] if value is None else value

    return Phase(
        name=begin["name"],
        from_ns=begin["ts_ns"],
        to_ns=to_ns,
        model_flops=known("model_flops"),
        flops_dtype=known("flops_dtype"),
        model_bytes=known("model_bytes"),
        tokens=known("tokens"),
        detail=_details(begin["detail"]) | _details(done.get("detail")),
    )


def _details(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text) if text else {}
    except ValueError:
        return {"text": text}
    return value if isinstance(value, dict) else {"value": value}
