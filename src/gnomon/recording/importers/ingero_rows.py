"""What lies beside the events in an Ingero file: sessions, snapshots, stacks, names, marks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gnomon.enums import EventKind, PhaseEdge, Severity
from gnomon.recording.importers.foreign_values import EARLIEST_NS, LATEST_NS, clean, integer
from gnomon.recording.importers.ingero_file import LARGEST_ID, IngeroFile

SOURCE = "ingero"
MIB = 1 << 20
SECOND_NS = 1_000_000_000
SNAPSHOT_NS = SECOND_NS
# A snapshot is taken each second; a longer distance is one that was left out.
LONGEST_SNAPSHOT_NS = 3 * SECOND_NS // 2
MOST_FRAMES = 1024
LARGEST_32 = (1 << 31) - 1
# What a session says of its host, under our names.
SESSION_FACTS = {
    "gpu_model": "gpu_model",
    "gpu_driver": "driver_version",
    "cpu_model": "cpu_model",
    "cpu_cores": "cpu_count",
    "kernel": "kernel",
    "os_release": "os_release",
    "cuda_ver": "cuda_version",
    "python_ver": "python_version",
    "pid_filter": "pid_filter",
    "flags": "recorder_flags",
    "node": "name",
}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the recorder. ``stopped_ns`` is None where it did not say that it ended."""

    started_ns: int
    stopped_ns: int | None
    recorder_version: str
    memory_total_bytes: int | None
    cpu_count: int | None
    facts: Mapping[str, object]


def sessions(file: IngeroFile) -> list[Session]:
    """Return the runs that the file tells of, first one first."""
    found = []
    names = ("started_at", "stopped_at", "ingero_ver", "mem_total", *SESSION_FACTS)
    for row in file.picked("sessions", names):
        started_ns = integer(row["started_at"], EARLIEST_NS, LATEST_NS)
        if started_ns is None:
            continue
        total_mib = integer(row["mem_total"], 1, 1 << 40)
        facts = {ours: _fact(row[theirs]) for theirs, ours in SESSION_FACTS.items()}
        found.append(
            Session(
                started_ns,
                integer(row["stopped_at"], started_ns, LATEST_NS),
                clean(row["ingero_ver"]) or "unknown",
                None if total_mib is None else total_mib * MIB,
                integer(row["cpu_cores"], 1, LARGEST_32),
                {key: value for key, value in facts.items() if value is not None},
            )
        )
    return sorted(found, key=lambda one: one.started_ns)


def session_events(known: list[Session]) -> Iterator[Row]:
    """Yield when the recorder started and stopped."""
    for one in known:
        about = f"Ingero {one.recorder_version}"
        yield event(one.started_ns, EventKind.RECORDING_STARTED, f"{about} started")
        if one.stopped_ns is not None:
            yield event(one.stopped_ns, EventKind.RECORDING_STOPPED, f"{about} stopped")


def event(
    ts_ns: int, kind: EventKind, message: str, severity: Severity = Severity.INFO, **more: Any
) -> Row:
    """Return a row of ``events``."""
    return {
        "ts_ns": ts_ns,
        "duration_ns": 0,
        "kind": kind.value,
        "severity": severity.value,
        "source": SOURCE,
        "message": message,
    } | more


def host_samples(file: IngeroFile, known: list[Session]) -> Iterator[Row]:
    """Yield the readings of the host. A reading speaks for the time since the one before."""
    total_bytes = known[0].memory_total_bytes if known else None
    names = ("timestamp", "cpu_pct", "mem_avail", "swap_mb", "load_avg")
    previous_ns = 0
    for row in file.picked("system_snapshots", names):
        ts_ns = integer(row["timestamp"], EARLIEST_NS, LATEST_NS)
        if ts_ns is None:
            continue
        since_ns = ts_ns - previous_ns
        available_mib = integer(row["mem_avail"], 0, 1 << 40)
        swap_mib = integer(row["swap_mb"], 0, 1 << 40)
        used = None
        if total_bytes is not None and available_mib is not None:
            used = total_bytes - available_mib * MIB
        yield {
            "ts_ns": ts_ns,
            "duration_ns": since_ns if since_ns <= LONGEST_SNAPSHOT_NS else SNAPSHOT_NS,
            "cpu_pct": _real(row["cpu_pct"], 100.0),
            "cpu_count": known[0].cpu_count if known else None,
            "load_1m": _real(row["load_avg"], 1e9),
            "memory_used_bytes": used if used is not None and used >= 0 else None,
            "memory_total_bytes": total_bytes,
            "swap_used_bytes": None if swap_mib is None else swap_mib * MIB,
        }
        previous_ns = ts_ns


def stacks(file: IngeroFile, ts_ns: int) -> Iterator[Row]:
    """Yield a row a frame, innermost first; a stack without readable frames yields nothing."""
    for row in file.picked("stack_traces", ("hash", "ips", "frames")):
        stack_hash = integer(row["hash"], -(1 << 63))
        if stack_hash is None:
            continue
        frames = _json(row["frames"]) or [{"i": address} for address in _json(row["ips"])]
        for depth, frame in enumerate(frames[:MOST_FRAMES]):
            if isinstance(frame, dict):
                about = {"ts_ns": ts_ns, "duration_ns": 0, "stack_hash": stack_hash, "depth": depth}
                yield about | _frame(frame)


def phases(file: IngeroFile) -> Iterator[Row]:
    """Yield both edges of what the program itself said that it was doing."""
    names = ("timestamp", "labels", "pid", "span_start", "span_end")
    for row in file.picked("annotations", names):
        at_ns = integer(row["timestamp"], EARLIEST_NS, LATEST_NS)
        begin_ns = integer(row["span_start"], EARLIEST_NS, LATEST_NS) or at_ns
        if begin_ns is None:
            continue
        end_ns = integer(row["span_end"], begin_ns, LATEST_NS) or begin_ns
        labels = _labels(row["labels"])
        about = {
            "duration_ns": 0,
            "name": labels.get("phase") or labels.get("name") or _joined(labels) or "annotation",
            "pid": integer(row["pid"], 0, LARGEST_ID),
        }
        yield about | {"ts_ns": begin_ns, "edge": PhaseEdge.BEGIN.value}
        yield about | {
            "ts_ns": end_ns,
            "edge": PhaseEdge.END.value,
            "detail": json.dumps(labels) if labels else None,
        }


def foreign_diagnoses(file: IngeroFile) -> Iterator[Row]:
    """Yield what the recorder itself blamed: a claim that is kept apart from what is measured."""
    for row in file.picked("causal_chains", ("detected_at", "severity", "summary", "node")):
        ts_ns = integer(row["detected_at"], EARLIEST_NS, LATEST_NS)
        summary = clean(row["summary"])
        if ts_ns is not None and summary is not None:
            message = f"Ingero's own diagnosis, not checked: {summary}"
            yield event(
                ts_ns, EventKind.FOREIGN_DIAGNOSIS, message, new_value=clean(row["severity"])
            )


def thread_names(file: IngeroFile) -> dict[int, str]:
    """Return the name of each thread and process: the file keeps both under "pid"."""
    return {
        tid: name
        for row in file.picked("process_names", ("pid", "name"))
        if (tid := integer(row["pid"], 0, LARGEST_ID)) is not None
        and (name := clean(row["name"], 64)) is not None
    }


def control_groups(file: IngeroFile) -> dict[int, Row]:
    """Return the columns of ``threads`` that a control group fills, by its id."""
    ours = {
        "container_id": "container_id",
        "cgroup_path": "cgroup_path",
        "pod_name": "pod_name",
        "namespace": "pod_namespace",
    }
    return {
        row["cgroup_id"]: {mine: clean(row[theirs]) for theirs, mine in ours.items()}
        for row in file.picked("cgroup_metadata", ("cgroup_id", *ours))
        if isinstance(row["cgroup_id"], int)
    }


def recorder_version(known: list[Session]) -> tuple[int, int]:
    """Return the version of the recorder, (0, 0) where it is a build without one."""
    numbers = [re.match(r"v?(\d{1,4})\.(\d{1,4})", one.recorder_version) for one in known]
    if not numbers:
        return 0, 0
    return min((int(n[1]), int(n[2])) if n is not None else (0, 0) for n in numbers)


def _frame(frame: Mapping[str, Any]) -> Row:
    is_python = "pf" in frame or "pfn" in frame
    return {
        "kind": "python" if is_python else "native",
        "symbol": clean(frame.get("pfn" if is_python else "s"), 4096),
        "module": clean(frame.get("f")),
        "file": clean(frame.get("pf")),
        "line": integer(frame.get("pl" if is_python else "l"), 1, LARGEST_32),
        "address": _address(frame.get("i")),
    }


def _address(text: object) -> int | None:
    """Return an address of hexadecimal digits, its 64 bits read as a signed number."""
    if not isinstance(text, str) or not re.fullmatch(r"(0x)?[0-9a-fA-F]{1,16}", text):
        return None
    value = int(text, 16)
    return value if value < 1 << 63 else value - (1 << 64)


def _json(text: object) -> list[Any]:
    try:
        value = json.loads(text) if isinstance(text, str) and text else []
    except (ValueError, RecursionError):
        return []
    return value if isinstance(value, list) else []


def _labels(text: object) -> dict[str, str]:
    try:
        value = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    items = value.items() if isinstance(value, dict) else ()
    return {clean(k) or "": clean(str(v)) or "" for k, v in items}


def _joined(labels: Mapping[str, str]) -> str | None:
    return clean(", ".join(f"{key}={value}" for key, value in labels.items()), 200)


def _fact(value: object) -> object:
    return clean(value) if isinstance(value, str) else integer(value, 1)


def _real(value: object, most: float) -> float | None:
    return float(value) if isinstance(value, int | float) and 0 <= value <= most else None
