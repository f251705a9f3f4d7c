"""The process that runs one query (``python -m gnomon.mcp.sql_child``): a task on stdin, JSON out.

Its limits are set before anything of the query is looked at. DuckDB's own lock-down is in
``recording/_sql.py``; these hold where that had a hole.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from gnomon._errors import RecordingError
from gnomon.mcp.reply import cut, dumps, said, visible

MOST_COLUMNS = 200
# Libraries start a thread a CPU of the machine, and each maps a stack and heap before it works.
MAPPED_PER_CPU_BYTES = 16 << 20


def main() -> None:
    """Read a task, write its result or ``{"error": ...}``."""
    task = json.load(sys.stdin)
    confine(task)
    try:
        found = _run(task)
    except RecordingError as error:
        found = {"error": str(error)}
    except MemoryError:
        found = {"error": "the query needs more memory than it may use; aggregate, or ask for less"}
    sys.stdout.write(dumps(found))
    sys.stdout.flush()
    # The database's threads, or what they hold, are not waited for.
    os._exit(0)


def confine(task: dict[str, Any]) -> None:
    """Limit address space, time and cores; no file can grow, and no core is dumped."""
    cpus = sorted(os.sched_getaffinity(0))[: task["most_cpus"]]
    os.sched_setaffinity(0, cpus)
    os.nice(10)
    signal.alarm(math.ceil(task["most_timeout_s"] + task["start_s"]))
    cpu_s = math.ceil(task["most_timeout_s"] * len(cpus)) + 10
    for name, most in (
        (resource.RLIMIT_AS, task["mapped_bytes"] + (os.cpu_count() or 1) * MAPPED_PER_CPU_BYTES),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(name, (most, most))


def _run(task: dict[str, Any]) -> dict[str, Any]:
    from gnomon.recording._sql import SqlLimits  # noqa: PLC0415
    from gnomon.recording.reader import Recording  # noqa: PLC0415

    recording = Recording.open(Path(task["directory"]))
    limits = SqlLimits(task["most_rows"], task["most_timeout_s"], task["most_memory_bytes"])
    table = recording.sql(task["query"], limits)
    if table.num_columns > MOST_COLUMNS:
        raise RecordingError(
            f"the query has {table.num_columns} columns, at most {MOST_COLUMNS} are returned"
        )
    columns = [
        {"name": cut(visible(field.name)), "type": cut(visible(str(field.type)))}
        for field in table.schema
    ]
    return {
        "columns": columns,
        "rows": _rows(table.slice(0, task["rows"]), task["most_bytes"]),
        "total": table.num_rows,
        "skipped_files": [said(f"{one.path}: {one.reason}") for one in recording.skipped()],
    }


def _rows(table: Any, most_bytes: int) -> list[list[Any]]:
    """Return rows as lists of cells, until they are as long as an answer may be."""
    rows: list[list[Any]] = []
    for batch in table.to_batches(max_chunksize=100):
        for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            rows.append([_cell(value) for value in cells])
            most_bytes -= len(dumps(rows[-1]).encode())
            if most_bytes < 0:
                return rows
    return rows


def _cell(value: Any) -> Any:
    """Numbers, times and null as they are; anything else may hold words of an observed program."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dt.date | dt.time | dt.timedelta | decimal.Decimal):
        return str(value)
    return said(value)


if __name__ == "__main__":
    main()
