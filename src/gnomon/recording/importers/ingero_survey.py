"""What must be known of a whole Ingero file before its first row can be told right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gnomon._errors import RecordingError
from gnomon.recording.importers.foreign_values import LONGEST_NS, clean
from gnomon.recording.importers.ingero_codes import (
    BLOCK,
    CUDA,
    DRIVER,
    GRAPH,
    HOST,
    NETWORK,
    SCHED_SWITCH_SUMMARY,
)
from gnomon.recording.importers.ingero_file import IS_READABLE, IngeroFile
from gnomon.recording.importers.ingero_rows import Session, control_groups, sessions

# All rows are kept for the first 10 s of a session. It begins a moment before the session's row
# is written, hence the second that is given away at the end and the margin at the start.
COMPLETE_NS = 9_000_000_000
MARGIN_NS = 5_000_000_000
MOST_SESSIONS = 256
MOST_HOSTS = 4096


@dataclass(frozen=True, slots=True)
class ThreadSurvey:
    """What the whole file says of a thread.

    ``pid`` is None where the file does not tell the process. ``longest_stay_ns``: off the CPU,
    None where the scheduler was never recorded for this thread.
    ``is_followed``: its stays were kept from beginning to end, as they are of the main thread of
    a program that uses CUDA: the recorder takes ids of threads for ids of processes.
    """

    pid: int | None
    is_followed: bool
    longest_stay_ns: int | None


@dataclass(frozen=True, slots=True)
class Survey:
    """``pruned`` rows were once in the file, ``unreadable`` ones are but make no sense.

    ``complete`` are the spans (from, to) in Unix ns in which the recorder kept every row.
    ``summarised`` are (host, tid) whose stays off the CPU were partly only counted.
    """

    format_version: str
    first_ns: int
    last_ns: int
    readable: int
    unreadable: int
    pruned: int
    pruned_hosts: frozenset[str]
    sessions: list[Session]
    complete: tuple[tuple[int, int], ...]
    threads: Mapping[tuple[str, int], ThreadSurvey]
    summarised: frozenset[tuple[str, int]]
    control_groups: Mapping[int, Mapping[str, object]]
    missing: Mapping[str, str]

    def is_complete_at(self, ts_ns: int) -> bool:
        return any(begin_ns <= ts_ns <= end_ns for begin_ns, end_ns in self.complete)


def survey(file: IngeroFile) -> Survey:
    """Look a file over. Raises RecordingError where it holds nothing to import."""
    readable, first_ns, last_ns = file.one(
        f"SELECT count(*), min(timestamp), max(timestamp) FROM events WHERE {IS_READABLE}"  # noqa: S608
    )
    (every,) = file.one("SELECT count(*) FROM events")
    if not readable:
        what = f"none of its {every:,} events makes sense" if every else "it holds no events"
        raise RecordingError(f"{file.path}: nothing could be imported: {what}")
    if last_ns - first_ns > LONGEST_NS:
        days = (last_ns - first_ns) // 86_400_000_000_000
        raise RecordingError(f"{file.path}: its events lie {days:,} days apart: no one recording")
    known = sessions(file)[:MOST_SESSIONS]
    complete = tuple((s.started_ns - MARGIN_NS, s.started_ns + COMPLETE_NS) for s in known)
    pruned = _pruned(file)
    return Survey(
        _format_version(file),
        first_ns,
        last_ns,
        readable,
        every - readable,
        sum(pruned.values()),
        frozenset(host for host, count in pruned.items() if count),
        known,
        complete,
        _threads(file),
        _summarised(file),
        control_groups(file),
        _missing(file),
    )


def _format_version(file: IngeroFile) -> str:
    for row in file.picked("schema_info", ("key", "value")):
        if row["key"] == "version" and (named := clean(row["value"], 40)) is not None:
            return named
    return "unknown"


def _pruned(file: IngeroFile) -> dict[str, int]:
    """Return by host how many rows have gone, as their numbers show: they begin at 1.

    The number is the id, or in ids like "host:number" what follows the host.
    """
    if "id" not in file.columns("events"):
        return {}
    node = file.node_column()
    number = f"CASE typeof(id) WHEN 'integer' THEN id ELSE substr(id, length({node}) + 2) END"
    counted = file.rows(
        f"SELECT {node}, max(CAST({number} AS INTEGER)), count(*) FROM events "  # noqa: S608
        f"GROUP BY 1 LIMIT {MOST_HOSTS + 1}"
    )
    found = {host: max(0, (highest or 0) - count) for host, highest, count in counted}
    if len(found) > MOST_HOSTS:
        raise RecordingError(f"{file.path}: more than {MOST_HOSTS:,} hosts in one file")
    # A number beyond any recorder's reach is damage, not a loss to report.
    return {host: count if count < 1 << 40 else 0 for host, count in found.items()}


def _threads(file: IngeroFile) -> dict[tuple[str, int], ThreadSurvey]:
    """Look over each thread's rows.

    Rows of the scheduler hold a thread's id in both columns. Its process comes from its other
    rows, or is the id itself where those of others name it as a process.
    """
    is_cuda = f"source IN ({CUDA}, {DRIVER}, {GRAPH})"
    knows_pid = f"({is_cuda} OR source IN ({BLOCK}, {NETWORK}) OR source = {HOST} AND op = 2)"
    is_stay = f"(source = {HOST} AND op = 1)"
    rows = file.rows(
        f"SELECT {file.node_column()}, tid, "  # noqa: S608  numbers and names are ours
        f"min(CASE WHEN {knows_pid} THEN pid END), max(CASE WHEN {knows_pid} THEN pid END), "
        f"max({is_cuda}), max(CASE WHEN {is_stay} THEN duration END) "
        f"FROM events WHERE {IS_READABLE} GROUP BY 1, 2"
    )
    seen: dict[tuple[str, int], tuple[int | None, int | None]] = {}
    uses_cuda: dict[tuple[str, int], bool] = {}
    for host, tid, pid, other_pid, is_caller, longest_ns in rows:
        own = pid if pid == other_pid else None
        seen[host, tid] = own, longest_ns
        if own is not None:
            uses_cuda[host, own] = uses_cuda.get((host, own), False) or bool(is_caller)
    return {
        key: ThreadSurvey(
            key[1] if pid is None and key in uses_cuda else pid,
            pid in (None, key[1]) and uses_cuda.get(key, False),
            longest_ns,
        )
        for key, (pid, longest_ns) in seen.items()
    }


def _summarised(file: IngeroFile) -> frozenset[tuple[str, int]]:
    source, op = SCHED_SWITCH_SUMMARY
    rows = file.rows(
        f"SELECT DISTINCT {file.node_column()}, pid FROM events "  # noqa: S608
        f"WHERE source = {source} AND op = {op} AND {IS_READABLE}"
    )
    return frozenset((host, tid) for host, tid in rows)


def _missing(file: IngeroFile) -> dict[str, str]:
    """Return what this file in particular lacks, by metric."""
    found = {}
    (allocations,) = file.one(
        f"SELECT count(*) FROM events WHERE source = {CUDA} AND op IN (1, 2)"  # noqa: S608
    )
    if not allocations:
        found["host_calls.cudaMalloc"] = (
            "no cudaMalloc or cudaFree is in this file; from version 0.9 on the recorder leaves "
            "them out unless a watchdog asks for them"
        )
    if "rank" not in file.columns("events"):
        found["host_calls.rank"] = "this version of the format holds no ranks"
    if not file.columns("event_aggregates"):
        found["call_histograms"] = "this file holds no aggregates"
    return found
