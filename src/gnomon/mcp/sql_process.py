"""A query in a process of its own: what it does to memory and CPU ends with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gnomon._errors import RecordingError
from gnomon.mcp.reply import MARK, MOST_BYTES, cut, dumps, visible

LONGEST_MESSAGE = 1000
# Python, Arrow and DuckDB map 0.7 GB before a query begins, most of which they never touch.
MAPPED_AT_START_BYTES = 1 << 30
# Imports and the footers of a large recording, before the query's own time begins.
START_S = 30.0
# Whatever else is in our environment (tokens, credentials) is no business of a query.
KEPT_VARIABLES = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
# Each thread's arena, and a pool, would be mapped in advance and count as memory in use.
SMALL = {
    "MALLOC_ARENA_MAX": "2",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "OPENBLAS_NUM_THREADS": "1",
}

# One at a time: several would take several times the memory.
_turn = threading.Lock()


@dataclass(frozen=True, slots=True)
class Bounds:
    """``rows`` bound what a query may yield; what is shown of it is bounded by the caller."""

    timeout_s: float = 20.0
    memory_bytes: int = 1 << 30
    rows: int = 100_000
    cpus: int = 4


def run(directory: Path, query: str, rows: int, bounds: Bounds | None = None) -> dict[str, Any]:
    """Run one SELECT; returns columns, the first ``rows`` rows, total and skipped_files.

    Raises RecordingError for what is wrong with the query, or where it went beyond its bounds.
    """
    bounds = bounds or Bounds()
    task = {
        "directory": str(directory.resolve()),
        "query": query,
        "rows": rows,
        "most_bytes": MOST_BYTES,
        "mapped_bytes": bounds.memory_bytes * 2 + MAPPED_AT_START_BYTES,
        "start_s": START_S,
        **{f"most_{name}": value for name, value in asdict(bounds).items()},
    }
    if not _turn.acquire(timeout=bounds.timeout_s + START_S):
        raise RecordingError("other queries are still running; try again")
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "gnomon.mcp.sql_child"],
            input=json.dumps(task).encode(),
            stdout=subprocess.PIPE,
            env=_environment(),
            timeout=bounds.timeout_s + START_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RecordingError(
            f"the query took longer than {bounds.timeout_s:g} s and was stopped"
        ) from None
    finally:
        _turn.release()
    return _result(done, bounds)


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ} | SMALL


def _result(done: subprocess.CompletedProcess[bytes], bounds: Bounds) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise RecordingError(
            f"the query's process ended ({_how(done.returncode)}): it needed more than "
            f"{bounds.memory_bytes >> 20} MiB, or too much time; aggregate, or ask for less"
        ) from None
    if "error" in found:
        # DuckDB quotes values in its messages, and those may come from anywhere.
        message = {MARK: cut(visible(found["error"]), LONGEST_MESSAGE)}
        raise RecordingError(f"the query failed; the database's words: {dumps(message)}")
    return found


def _how(returncode: int) -> str:
    if returncode >= 0:
        return f"status {returncode}"
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"
