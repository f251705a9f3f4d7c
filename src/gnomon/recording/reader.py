"""Reads a recording, finished or being written, whole or damaged."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from gnomon import tables
from gnomon._errors import RecordingError
from gnomon.recording import _meta_files, layout
from gnomon.recording._arrow_stream import first_line
from gnomon.recording._cleaned import CleanedSegment, cleaned, weighed
from gnomon.recording._closed import ClosedSegment, dataset
from gnomon.recording._conform import conform
from gnomon.recording._sql import RelationError, SqlLimits, SqlSession, run_select
from gnomon.recording._tail import Tail
from gnomon.recording._validity import told
from gnomon.recording._views import Stored, session_over
from gnomon.recording.base import Meta, SkippedSegment
from gnomon.recording.times import ordered

# A segment can vanish between listing and opening: it has become Parquet, or retention took it.
ATTEMPTS = 5
# Tables that say when a recording begins and ends, all of a line together; the best lines first.
BOUNDING_TABLES = (
    (
        *("gpu_counters", "host_calls", "off_cpu", "nccl_calls"),
        *("kernel_windows", "kernels", "copies", "pm_samples"),
    ),
    ("host_samples", "process_samples"),
    ("events",),
    ("phases",),
)

Answer = TypeVar("Answer")


class Recording:
    """A recording directory. Every method looks at the disk again: it may be live.

    May be used from several threads at once. What is kept between calls is small: the footers of
    closed segments and the index of open ones, no rows.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        self._closed: dict[layout.Segment, ClosedSegment] = {}
        self._tails: dict[layout.Segment, Tail] = {}
        self._damaged: dict[Path, str] = {}

    @classmethod
    def open(cls, path: Path) -> Recording:
        """Open a directory. Raises RecordingError where it holds no recording, or a newer one."""
        recording = cls(path)
        if not recording.path.is_dir():
            raise RecordingError(f"no recording at {path}: not a directory")
        try:
            names = {entry.name for entry in recording.path.iterdir()}
        except OSError as error:
            raise RecordingError(f"cannot read {path}: {error.strerror}") from error
        if not names & {layout.META, *tables.TABLES}:
            raise RecordingError(
                f"no recording in {path}: none of the tables is there; "
                f"`gnomon record -o {path}` makes one"
            )
        recording.meta()
        return recording

    def meta(self) -> Meta:
        """Return the meta of all writers as one. Raises RecordingError for a newer schema."""
        with self._lock:
            meta_files = self.path / layout.META
            self._damaged = {p: why for p, why in self._damaged.items() if p.parent != meta_files}
            return _meta_files.merged(self.path, self._damaged)

    def skipped(self) -> Sequence[SkippedSegment]:
        """Return what is not read of what was seen so far, by name and with the reason."""
        with self._lock:
            segments = [*self._closed.values(), *self._tails.values()]
            found = list(self._damaged.items())
            found += [(one.path, one.torn) for one in self._tails.values() if one.torn]
            found += [
                (one.path, told(one.set_aside))
                for one in segments
                if isinstance(one, CleanedSegment | Tail) and one.set_aside
            ]
        return [
            SkippedSegment(str(path.relative_to(self.path)), reason)
            for path, reason in sorted(found)
        ]

    def bounds(self) -> tuple[int, int] | None:
        """Return the first interval's start and the last one's end, Unix ns.

        Of what was measured of GPUs and threads, where anything was; see ``BOUNDING_TABLES``.
        """
        for names in BOUNDING_TABLES:
            asked = (self._ask([table], partial(self._bounds, table)) for table in names)
            found = [bounds for bounds in asked if bounds is not None]
            if found:
                return min(begin for begin, _ in found), max(end for _, end in found)
        return None

    def read(
        self,
        table: str,
        *,
        from_ns: int | None = None,
        to_ns: int | None = None,
        columns: Sequence[str] | None = None,
        encoded: bool = False,
    ) -> Any:
        """Return the rows of a table with from_ns < ts_ns <= to_ns; see ``Measurements.read``."""
        schema = tables.arrow_schema(table, encoded=encoded)
        wanted = list(columns) if columns is not None else schema.names
        part = tables.pick(schema, dict.fromkeys(["ts_ns", *wanted]))
        found = self._ask([table], lambda: self._rows(table, from_ns, to_ns, part))
        return ordered(found).select(wanted)

    def pieces(
        self,
        table: str,
        *,
        from_ns: int | None = None,
        to_ns: int | None = None,
        columns: Sequence[str],
    ) -> Sequence[Any]:
        """Return the rows of a table by the columns that hold values; see ``Measurements``."""
        import pyarrow as pa  # noqa: PLC0415

        schema = tables.arrow_schema(table, encoded=True)
        part = tables.pick(schema, dict.fromkeys(["ts_ns", *columns]))
        kinds: dict[tuple[str, ...], list[Any]] = {}
        for one in self._ask([table], lambda: self._pieces(table, from_ns, to_ns, part)):
            if one.num_rows:
                kinds.setdefault(tuple(one.column_names), []).append(one)
        return [
            ordered(conform(pa.concat_tables(ones), part)).select(columns)
            for ones in kinds.values()
        ]

    def cuts(self, table: str, from_ns: int, to_ns: int) -> Sequence[int]:
        """Return where closed segments end; see ``Measurements.cuts``."""
        closed, _ = self._ask([table], lambda: self._segments(table, from_ns, to_ns))
        return sorted({one.last_ns for one in closed if from_ns < one.last_ns < to_ns})

    def sql(self, query: str, limits: SqlLimits | None = None) -> Any:
        """Run one SELECT over all tables and return a ``pyarrow.Table``.

        Raises RecordingError for anything but one SELECT, and beyond the limits.
        """

        def select() -> Any:
            return run_select(query, self.relations(), limits or SqlLimits())

        return self._ask(tables.TABLES, select)

    def relations(self) -> dict[str, Any]:
        """Return table -> ``pyarrow.dataset.Dataset`` of all its rows; closed ones are not read."""
        return self._ask(
            tables.TABLES, lambda: {table: self._relation(table) for table in tables.TABLES}
        )

    def stored(self) -> dict[str, Stored]:
        """Return table -> where its rows are; no closed segment is read."""
        return self._ask(
            tables.TABLES, lambda: {table: self._stored(table) for table in tables.TABLES}
        )

    def session(self) -> SqlSession:
        """Return what can be asked in SQL, over the rows that are recorded now."""
        return session_over([(self.stored(), None)], SqlLimits(), self.damaged)

    def damaged(self) -> Collection[Path]:
        """Read everything, and return the files that cannot be read; see ``skipped``."""
        self._set_damaged_aside(tables.TABLES)
        with self._lock:
            return {path.absolute() for path in self._damaged}

    def _rows(self, table: str, from_ns: int | None, to_ns: int | None, schema: Any) -> Any:
        import pyarrow as pa  # noqa: PLC0415

        parts = self._pieces(table, from_ns, to_ns, schema)
        return pa.concat_tables([conform(one, schema) for one in parts] or [schema.empty_table()])

    def _pieces(self, table: str, from_ns: int | None, to_ns: int | None, schema: Any) -> list[Any]:
        """Return the rows of each segment, without columns that hold no value."""
        closed, opened = self._segments(table, from_ns, to_ns)
        # Open ones first: they become Parquet at any moment.
        last = [_tail_rows(tail, from_ns, to_ns, schema) for tail in opened]
        return [*(segment.known(from_ns, to_ns, schema) for segment in closed), *last]

    def _relation(self, table: str) -> Any:
        """Return all rows of a table as one dataset, without reading the closed segments."""
        import pyarrow.dataset as ds  # noqa: PLC0415

        schema = tables.arrow_schema(table)
        closed, opened = self._weighed(table)
        rows = [tail.table(None, None, schema) for tail in opened]
        rows += [one.rows for one in closed if isinstance(one, CleanedSegment)]
        parts = [ds.dataset(one) for one in rows]
        if closed := [one for one in closed if not isinstance(one, CleanedSegment)]:
            parts.append(dataset(closed, schema))
        return ds.dataset(parts or [ds.dataset(schema.empty_table())])

    def _stored(self, table: str) -> Stored:
        """Return the files of a table, and the rows of its open segments."""
        import pyarrow.dataset as ds  # noqa: PLC0415

        schema = tables.arrow_schema(table)
        closed, opened = self._weighed(table)
        rows = [tail.table(None, None, schema) for tail in opened]
        rows += [one.rows for one in closed if isinstance(one, CleanedSegment)]
        files = [
            (one.path.absolute(), frozenset(one.names))
            for one in closed
            if not isinstance(one, CleanedSegment)
        ]
        return Stored(files, ds.dataset(rows or schema.empty_table()))

    def _bounds(self, table: str) -> tuple[int, int] | None:
        closed, opened = self._segments(table, None, None)
        spans = [
            *((one.first_ns, one.last_ns, one.start_ns) for one in closed),
            *((*span, one.start_ns) for one in opened if (span := one.span()) is not None),
        ]
        if not spans:
            return None
        first_ns = min(first for first, _, _ in spans)
        starts = [start() for first, _, start in spans if first == first_ns]
        return min(starts), max(last for _, last, _ in spans)

    def _segments(
        self, table: str, from_ns: int | None, to_ns: int | None
    ) -> tuple[list[ClosedSegment], list[Tail]]:
        """Return the readable segments that can hold rows of a range; forget what is gone."""
        with self._lock:
            listed = layout.segments(self.path, table)
            self._forget(table, listed)
            found = [
                self._segment(identity, suffixes)
                for identity, suffixes in listed.items()
                if _may_hold(identity.date, from_ns, to_ns)
            ]
        closed = [one for one in found if isinstance(one, ClosedSegment)]
        tails = [one for one in found if isinstance(one, Tail)]
        return [one for one in closed if one.overlaps(from_ns, to_ns)], tails

    def _weighed(self, table: str) -> tuple[list[ClosedSegment], list[Tail]]:
        """Return all readable segments of a table, for who adds weights up: none is NaN."""
        if "weight" in tables.TABLES[table].column_names:
            closed, _ = self._segments(table, None, None)
            with self._lock:
                for identity in [key for key, one in self._closed.items() if one in closed]:
                    self._closed[identity] = weighed(self._closed[identity], table)
        return self._segments(table, None, None)

    def _segment(self, identity: layout.Segment, suffixes: set[str]) -> ClosedSegment | Tail | None:
        """Return a segment, the closed file where both exist; None where it is damaged."""
        if layout.CLOSED_SUFFIX in suffixes:
            segment = self._closed_segment(identity)
            if segment is not None or layout.OPEN_SUFFIX not in suffixes:
                return segment
        try:
            return self._tail(identity)
        except FileNotFoundError:  # it has become Parquet since it was listed
            return self._closed_segment(identity)

    def _closed_segment(self, identity: layout.Segment) -> ClosedSegment | None:
        """Return a closed segment, its footer read once; None where it is damaged."""
        known = self._closed.get(identity)
        if known is not None:
            return known
        path = identity.path(self.path, layout.CLOSED_SUFFIX)
        if path in self._damaged:
            return None
        try:
            self._closed[identity] = cleaned(ClosedSegment(path), identity.table)
        except FileNotFoundError:
            raise
        except _damage() as error:
            self._damaged[path] = f"damaged: {first_line(error)}"
        return self._closed.get(identity)

    def _tail(self, identity: layout.Segment) -> Tail | None:
        """Return an open segment as it is now; None where it is damaged."""
        path = identity.path(self.path, layout.OPEN_SUFFIX)
        if path in self._damaged:
            return None
        tail = self._tails.get(identity) or Tail(path, identity.table)
        try:
            tail.refresh()
        except FileNotFoundError:
            raise
        except _damage() as error:
            self._damaged[path] = f"damaged: {first_line(error)}"
            return None
        self._tails[identity] = tail
        return tail

    def _forget(self, table: str, listed: Mapping[layout.Segment, set[str]]) -> None:
        """Forget what is gone from the disk, and open segments that are closed now."""
        for identity in [one for one in self._closed if one.table == table and one not in listed]:
            del self._closed[identity]
        for identity in [one for one in self._tails if one.table == table]:
            if layout.CLOSED_SUFFIX in listed.get(identity, {layout.CLOSED_SUFFIX}):
                del self._tails[identity]
        directory = f"{self.path / table}{os.sep}"
        for path in [path for path in self._damaged if str(path).startswith(directory)]:
            if not path.exists():
                del self._damaged[path]

    def _ask(self, names: Iterable[str], question: Callable[[], Answer]) -> Answer:
        """Ask again where a file vanished meanwhile, or turned out to be damaged."""
        for _ in range(ATTEMPTS):
            try:
                return question()
            except FileNotFoundError:
                continue
            except _damage() as error:
                if not self._set_damaged_aside(names):
                    raise RecordingError(f"cannot read {self.path}: {error}") from error
        raise RecordingError(f"{self.path} changes faster than it can be read; try again")

    def _set_damaged_aside(self, names: Iterable[str]) -> bool:
        """Find the segments of some tables that cannot be read; tells whether there were any."""
        found = False
        for table in names:
            schema = tables.arrow_schema(table)
            try:
                closed, tails = self._segments(table, None, None)
            except FileNotFoundError:
                return True  # the next listing does without it
            readings: list[tuple[Path, Callable[[], object]]] = [
                *((segment.path, segment.verify) for segment in closed),
                *((tail.path, partial(tail.table, None, None, schema)) for tail in tails),
            ]
            for path, reading in readings:
                found |= self._is_damaged(path, reading)
        with self._lock:
            for known in (self._closed, self._tails):
                for identity in [key for key, one in known.items() if one.path in self._damaged]:
                    del known[identity]
        return found

    def _is_damaged(self, path: Path, verify: Callable[[], object]) -> bool:
        try:
            verify()
        except FileNotFoundError:
            return True  # gone is as good as damaged: the next listing does without it
        except _damage() as error:
            self._damaged[path] = f"damaged: {first_line(error)}"
            return True
        return False


def _damage() -> tuple[type[Exception], ...]:
    """Return what reading a file raises that is damaged, or not what it is called."""
    import pyarrow as pa  # noqa: PLC0415

    # Not the want of memory: that is no fault of the file.
    wrong = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, pa.ArrowKeyError)
    return (*wrong, OSError, ValueError, RelationError)


def _tail_rows(tail: Tail, from_ns: int | None, to_ns: int | None, schema: Any) -> Any:
    try:
        return tail.table(from_ns, to_ns, schema)
    except FileNotFoundError:  # it has become Parquet since it was found
        closed = ClosedSegment(tail.path.with_suffix(layout.CLOSED_SUFFIX))
        segment = cleaned(closed, tail.table_name)
        return segment.read(from_ns, to_ns, schema)


def _may_hold(day: str, from_ns: int | None, to_ns: int | None) -> bool:
    """Tell whether segments of a day can hold rows of a range; a day of slack costs little."""
    begin_ns = layout.day_start_ns(day)
    return (to_ns is None or begin_ns - layout.DAY_NS <= to_ns) and (
        from_ns is None or begin_ns + 2 * layout.DAY_NS > from_ns
    )
