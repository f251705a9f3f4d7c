import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon import tables
from gnomon.hardware import dcgm_fields
from gnomon.hardware.dcgm_fields import BY_ID, FIELDS, find, is_blank, reading


def test_every_column_is_one_of_gpu_counters():
    assert {field.column for field in FIELDS} <= set(tables.GPU_COUNTERS.column_names)


def test_ids_names_and_short_names_are_of_one_field_each():
    for attribute in ("id", "name", "short_name"):
        values = [getattr(field, attribute) for field in FIELDS]
        assert len(set(values)) == len(values)


@pytest.mark.parametrize(
    ("word", "field_id"),
    [("203", 203), ("gract", 1001), ("DCGM_FI_PROF_DRAM_ACTIVE", 1005), (" TENSO ", 1004)],
)
def test_a_field_is_found_by_any_of_its_names(word, field_id):
    assert find(word) is BY_ID[field_id]


def test_a_field_without_a_column_is_not_found():
    assert find("230") is None
    assert find("RPCTR") is None


# dcgm_structs.h: the bases, and not found, not supported and not permissioned after them.
@pytest.mark.parametrize(
    "value",
    [0x7FFFFFF0, 0x7FFFFFF1, 0x7FFFFFF2, 0x7FFFFFF3, 0x7FFFFFFFFFFFFFF0, 0x7FFFFFFFFFFFFFF2,
     140737488355328.0, 140737488355330.0, math.nan, math.inf],
)  # fmt: skip
def test_sentinels_are_no_values(value):
    assert reading(BY_ID[155], value) is None


@pytest.mark.parametrize(
    ("field_id", "value", "expected"),
    [(1004, 0.931, 93.1), (252, 21618, 21618 * 1048576), (156, 5000, 5.0), (200, 7, 7000)],
)
def test_values_are_in_the_columns_unit(field_id, value, expected):
    assert reading(BY_ID[field_id], value) == pytest.approx(expected)


@given(st.floats(-1e13, 1e13).filter(lambda value: not 0x7FFFFFF0 <= value < 0x80000000))
def test_what_can_be_read_is_never_blank(value):
    assert not is_blank(value)


def test_the_table_covers_the_profiling_fields_of_the_whole_gpu():
    assert set(range(1001, 1017)) <= set(dcgm_fields.BY_ID)
