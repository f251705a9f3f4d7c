"""Reads a recording, finished or being written, whole or damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gnomon import tables
from gnomon._errors import RecordingError
from gnomon.recording import _meta_files, layout
from gnomon.recording._sql import SqlLimits, run_select
from gnomon.recording._tail import Tail
from gnomon.recording.base import Meta, SkippedSegment

# A segment belongs to the day of its first rows; the last ones may lie past midnight.
DAY_SLACK_NS = 2 * 3_600_000_000_000
# A segment can vanish between listing and opening: it has become Parquet, or retention took it.
LISTINGS = 3
# Tables that say when a recording begins and ends, best first.
BOUNDING_TABLES = ("gpu_counters", "host_samples", "process_samples", "events", "phases")


class Recording:
    """A recording directory. Every method looks at the disk again: it may be live."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._tails: dict[Path, Tail] = {}
        self._skipped: dict[Path, str] = {}
        self._closed_bounds: dict[Path, tuple[int, int]] = {}

    @classmethod
    def open(cls, path: Path) -> Recording:
        """Open a directory. Raises RecordingError where it holds no recording, or a newer one."""
        recording = cls(path)
        if not recording.path.is_dir():
            raise RecordingError(f"no recording at {path}: not a directory")
        names = {entry.name for entry in recording.path.iterdir()}
        if not names & {layout.META, *tables.TABLES}:
            raise RecordingError(
                f"no recording in {path}: none of the tables is there; "
                f"`gnomon record -o {path}` makes one"
            )
        recording.meta()
        return recording

    def meta(self) -> Meta:
        """Return the meta of all writers as one. Raises RecordingError for a newer schema."""
        return _meta_files.merged(self.path, self._skipped)

    def skipped(self) -> Sequence[SkippedSegment]:
        """Return what could not be read so far, by name and with the reason."""
        torn = {path: tail.torn for path, tail in self._tails.items() if tail.torn}
        return [
            SkippedSegment(str(path.relative_to(self.path)), reason)
            for path, reason in sorted((self._skipped | torn).items())
        ]

    def bounds(self) -> tuple[int, int] | None:
        """Return the first interval's start and the last one's end, Unix ns."""
        for table in BOUNDING_TABLES:
            spans = [span for span in self._spans(table) if span is not None]
            if spans:
                return min(span[0] for span in spans), max(span[1] for span in spans)
        return None

    def read(
        self,
        table: str,
        *,
        from_ns: int | None = None,
        to_ns: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> Any:
        """Return the rows of a table with from_ns < ts_ns <= to_ns; see ``Measurements.read``."""
        schema = tables.arrow_schema(table)
        wanted = list(columns) if columns is not None else schema.names
        needed = wanted if "ts_ns" in wanted else ["ts_ns", *wanted]
        dataset = self._dataset(table, from_ns, to_ns)
        found = dataset.to_table(columns=needed, filter=_between(from_ns, to_ns))
        if not _is_sorted(found.column("ts_ns")):
            found = found.sort_by("ts_ns")
        return found.select(wanted)

    def sql(self, query: str, limits: SqlLimits | None = None) -> Any:
        """Run one SELECT over all tables and return a ``pyarrow.Table``.

        Raises RecordingError for anything but one SELECT, and beyond the limits.
        """
        relations = {table: self._dataset(table, None, None) for table in tables.TABLES}
        return run_select(query, relations, limits or SqlLimits())

    def _dataset(self, table: str, from_ns: int | None, to_ns: int | None) -> Any:
        import pyarrow.dataset as ds  # noqa: PLC0415

        schema = tables.arrow_schema(table)
        for _ in range(LISTINGS):
            with contextlib.suppress(FileNotFoundError):
                closed, opened = self._segments(table, from_ns, to_ns)
                parts = [self._closed_dataset(closed, schema), *self._opened(opened, schema)]
                return ds.dataset([part for part in parts if part is not None] or [_none(schema)])
        raise RecordingError(f"{self.path}/{table} changes faster than it can be read; try again")

    def _segments(
        self, table: str, from_ns: int | None, to_ns: int | None
    ) -> tuple[list[Path], list[Path]]:
        """Return the closed and the open segments that can hold rows of a range."""
        closed, opened = [], []
        for segment, suffixes in layout.segments(self.path, table).items():
            begin = layout.day_start_ns(segment.date)
            end = begin + layout.DAY_NS + DAY_SLACK_NS
            if (to_ns is not None and begin - DAY_SLACK_NS > to_ns) or (
                from_ns is not None and end < from_ns
            ):
                continue
            if layout.CLOSED_SUFFIX in suffixes:
                closed.append(segment.path(self.path, layout.CLOSED_SUFFIX))
            else:
                opened.append(segment.path(self.path, layout.OPEN_SUFFIX))
        return closed, opened

    def _closed_dataset(self, paths: Sequence[Path], schema: Any) -> Any | None:
        import pyarrow.dataset as ds  # noqa: PLC0415

        good = [str(path) for path in paths if self._is_whole(path)]
        return ds.dataset(good, schema=schema, format="parquet") if good else None

    def _is_whole(self, path: Path) -> bool:
        """Read a closed segment's footer, once; a damaged one is skipped by name."""
        if path in self._closed_bounds:
            return True
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        try:
            self._closed_bounds[path] = _parquet_bounds(pq, path)
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            self._skipped[path] = f"damaged: {str(error).splitlines()[0]}"
            return False
        return True

    def _opened(self, paths: Sequence[Path], schema: Any) -> Iterator[Any]:
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.dataset as ds  # noqa: PLC0415

        for path in paths:
            tail = self._tails.setdefault(path, Tail(path))
            try:
                tail.refresh()
            except FileNotFoundError:
                self._tails.pop(path)
                raise
            if not tail.batches:
                continue
            try:
                yield ds.dataset(_conform(pa.Table.from_batches(tail.batches), schema))
            except (pa.ArrowException, ValueError) as error:
                tail.torn = f"damaged: {str(error).splitlines()[0]}"

    def _spans(self, table: str) -> Iterator[tuple[int, int] | None]:
        import pyarrow.compute as pc  # noqa: PLC0415

        for _ in range(LISTINGS):
            with contextlib.suppress(FileNotFoundError):
                closed, opened = self._segments(table, None, None)
                spans = [self._closed_bounds[path] for path in closed if self._is_whole(path)]
                for dataset in self._opened(opened, tables.arrow_schema(table)):
                    times = dataset.to_table(columns=["ts_ns", "duration_ns"])
                    length = pc.fill_null(times["duration_ns"], 0)
                    starts = pc.subtract(times["ts_ns"], length)
                    spans.append((pc.min(starts).as_py(), pc.max(times["ts_ns"]).as_py()))
                yield from spans
                return


def _parquet_bounds(pq: Any, path: Path) -> tuple[int, int]:
    """First interval start and last end of a closed segment: statistics, then one row group."""
    file = pq.ParquetFile(path)
    footer = file.metadata
    at = file.schema_arrow.get_field_index("ts_ns")
    if at < 0 or footer.num_rows == 0:
        raise ValueError("no rows with a ts_ns")
    groups = [
        footer.row_group(index).column(at).statistics for index in range(footer.num_row_groups)
    ]
    first = min(range(len(groups)), key=lambda index: groups[index].min)
    times = file.read_row_group(first, columns=["ts_ns", "duration_ns"])
    rows = zip(times["ts_ns"].to_pylist(), times["duration_ns"].to_pylist(), strict=True)
    return min(ts - (length or 0) for ts, length in rows), max(group.max for group in groups)


def _between(from_ns: int | None, to_ns: int | None) -> Any:
    import pyarrow.compute as pc  # noqa: PLC0415

    conditions = []
    if from_ns is not None:
        conditions.append(pc.field("ts_ns") > from_ns)
    if to_ns is not None:
        conditions.append(pc.field("ts_ns") <= to_ns)
    if not conditions:
        return None
    return conditions[0] if len(conditions) == 1 else conditions[0] & conditions[1]


def _conform(table: Any, schema: Any) -> Any:
    """Give a table the columns of this version: missing ones null, unknown ones left out."""
    import pyarrow as pa  # noqa: PLC0415

    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.schema.names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _none(schema: Any) -> Any:
    import pyarrow.dataset as ds  # noqa: PLC0415

    return ds.dataset(schema.empty_table())


def _is_sorted(times: Any) -> bool:
    import numpy as np  # noqa: PLC0415

    values = times.to_numpy()
    return bool(np.all(values[1:] >= values[:-1]))
