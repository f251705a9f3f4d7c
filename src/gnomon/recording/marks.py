"""What the workload says it is doing: phases, written by anybody, at any moment."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gnomon import tables
from gnomon._errors import RecordingError
from gnomon.enums import PhaseEdge
from gnomon.recording import layout
from gnomon.recording._convert import convert
from gnomon.recording._open_segment import OpenSegment
from gnomon.recording.base import Measurements


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
        from gnomon.proc.identity import host_identity  # noqa: PLC0415

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
    _write(Path(directory), host_id, tables.batch("phases", [row]))


def phases(measurements: Measurements) -> list[Phase]:
    """Return the phases in the order of their begins.

    A phase lasts from its begin to the end of the same name by the same process, else to that
    process's next begin. Where the process says nothing more (each `gnomon mark` is one of its
    own), anybody's end of that name or next begin closes it, else the end of what is recorded.
    So phases of several processes may overlap, and those of one process may be nested.
    An end without a begin is ignored.
    """
    bounds = measurements.bounds()
    edges = measurements.read("phases").to_pylist()
    closing = _closing(edges)
    found: list[Phase] = []
    for index, edge in enumerate(edges):
        if edge["edge"] != PhaseEdge.BEGIN.value:
            continue
        last = edges[closing[index]] if index in closing else None
        if last is not None:
            to_ns = last["ts_ns"]
        else:
            to_ns = max(bounds[1] if bounds else edge["ts_ns"], edge["ts_ns"])
        is_end = last is not None and last["edge"] == PhaseEdge.END.value
        found.append(_phase(edge, to_ns, last if last is not None and is_end else {}))
    return found


def _closing(edges: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Return the number of the edge that closes a phase, by that of its begin; one pass back."""
    closing: dict[int, int] = {}
    own_end: dict[tuple[Any, str], int] = {}
    own_begin: dict[Any, int] = {}
    any_end: dict[str, int] = {}
    any_begin: int | None = None
    for index in range(len(edges) - 1, -1, -1):
        pid, name = edges[index]["pid"], edges[index]["name"]
        if edges[index]["edge"] != PhaseEdge.BEGIN.value:
            own_end[pid, name] = any_end[name] = index
            continue
        # A later end of this name belongs to this begin, not to an earlier one of the same name.
        last = own_end.pop((pid, name), own_begin.get(pid))
        if last is None:
            others = (any_end.get(name), any_begin)
            last = min((one for one in others if one is not None), default=None)
        if last is not None:
            closing[index] = last
        own_begin[pid] = any_begin = index
    return closing


def _write(directory: Path, host_id: str, batch: Any) -> None:
    """Write a closed segment of one batch; unlike a recorder's, it needs no ``meta``."""
    day = layout.utc_date(batch.column("ts_ns")[0].as_py())
    host = layout.safe_host_id(host_id)
    identity = layout.Segment("phases", day, host, layout.new_writer_id(), 0)
    try:
        segment = OpenSegment(directory, identity, batch.schema)
        try:
            segment.write(batch)
            segment.finish()
            convert(directory, identity)
        finally:
            segment.release()
    except OSError as error:
        raise RecordingError(
            f"cannot mark in {directory}: {error.strerror or error}; make room, or say with "
            "--recording where marks may be written"
        ) from error


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
