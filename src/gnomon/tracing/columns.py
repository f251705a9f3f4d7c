"""Columns of numpy to batches of Arrow, without a Python object a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gnomon import tables

Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.signedinteger[Any]]
Integers = npt.NDArray[np.int64]


class Words(NamedTuple):
    """Text a row: its place among ``words``; below 0 it is null."""

    codes: Codes
    words: Sequence[str | None]


class Known(NamedTuple):
    """Values that are null where ``known`` is False."""

    values: npt.NDArray[Any]
    known: Mask | bool


Column = npt.NDArray[Any] | Words | Known | list[Any] | str | int | float | None


def arrow_batch(table: str, rows: int, columns: Mapping[str, Column]) -> Any:
    """Return a ``pyarrow.RecordBatch`` of a table; a scalar is every row's, what lacks is null.

    Raises KeyError for a column that the table does not have.
    """
    import pyarrow as pa  # noqa: PLC0415  90 ms

    schema = tables.arrow_schema(table)
    if unknown := set(columns).difference(schema.names):
        raise KeyError(f"table {table!r} has no column {sorted(unknown)}")
    arrays = [_array(columns.get(field.name), field.type, rows) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def signed(values: npt.NDArray[np.uint64]) -> Integers:
    """The same 64 bits, signed: addresses and hashes."""
    return np.ascontiguousarray(values).view(np.int64)


def names(raw: npt.NDArray[np.bytes_]) -> Words:
    """Text of the kernel's names, which end at their first zero byte."""
    import pyarrow as pa  # noqa: PLC0415

    width = raw.dtype.itemsize
    data = pa.py_buffer(np.ascontiguousarray(raw))
    fixed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(raw), [None, data])
    coded = fixed.dictionary_encode()
    return Words(coded.indices.to_numpy(), [text(name) for name in coded.dictionary.to_pylist()])


def text(name: bytes) -> str:
    """A name of the kernel as text; what is not UTF-8 is replaced."""
    return name.split(b"\0", 1)[0].decode(errors="replace")


def _array(column: Column, kind: Any, rows: int) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    if column is None:
        return pa.nulls(rows, kind)
    if isinstance(column, Words):
        return _text_array(column, kind, rows)
    if isinstance(column, Known):
        if column.known is False:
            return pa.nulls(rows, kind)
        missing = None if column.known is True else ~column.known
        return pa.array(column.values, kind, mask=missing)
    if isinstance(column, np.ndarray | list):
        return pa.array(column, kind)
    return pa.repeat(pa.scalar(column, kind), rows)


def _text_array(column: Words, kind: Any, rows: int) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    if not len(column.words):
        return pa.nulls(rows, kind)
    places = pa.array(column.codes, pa.int32(), mask=column.codes < 0)
    return pa.array(column.words, kind).take(places)
