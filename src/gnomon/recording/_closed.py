"""A closed segment: Parquet, immutable, its footer read once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from gnomon import tables
from gnomon.recording._conform import conform
from gnomon.recording.times import cut, first_start_ns


class ClosedSegment:
    """One Parquet file. ``first_ns`` and ``last_ns`` are its smallest and largest ts_ns.

    ``names`` are its columns.

    The constructor raises FileNotFoundError where the file is gone, and OSError or ValueError
    where its footer cannot be read. Page checksums are verified on every read, because flipped
    bits in numbers would otherwise pass for measurements.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415

        self.path = path
        self.footer = pq.read_metadata(path)
        self.schema = self.footer.schema.to_arrow_schema()
        self.names = tuple(self.schema.names)
        if "ts_ns" not in self.names or self.footer.num_rows == 0:
            raise ValueError("no rows with a ts_ns")
        found = self.schema.field("ts_ns").type
        statistics = self.statistics("ts_ns")
        if str(found) != "int64" or not all(one and one.has_min_max for one in statistics):
            raise ValueError(f"no times that a recorder wrote: ts_ns is {found}")
        self._spans = [(int(known.min), int(known.max)) for known in statistics]
        self.first_ns = min(first_ns for first_ns, _ in self._spans)
        self.last_ns = max(last_ns for _, last_ns in self._spans)
        self._start_ns: int | None = None
        self.is_weighed = False

    def statistics(self, name: str) -> list[Any]:
        """Return what the footer says of a column, a value a row group; None where nothing."""
        column = self.names.index(name)
        groups = (self.footer.row_group(group) for group in range(self.footer.num_row_groups))
        return [group.column(column).statistics for group in groups]

    def start_ns(self) -> int:
        """Return when the first interval began, from the rows of the earliest moment."""
        if self._start_ns is None:
            import pyarrow as pa  # noqa: PLC0415

            times = pa.schema({"ts_ns": pa.int64(), "duration_ns": pa.int64()})
            self._start_ns = first_start_ns(self.read(None, self.first_ns, times))
        return self._start_ns

    @cached_property
    def fragment(self) -> Any:
        """The file as a part of a ``pyarrow.dataset``, which takes 40 ms to import."""
        return _format().make_fragment(str(self.path), filesystem=_file_system())

    def read(self, from_ns: int | None, to_ns: int | None, schema: Any) -> Any:
        """Return the rows of (from_ns, to_ns] as a table of ``schema``, see ``conform``.

        Raises as the constructor does.
        """
        return conform(self.known(from_ns, to_ns, schema), schema)

    def known(self, from_ns: int | None, to_ns: int | None, schema: Any) -> Any:
        """Return the rows of (from_ns, to_ns] with the columns of ``schema`` that hold a value.

        Only the row groups of the range are read. Reading file by file takes two thirds of the
        time and of the memory of one scan over all files, and a third of the CPU where Arrow
        starts no threads: whoever reads a lot reads ahead. Raises as the constructor does.
        """
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        groups = [
            index
            for index, (first_ns, last_ns) in enumerate(self._spans)
            if (from_ns is None or last_ns > from_ns) and (to_ns is None or first_ns <= to_ns)
        ]
        wanted = self._with_values(groups, schema)
        encoded = [one.name for one in wanted if pa.types.is_dictionary(one.type)]
        with pq.ParquetFile(
            self.path,
            metadata=self.footer,
            read_dictionary=encoded,
            page_checksum_verification=True,
        ) as file:
            found = file.read_row_groups(groups, columns=wanted.names, use_threads=False)
        rows = conform(found, wanted)
        return rows if self._lies_within(from_ns, to_ns) else cut(rows, from_ns, to_ns)

    def _with_values(self, groups: Sequence[int], schema: Any) -> Any:
        """Return a schema without the columns that are null in all rows of some row groups."""
        places = {name: place for place, name in enumerate(self.names)}
        kept = {"ts_ns"} & set(schema.names)
        for group in map(self.footer.row_group, groups):
            for name in schema.names:
                if name in places and name not in kept:
                    statistics = group.column(places[name]).statistics
                    if statistics is None or statistics.null_count != group.num_rows:
                        kept.add(name)
        return tables.pick(schema, [name for name in schema.names if name in kept])

    def verify(self) -> None:
        """Read everything; raises OSError or ValueError where something is damaged."""
        for _ in self.fragment.to_batches():
            pass

    def _lies_within(self, from_ns: int | None, to_ns: int | None) -> bool:
        return (from_ns is None or self.first_ns > from_ns) and (
            to_ns is None or self.last_ns <= to_ns
        )

    def overlaps(self, from_ns: int | None, to_ns: int | None) -> bool:
        """Tell whether some row can lie in (from_ns, to_ns]."""
        return (from_ns is None or self.last_ns > from_ns) and (
            to_ns is None or self.first_ns <= to_ns
        )


def dataset(segments: list[ClosedSegment], schema: Any) -> Any:
    """Join closed segments into one ``pyarrow.dataset.Dataset`` with the columns of ``schema``."""
    import pyarrow.dataset as ds  # noqa: PLC0415

    fragments = [segment.fragment for segment in segments]
    return ds.FileSystemDataset(fragments, schema, _format(), _file_system())


@cache
def _format() -> Any:
    import pyarrow.dataset as ds  # noqa: PLC0415

    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    return ds.ParquetFileFormat(default_fragment_scan_options=options)


@cache
def _file_system() -> Any:
    from pyarrow import fs  # noqa: PLC0415

    return fs.LocalFileSystem()
