"""The contract of all tables: well formed, cheap to import, and true to what it promises."""

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon import tables
from gnomon.tables import TABLES

UNIT_OF_SUFFIX = {
    "_ns": {"ns", "Unix ns"},
    "_pct": {"% (0 to 100)", "% of one core"},
    "_bytes": {"bytes"},
    "_bytes_per_s": {"bytes/s"},
    "_mhz": {"MHz"},
    "_watts": {"W"},
    "_joules": {"J"},
    "_celsius": {"°C"},
}
COLUMNS = [(table.name, column) for table in TABLES.values() for column in table.columns]


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_a_table_begins_with_its_interval_and_names_no_column_twice(table):
    assert table.column_names[:2] == ("ts_ns", "duration_ns")
    assert len(set(table.column_names)) == len(table.column_names)
    assert table.meaning.endswith(".")


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=lambda x: getattr(x, "name", x))
def test_a_column_says_what_it_means_and_its_name_holds_its_unit(table, column):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)
    assert column.meaning
    assert column.type in {"int32", "int64", "float32", "float64", "string"}
    suffix = max((s for s in UNIT_OF_SUFFIX if column.name.endswith(s)), key=len, default=None)
    if suffix is not None and column.name != "model_bytes":
        assert column.unit in UNIT_OF_SUFFIX[suffix]


def test_importing_the_contract_does_not_import_arrow():
    script = "import sys, gnomon.tables; print('pyarrow' in sys.modules)"

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", TABLES)
def test_a_schema_has_every_column_in_order(name):
    schema = tables.arrow_schema(name)

    assert tuple(schema.names) == TABLES[name].column_names
    assert [str(field.type) for field in schema] == [
        {"float32": "float", "float64": "double"}.get(column.type, column.type)
        for column in TABLES[name].columns
    ]


def test_what_a_row_does_not_name_is_null_and_never_zero():
    batch = tables.batch("host_samples", [{"ts_ns": 1, "cpu_pct": 0.0}, {"ts_ns": 2}])

    assert batch.column("cpu_pct").to_pylist() == [0.0, None]
    assert batch.column("load_1m").null_count == 2


def test_a_column_that_does_not_exist_is_refused_by_name():
    with pytest.raises(KeyError, match=r"host_samples.*cpu_percent"):
        tables.batch("host_samples", [{"cpu_percent": 1.0}])
    with pytest.raises(KeyError, match=r"host_samples.*nope"):
        TABLES["host_samples"]["nope"]


def test_a_batch_of_no_rows_has_all_columns():
    empty = tables.batch("events", [])

    assert empty.num_rows == 0
    assert tuple(empty.schema.names) == TABLES["events"].column_names


KINDS = {
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float32": st.floats(allow_nan=False, width=32),
    "float64": st.floats(allow_nan=False),
    "string": st.text(max_size=5),
}


@given(data=st.data())
def test_rows_come_back_from_a_batch_as_they_went_in(data):
    name = data.draw(st.sampled_from(list(TABLES)))
    values = {c.name: st.one_of(st.none(), KINDS[c.type]) for c in TABLES[name].columns}
    rows = data.draw(st.lists(st.fixed_dictionaries({}, optional=values), max_size=4))

    batch = tables.batch(name, rows)

    assert batch.to_pylist() == [
        {column: row.get(column) for column in TABLES[name].column_names} for row in rows
    ]


values = st.fixed_dictionaries(
    {"ts_ns": st.integers(0, 2**62)},
    optional={
        "busy_pct": st.none() | st.floats(0, 100),
        "throttle_reasons": st.none() | st.integers(0, 2**40),
        "source": st.none() | st.text(max_size=5),
    },
)


@given(st.lists(values, max_size=5))
def test_rows_become_columns_and_what_a_row_does_not_name_is_null(rows):
    batch = tables.batch("gpu_counters", rows)

    assert batch.schema == tables.arrow_schema("gpu_counters")
    nothing = dict.fromkeys(TABLES["gpu_counters"].column_names)
    assert batch.to_pylist() == [nothing | row for row in rows]
