"""One SELECT over the tables of a recording, and nothing else.

The relations are handed over as Arrow objects; then DuckDB's access to files, network and
extensions is switched off and its configuration locked, so that no statement can reach beyond
them. What is left to bound is time and rows.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gnomon._errors import RecordingError

LOCKDOWN = (
    "SET temp_directory = ''",
    "SET python_enable_replacements = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


# How DuckDB begins the message of an error that a relation raised, not the query.
RELATION_FAILED = "reading the stream registered as"


class RelationError(Exception):
    """A relation could not be read: the files behind it are gone or damaged."""


@dataclass(frozen=True, slots=True)
class SqlLimits:
    """``memory_bytes`` and ``timeout_s`` bound the work, ``rows`` what comes back."""

    rows: int = 1_000_000
    timeout_s: float = 60.0
    memory_bytes: int = 2 << 30


def run_select(query: str, relations: Mapping[str, Any], limits: SqlLimits) -> Any:
    """Run one SELECT and return a ``pyarrow.Table``.

    Raises RecordingError for what is wrong with the query, RelationError for a relation.
    """
    import duckdb  # noqa: PLC0415  60 ms that only a query should pay

    with duckdb.connect(config={"memory_limit": f"{limits.memory_bytes // 1_000_000}MB"}) as db:
        for name, relation in relations.items():
            db.register(name, relation)
        for statement in LOCKDOWN:
            db.execute(statement)
        statement = _only_select(duckdb, db, query)
        late = threading.Event()
        timer = threading.Timer(limits.timeout_s, _interrupt, (db, late))
        timer.start()
        try:
            result = db.sql(statement).limit(limits.rows + 1).to_arrow_table()
        except duckdb.Error as error:
            if late.is_set():
                raise RecordingError(
                    f"the query took longer than {limits.timeout_s:g} s and was stopped"
                ) from None
            if RELATION_FAILED in str(error):
                raise RelationError(str(error)) from None
            raise RecordingError(f"cannot run the query: {error}") from None
        finally:
            timer.cancel()
    if result.num_rows > limits.rows:
        raise RecordingError(
            f"the query returns more than {limits.rows} rows; aggregate, or add a LIMIT"
        )
    return result


def _only_select(duckdb: Any, db: Any, query: str) -> str:
    try:
        statements = db.extract_statements(query)
    except duckdb.Error as error:
        raise RecordingError(f"cannot read the query: {error}") from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise RecordingError("a query is exactly one SELECT")
    return str(statements[0].query)


def _interrupt(db: Any, late: threading.Event) -> None:
    late.set()
    # The query may have ended, and its connection with it, in this very moment.
    with contextlib.suppress(Exception):
        db.interrupt()
