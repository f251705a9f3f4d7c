"""A closed segment: Parquet, immutable, its footer read once."""

from __future__ import annotations

from functools import cache, cached_property
from pathlib import Path
from typing import Any

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
        footer = pq.read_metadata(path)
        self.names = tuple(footer.schema.to_arrow_schema().names)
        column = self.names.index("ts_ns") if "ts_ns" in self.names else -1
        if column < 0 or footer.num_rows == 0:
            raise ValueError("no rows with a ts_ns")
        groups = [footer.row_group(group) for group in range(footer.num_row_groups)]
        statistics = [group.column(column).statistics for group in groups]
        self._spans = [(int(known.min), int(known.max)) for known in statistics]
        self.first_ns = min(first_ns for first_ns, _ in self._spans)
        self.last_ns = max(last_ns for _, last_ns in self._spans)
        self._start_ns: int | None = None

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
        wanted = [name for name in schema.names if name in self.names]
        encoded = [name for name in wanted if pa.types.is_dictionary(schema.field(name).type)]
        with pq.ParquetFile(
            self.path, read_dictionary=encoded, page_checksum_verification=True
        ) as file:
            found = file.read_row_groups(groups, columns=wanted, use_threads=False)
        rows = conform(found, schema)
        return rows if self._lies_within(from_ns, to_ns) else cut(rows, from_ns, to_ns)

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
