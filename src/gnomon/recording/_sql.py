"""One SELECT over the tables of a recording, and nothing else.

The relations are handed over as Arrow objects; then DuckDB's access to files, network and
extensions is switched off and its configuration locked, so that no statement can reach beyond
them. What is left to bound is time and rows.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Self, TypeVar

from gnomon._errors import RecordingError
from gnomon.recording.base import Arrays

LOCKDOWN = (
    "SET temp_directory = ''",
    "SET python_enable_replacements = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


Answer = TypeVar("Answer")

# Rows that come from the database at a time, where they become arrays.
ARRAY_ROWS = 500_000

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
    with SqlSession(relations, limits) as session:
        return session.select(query)


class SqlSession:
    """A database over relations that is asked one SELECT after the other, and closed at the end.

    Raises RecordingError for what is wrong with a query, RelationError for a relation.
    """

    def __init__(
        self,
        relations: Mapping[str, Any],
        limits: SqlLimits,
        views: Mapping[str, str] = MappingProxyType({}),
        files: Sequence[str] = (),
        repaired: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        """``views``: name -> SELECT over relations and ``files``, which alone may be opened.

        ``repaired`` is asked for other ones, once, when the database could not read them.
        """
        import duckdb  # noqa: PLC0415  60 ms that only a query should pay

        self._limits = limits
        self._repaired = repaired if files else None
        self._kept: dict[str, str] = {}
        self._db = duckdb.connect(config={"memory_limit": f"{limits.memory_bytes // 1_000_000}MB"})
        for name, relation in relations.items():
            self._db.register(name, relation)
        if files:
            self._db.execute("SET parquet_metadata_cache = true")
            self._db.execute("SET allowed_paths = ?", [list(files)])
        try:
            self._look_through(views)
            for statement in LOCKDOWN:
                self._db.execute(statement)
        except (duckdb.Error, RecordingError):
            self._db.close()
            raise

    def _look_through(self, views: Mapping[str, str]) -> None:
        for name, query in views.items():
            self._in_time(partial(self._db.execute, f"CREATE OR REPLACE VIEW {name} AS {query}"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of one SELECT, column name -> value. Raises RecordingError alone.

        A sum of integers, which is wider than 64 bits in the database, comes as an int, too.
        """
        try:
            found = self.select(query)
        except RelationError as error:
            raise _gone(error) from error
        return _plain(found)

    def arrays(self, query: str, numbered: Collection[str] = ()) -> Arrays:
        """Return the columns of one SELECT as numpy arrays, of any number of rows.

        Columns are numbers without nulls; see ``Session.arrays``. Raises RecordingError alone.
        """
        statement = self._short(self._only_select(query))
        try:
            return self._in_time(lambda: _arrays(self._db, statement, numbered))
        except RelationError as error:
            raise _gone(error) from error

    def select(self, query: str) -> Any:
        """Return the rows of one SELECT as a ``pyarrow.Table``."""
        statement = self._short(self._only_select(query))
        result = self._in_time(
            lambda: self._db.sql(statement).limit(self._limits.rows + 1).to_arrow_table()
        )
        if result.num_rows > self._limits.rows:
            raise RecordingError(
                f"the query returns more than {self._limits.rows} rows; aggregate, or add a LIMIT"
            )
        return result

    def keep(self, query: str, parts: Mapping[str, str] = MappingProxyType({})) -> None:
        """Compute a SELECT once for queries after it that contain it, in parentheses.

        ``parts``: other SELECTs -> how each follows from the table ``{kept}``. Where it cannot be
        kept (there is not enough memory), queries compute it themselves.
        """
        if query in self._kept:
            return
        statement = self._short(self._only_select(query))
        name = f"kept_{len(self._kept)}"
        create = f"CREATE TEMP TABLE {name} AS SELECT * FROM ({statement})"  # noqa: S608  checked
        try:
            self._in_time(lambda: self._db.execute(create).fetchall())
        except (RecordingError, RelationError):
            return
        self._kept[query] = f"SELECT * FROM {name}"  # noqa: S608  a name of ours
        self._kept |= {part: text.format(kept=name) for part, text in parts.items()}

    def _short(self, query: str) -> str:
        """Return a query that reads what is kept instead of computing it; the longest first."""
        for known in sorted(self._kept, key=len, reverse=True):
            query = query.replace(f"({known})", f"({self._kept[known]})")
        return query

    def _only_select(self, query: str) -> str:
        import duckdb  # noqa: PLC0415

        try:
            statements = self._db.extract_statements(query)
        except duckdb.Error as error:
            raise RecordingError(f"cannot read the query: {error}") from None
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise RecordingError("a query is exactly one SELECT")
        return str(statements[0].query)

    def _in_time(self, work: Callable[[], Answer]) -> Answer:
        """Let the database work, no longer than is allowed."""
        import duckdb  # noqa: PLC0415

        late = threading.Event()
        timer = threading.Timer(self._limits.timeout_s, _interrupt, (self._db, late))
        timer.start()
        try:
            return work()
        except duckdb.Error as error:
            if late.is_set():
                raise RecordingError(
                    f"the query took longer than {self._limits.timeout_s:g} s and was stopped"
                ) from None
            if RELATION_FAILED in str(error):
                raise RelationError(str(error)) from None
            wrong_query = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)
            if self._repaired is None or isinstance(error, wrong_query):
                raise RecordingError(f"cannot run the query: {error}") from None
        finally:
            timer.cancel()
        repaired, self._repaired = self._repaired, None
        self._look_through(repaired())
        return self._in_time(work)


def _gone(error: RelationError) -> RecordingError:
    return RecordingError(
        f"a file of the recording went or broke while it was read; try again ({error})"
    )


def _arrays(db: Any, statement: str, numbered: Collection[str]) -> Arrays:
    """Return the columns of a query; of what the database hands over, one piece is held."""
    import duckdb  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415

    relation = db.sql(statement)
    ((rows,),) = relation.count("*").fetchall()
    reader = relation.to_arrow_reader(ARRAY_ROWS)
    numbers: dict[str, dict[Any, int]] = {name: {} for name in numbered}
    columns = {
        each.name: np.empty(rows, np.int32 if each.name in numbers else each.type.to_pandas_dtype())
        for each in reader.schema
    }
    done = 0
    try:
        for batch in reader:
            part = slice(done, done + batch.num_rows)
            for name, column in zip(columns, batch.columns, strict=True):
                found = _numbered(column, numbers[name]) if name in numbers else column
                columns[name][part] = found.to_numpy(zero_copy_only=False)
            done += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        # What the database cannot read comes through Arrow's stream as an error of Arrow's.
        raise duckdb.IOException(str(error)) from error
    return Arrays(columns, {name: list(known) for name, known in numbers.items()})


def _numbered(column: Any, numbers: dict[Any, int]) -> Any:
    """Return the number of each value; new values get the next ones."""
    import pyarrow as pa  # noqa: PLC0415

    encoded = column.dictionary_encode()
    values = encoded.dictionary.to_pylist()
    of_code = pa.array([numbers.setdefault(value, len(numbers)) for value in values], pa.int32())
    return of_code.take(encoded.indices)


def _plain(table: Any) -> list[dict[str, Any]]:
    """Return rows with numbers as JSON has them."""
    import pyarrow as pa  # noqa: PLC0415

    rows: list[dict[str, Any]] = table.to_pylist()
    for field in table.schema:
        if pa.types.is_decimal(field.type):
            of_number = int if field.type.scale == 0 else float
            for row in rows:
                value = row[field.name]
                row[field.name] = None if value is None else of_number(value)
    return rows


def _interrupt(db: Any, late: threading.Event) -> None:
    late.set()
    # The query may have ended, and its connection with it, in this very moment.
    with contextlib.suppress(Exception):
        db.interrupt()
