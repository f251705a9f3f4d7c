"""Tables of another version's columns, or of an importer's, brought to ours."""

from __future__ import annotations

from typing import Any


def conform(table: Any, schema: Any) -> Any:
    """Return a table of ``schema``: missing columns are null, unknown ones left out.

    Raises ValueError (ArrowInvalid) where a column's values do not fit the type.
    """
    import pyarrow as pa  # noqa: PLC0415

    if table.schema.equals(schema):
        return table
    columns = [
        table.column(field.name).cast(field.type)
        if field.name in table.schema.names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
