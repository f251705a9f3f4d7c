"""Tables of another version's columns, or of an importer's, brought to ours."""

from __future__ import annotations

from typing import Any

from gnomon import tables


def unfit(schema: Any, table: str) -> str | None:
    """Return why the columns of a file cannot be those of a table; None where they can be.

    Numbers may be wider or narrower than ours, as long as the values themselves fit.
    """
    for field in tables.arrow_schema(table):
        found = schema.field(field.name).type if field.name in schema.names else field.type
        if not _fits(found, field.type):
            return (
                f"column {field.name} holds {found}, a recording's holds {field.type}: another "
                "program wrote this file, take it out of the directory"
            )
    return None


def _fits(found: Any, ours: Any) -> bool:
    from pyarrow import types  # noqa: PLC0415

    if found.equals(ours) or types.is_null(found):
        return True
    if types.is_dictionary(found):
        found = found.value_type
    if types.is_string(ours):
        return bool(
            types.is_string(found) or types.is_large_string(found) or types.is_string_view(found)
        )
    return bool(types.is_integer(found) or types.is_floating(found))


def conform(table: Any, schema: Any) -> Any:
    """Return a table of ``schema``: missing columns are null, unknown ones left out.

    Raises ValueError (ArrowInvalid) where a column's values do not fit the type.
    """
    import pyarrow as pa  # noqa: PLC0415

    if table.schema.equals(schema):
        return table
    names = set(table.schema.names)
    # One array of nulls for all columns of a type: they take as long to make as numbers to read.
    nulls = {
        kind: pa.nulls(table.num_rows, kind)
        for kind in {field.type for field in schema if field.name not in names}
    }
    columns = [
        _cast(table.column(field.name), field.type) if field.name in names else nulls[field.type]
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _cast(column: Any, kind: Any) -> Any:
    """Return a column of a type; a cast would import ``pyarrow.compute``, which takes 40 ms."""
    return column if column.type.equals(kind) else column.cast(kind)
