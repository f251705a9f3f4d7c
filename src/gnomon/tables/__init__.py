"""The contract of all tables: what each column is called, its type, unit, meaning and source.

Everything that is measured lands in one of these tables, and every room relies on this package
alone to know what it will find there. Importing it costs nothing: Arrow types are spelled as
strings and turned into schemas on use (``arrow_schema``), because importing pyarrow takes
90 ms and 52 MB that a program without tables should not pay.

Rules that hold in every table:

- ``ts_ns`` is the end of the interval in Unix nanoseconds, ``duration_ns`` its length, taken on
  the raw monotonic clock. An instant has the duration 0.
- A value that was not read in this interval is null, never 0 and never a repeated old value:
  the age of a reading is the distance to the last row where it is not null. What is read less
  often than a row is written (power, throttle durations) covers the time since the column's
  last value.
- Columns are only ever added within one ``SCHEMA_VERSION``; readers fill missing ones with null.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from gnomon.tables._columns import Column as Column
from gnomon.tables._columns import Table as Table
from gnomon.tables.gpu import GPU_COUNTERS, GPU_PROCESSES
from gnomon.tables.host import HOST_SAMPLES, PROCESS_SAMPLES
from gnomon.tables.kernels import (
    COPIES,
    GPU_SYNCHRONIZATIONS,
    KERNEL_NAMES,
    KERNEL_WINDOWS,
    KERNELS,
    PM_SAMPLES,
    RANGES,
)
from gnomon.tables.recording import CLOCK_SYNC, EVENTS, LOSSES, PHASES, SOURCE_HEALTH
from gnomon.tables.tracing import (
    CALL_HISTOGRAMS,
    HOST_CALLS,
    NCCL_CALLS,
    OFF_CPU,
    STACK_SAMPLES,
    STACKS,
    THREADS,
)

SCHEMA_VERSION = 1

TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        GPU_COUNTERS,
        GPU_PROCESSES,
        HOST_SAMPLES,
        PROCESS_SAMPLES,
        PHASES,
        EVENTS,
        SOURCE_HEALTH,
        LOSSES,
        CLOCK_SYNC,
        HOST_CALLS,
        CALL_HISTOGRAMS,
        OFF_CPU,
        STACK_SAMPLES,
        STACKS,
        THREADS,
        NCCL_CALLS,
        PM_SAMPLES,
        KERNELS,
        KERNEL_NAMES,
        COPIES,
        KERNEL_WINDOWS,
        GPU_SYNCHRONIZATIONS,
        RANGES,
    )
}


@cache
def arrow_schema(table: str, *, encoded: bool = False) -> Any:
    """Return the ``pyarrow.Schema`` of a table; ``encoded``: text is a code into a dictionary.

    Imports pyarrow.
    """
    import pyarrow as pa  # noqa: PLC0415  see the module docstring

    types = {
        "int32": pa.int32(),
        "int64": pa.int64(),
        "float32": pa.float32(),
        "float64": pa.float64(),
        "string": pa.dictionary(pa.int32(), pa.string()) if encoded else pa.string(),
    }
    return pa.schema([(column.name, types[column.type]) for column in TABLES[table].columns])


def pick(schema: Any, columns: Iterable[str]) -> Any:
    """Return the schema of some columns."""
    import pyarrow as pa  # noqa: PLC0415

    return pa.schema([schema.field(name) for name in columns])


def batch(table: str, rows: Sequence[Mapping[str, object]]) -> Any:
    """Build a ``pyarrow.RecordBatch`` from rows; what a row does not name becomes null.

    Raises KeyError for a column that the table does not have: a typo must not lose data.
    """
    import pyarrow as pa  # noqa: PLC0415

    if unknown := set().union(*rows).difference(TABLES[table].column_names):
        raise KeyError(f"table {table!r} has no column {sorted(unknown)}")
    # All columns in one call: one call a column took twice as long for a single row.
    return pa.RecordBatch.from_struct_array(pa.array(rows, type=_row_type(table)))


@cache
def _row_type(table: str) -> Any:
    """Return the type of a whole row, for which Arrow takes a dictionary."""
    import pyarrow as pa  # noqa: PLC0415

    return pa.struct(list(arrow_schema(table)))
