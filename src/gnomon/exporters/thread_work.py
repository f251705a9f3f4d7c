"""What threads did, on their tracks: calls and collectives, times off the CPU, their own words."""

from __future__ import annotations

from collections import Counter

from gnomon.enums import Selection
from gnomon.exporters.launches import Launches
from gnomon.exporters.places import Places
from gnomon.exporters.rows import BEGAN, PROCESS, PROCESS_OF_HOST, Chosen, Row, by_begin, known
from gnomon.recording.base import Session

INSIDE = ("off_cpu_ns", "run_queue_ns", "io_ns", "voluntary_ns")
SAMPLED = ("selection", "weight")
CALL_ARGS = (
    "layer",
    "parent_operation",
    "bytes",
    "direction",
    "address",
    "stream",
    "return_code",
    "first_call",
    "gpu_uuid",
    *INSIDE,
)
COLLECTIVE_ARGS = (
    "communicator",
    "sequence",
    "rank",
    "world_size",
    "bytes",
    "datatype",
    "peer_rank",
    "stream",
    "return_code",
    *INSIDE,
)
STAY_ARGS = (
    "state",
    "operation",
    "run_queue_ns",
    "io_ns",
    "voluntary_ns",
    "waker_name",
    "waker_pid",
    "waker_tid",
    "preemptor_name",
    "preemptor_tid",
)
# The largest part of a stay names it, in the words of `gnomon timeline`.
CLASSES = {"run_queue_ns": "CPU queue", "io_ns": "disk", "voluntary_ns": "sleep or lock"}

THREAD = f"{BEGAN}, {PROCESS_OF_HOST}, host, pid, tid"
_CALL_COLUMNS = ", ".join((*CALL_ARGS, *SAMPLED))
_COLLECTIVE_COLUMNS = ", ".join((*COLLECTIVE_ARGS, *SAMPLED))
# A collective has calls inside of it, and none of them around it.
CALLS_SQL = f"""\
SELECT 'host_calls' AS kind, {THREAD}, coalesce(depth, 0) AS depth, operation, {_CALL_COLUMNS}
FROM host_calls WHERE {{where}}
UNION ALL BY NAME
SELECT 'nccl_calls' AS kind, {THREAD}, -1 AS depth, operation, {_COLLECTIVE_COLUMNS}
FROM nccl_calls WHERE {{where}}"""
STAYS_SQL = f"""\
SELECT {THREAD}, 0 AS depth, {", ".join((*STAY_ARGS, *SAMPLED))} FROM off_cpu WHERE {{where}}"""
RANGES_SQL = f"""\
SELECT {BEGAN}, {PROCESS}, pid, tid, coalesce(depth, 0) AS depth, duration_ns, name, domain, source
FROM ranges WHERE {{where}}"""
WINDOWS_SQL = f"""\
SELECT {BEGAN}, {PROCESS}, pid, 0 AS depth, source, records, dropped, overhead_ns, opening_ns,
  closing_ns
FROM kernel_windows WHERE {{where}}"""
WINDOW_ARGS = ("source", "records", "dropped", "overhead_ns", "opening_ns", "closing_ns")


def write(
    session: Session, places: Places, chosen: Chosen, launches: Launches, written: Counter[str]
) -> None:
    """Write what threads did, and count it by its table; ``sampled``: rows that stand for more."""
    _write_calls(session, places, chosen, launches, written)
    for row in by_begin(session, STAYS_SQL.format(where=chosen.condition), chosen.span):
        args = known(row, STAY_ARGS) | _sampled(row, written)
        places.beside(row, "off the CPU").add(row["begin_ns"], row["end_ns"], _class(row), args)
        written["off_cpu"] += 1
    for row in by_begin(session, RANGES_SQL.format(where=chosen.condition), chosen.span):
        nest = places.beside(row, "ranges")
        name, args = row["name"] or "range", known(row, ("domain", "source"))
        if row["duration_ns"] == 0:
            nest.mark(row["begin_ns"], name, args)
        else:
            nest.add(row["begin_ns"], row["end_ns"], name, args)
        written["ranges"] += 1
    for row in by_begin(session, WINDOWS_SQL.format(where=chosen.condition), chosen.span):
        nest = places.of_process(row, "kernels were recorded")
        nest.add(row["begin_ns"], row["end_ns"], "window", known(row, WINDOW_ARGS))
        written["kernel_windows"] += 1


def _write_calls(
    session: Session, places: Places, chosen: Chosen, launches: Launches, written: Counter[str]
) -> None:
    select = CALLS_SQL.format(where=chosen.call_condition)
    for row in by_begin(session, select, chosen.span, launches.of_calls):
        names = CALL_ARGS if row["kind"] == "host_calls" else COLLECTIVE_ARGS
        places.thread(row).add(
            row["begin_ns"],
            row["end_ns"],
            row["operation"] or "call",
            known(row, names) | _sampled(row, written),
            starts_flows=row["starts_flows"] or (),
        )
        written[row["kind"]] += 1


def _sampled(row: Row, written: Counter[str]) -> dict[str, float | str]:
    """Return how a row was chosen, where not all rows like it were kept."""
    if row["selection"] in (None, Selection.ALL):
        return {}
    written["sampled"] += row["weight"] not in (None, 1)
    return known(row, SAMPLED)


def _class(row: Row) -> str:
    parts = {name: row[name] or 0 for name in CLASSES}
    largest = max(parts, key=lambda name: parts[name])
    return CLASSES[largest] if parts[largest] else "off the CPU"
