"""Turn a finished open segment into Parquet, a row group at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gnomon._errors import RecordingError
from gnomon.recording import _files, layout
from gnomon.recording._arrow_stream import TornStreamError, read_frames, read_schema

# Rows in memory at once: 16 Ki rows of gpu_counters are about 8 MB. Each column of a row group
# costs a reader some 40 us whatever is in it: a day of groups half as long takes a fifth longer.
ROW_GROUP_ROWS = 16_384
# A batch of 24 rows and 70 columns takes several times its data in bookkeeping: join early.
JOINED_BATCHES = 64


def convert(root: Path, identity: layout.Segment) -> int:
    """Write the Parquet file of a segment, remove its .arrow file, return the rows kept.

    A torn tail is left behind: every whole batch before it is kept. A file without a single
    whole batch is removed. Raises OSError where the disk refuses, and RecordingError where
    the file is no Arrow stream; the .arrow file stays in both cases.
    """
    opened = identity.path(root, layout.OPEN_SUFFIX)
    closed = identity.path(root, layout.CLOSED_SUFFIX)
    temporary = _files.temporary_name(closed)
    temporary.unlink(missing_ok=True)
    try:
        rows = _write_parquet(opened, temporary)
        if rows:
            _files.publish(temporary, closed)
    finally:
        temporary.unlink(missing_ok=True)
    opened.unlink(missing_ok=True)
    return rows


def _write_parquet(opened: Path, temporary: Path) -> int:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    rows = 0
    with pa.OSFile(str(opened), "rb") as source:
        try:
            schema = read_schema(source)
        except TornStreamError as torn:
            if source.size() == 0:
                return 0
            raise RecordingError(f"cannot convert {opened}: {torn}") from torn
        with pq.ParquetWriter(
            str(temporary), schema, write_page_checksum=True, **_encodings(schema)
        ) as writer:
            for group in _row_groups(source, schema):
                writer.write_table(group, row_group_size=group.num_rows)
                rows += group.num_rows
    _files.give_to_sudo_user(temporary)
    pa.default_memory_pool().release_unused()
    return rows


def _encodings(schema: Any) -> dict[str, Any]:
    """Return how the columns are stored, as settings of a ``ParquetWriter``.

    Measured numbers hardly repeat: a dictionary of them is a fifth larger and slower to read. As
    differences, and with the first bytes of all numbers before their second ones, LZ4 makes them
    as small as zstd does (within 3 % in a day of eight GPUs), and they are read in half the time.
    """
    import pyarrow as pa  # noqa: PLC0415

    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    return {
        "use_dictionary": texts,
        "compression": {one.name: "zstd" if one.name in texts else "lz4" for one in schema},
        "column_encoding": {
            one.name: "BYTE_STREAM_SPLIT"
            if pa.types.is_floating(one.type)
            else "DELTA_BINARY_PACKED"
            for one in schema
            if one.name not in texts
        },
    }


def _row_groups(source: Any, schema: Any) -> Iterator[Any]:
    """Yield tables of about ROW_GROUP_ROWS rows; a torn end ends the last one."""
    import pyarrow as pa  # noqa: PLC0415

    batches: list[Any] = []
    rows = 0
    for batch in _joined(source, schema):
        batches.append(batch)
        rows += batch.num_rows
        if rows >= ROW_GROUP_ROWS:
            yield pa.Table.from_batches(batches, schema=schema)
            batches, rows = [], 0
    if batches:
        yield pa.Table.from_batches(batches, schema=schema)


def _joined(source: Any, schema: Any) -> Iterator[Any]:
    """Yield the whole batches, JOINED_BATCHES as one, or fewer where they are long."""
    import pyarrow as pa  # noqa: PLC0415

    small: list[Any] = []
    rows = 0
    with contextlib.suppress(TornStreamError):
        for frame in read_frames(source, schema):
            small.append(frame.batch)
            rows += frame.batch.num_rows
            if len(small) >= JOINED_BATCHES or rows >= ROW_GROUP_ROWS // 4:
                yield pa.concat_batches(small)
                small, rows = [], 0
    if small:
        yield pa.concat_batches(small)
