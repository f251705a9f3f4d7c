"""What is stored as Parquet is what was written, to the bit."""

import struct

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnomon import tables
from gnomon.recording import _convert
from gnomon.recording.writer import RecordingWriter

from .conftest import counter_rows

COLUMNS = {
    "power_watts": st.floats(),
    "vram_used_bytes": st.integers(-(1 << 63), (1 << 63) - 1),
    "pcie_lanes": st.integers(-(1 << 31), (1 << 31) - 1),
    "sm_clock_source": st.text(st.characters(exclude_categories=["Cs"])),
}


def bits(value):
    return struct.pack("<d", value) if isinstance(value, float) else value


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    values=st.lists(
        st.fixed_dictionaries({name: st.none() | one for name, one in COLUMNS.items()}), min_size=1
    )
)
def test_every_value_comes_back_to_the_bit(tmp_path_factory, values):
    root = tmp_path_factory.mktemp("r")
    rows = [row | more for row, more in zip(counter_rows(len(values)), values, strict=True)]
    with RecordingWriter(root, "h") as writer:
        writer.append("gpu_counters", tables.batch("gpu_counters", rows))

    (path,) = root.glob("gpu_counters/*/*/*.parquet")
    found = pq.read_table(path, partitioning=None)

    for name in ("ts_ns", "duration_ns", *COLUMNS):
        assert [*map(bits, found[name].to_pylist())] == [bits(row[name]) for row in rows]


@pytest.mark.parametrize("rows_a_message", [3, 150])
def test_row_groups_are_of_a_length_however_rows_were_flushed(
    tmp_path, monkeypatch, rows_a_message
):
    """A reader skips by them, and the recorder holds one of them in memory."""
    monkeypatch.setattr(_convert, "ROW_GROUP_ROWS", 100)
    rows = counter_rows(900)
    with RecordingWriter(tmp_path, "h") as writer:
        for at in range(0, len(rows), rows_a_message):
            batch = tables.batch("gpu_counters", rows[at : at + rows_a_message])
            writer.append("gpu_counters", batch)
            writer.flush()

    (path,) = tmp_path.glob("gpu_counters/*/*/*.parquet")
    footer = pq.read_metadata(path)

    lengths = [footer.row_group(group).num_rows for group in range(footer.num_row_groups)]
    assert sum(lengths) == 900
    assert all(100 <= length < 100 + max(25, rows_a_message) for length in lengths[:-1])
