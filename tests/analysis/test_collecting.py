"""However rows are cut into parts and batches, each source gets its own, in order."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon import tables
from gnomon.analysis.collecting import read_counters, since, take_apart
from gnomon.recording.memory import MemoryRecording

SECOND_NS = 1_000_000_000
BEGIN_NS = 1_700_000_000 * SECOND_NS
COLUMNS = ("busy_pct", "vram_used_bytes")
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "gpu_uuid": st.sampled_from(["GPU-a", "GPU-b", None]),
            "mig_uuid": st.sampled_from([None, None, "MIG-1"]),
            "source": st.sampled_from(["gpm", "nvml", None]),
            "sm_clock_source": st.sampled_from(["nvml", "cupti", None]),
            "busy_pct": st.none() | st.floats(0, 100),
            "vram_used_bytes": st.none() | st.integers(0, 1 << 40),
        }
    ),
    max_size=60,
)


def stamped(rows):
    """The rows a second apart."""
    return [
        row | {"ts_ns": BEGIN_NS + index * SECOND_NS, "duration_ns": SECOND_NS}
        for index, row in enumerate(rows, start=1)
    ]


def recorded(rows, size):
    """Measurements of some rows, in batches of ``size``."""
    recording = MemoryRecording(max_age_ns=3600 * SECOND_NS)
    for at in range(0, len(rows), size):
        recording.append("gpu_counters", tables.batch("gpu_counters", rows[at : at + size]))
    return recording


def expected(rows, column):
    found = {}
    for row in rows:
        if row["gpu_uuid"] is not None and row["source"] is not None:
            key = (row["gpu_uuid"], row["mig_uuid"], row["source"])
            found.setdefault(key, []).append(row[column])
    return found


def with_none(one, column):
    values = one.columns.get(column)
    if values is None:
        return [None] * len(one.ts_ns)
    return [None if math.isnan(value) else value for value in values.tolist()]


def assert_same(found, rows):
    assert {key: one.ts_ns.tolist() for key, one in found.items()} == expected(rows, "ts_ns")
    for column in COLUMNS:
        assert {key: with_none(one, column) for key, one in found.items()} == expected(rows, column)


@given(rows=ROWS, size=st.integers(1, 40))
def test_nothing_is_lost_or_mixed_up(rows, size):
    rows = stamped(rows)

    found = take_apart(read_counters(recorded(rows, size), None, None))

    assert_same(found, rows)
    clocks = expected(rows, "sm_clock_source")
    assert {key: one.clock_sources for key, one in found.items()} == {
        key: set(names) - {None} for key, names in clocks.items()
    }


@given(rows=ROWS, size=st.integers(1, 40), cut=st.integers(0, 60))
def test_what_was_read_in_two_parts_joins_to_what_was_read_in_one(rows, size, cut):
    rows = stamped(rows)
    measurements = recorded(rows, size)
    cut_ns = BEGIN_NS + cut * SECOND_NS
    first, second = (
        read_counters(measurements, *span) for span in ((None, cut_ns), (cut_ns, None))
    )

    joined = take_apart(second, before=take_apart(first))

    assert_same(joined, rows)
    assert_same(since(joined, cut_ns), [row for row in rows if row["ts_ns"] > cut_ns])


@pytest.mark.parametrize("to_ns", [None, BEGIN_NS, BEGIN_NS - SECOND_NS])
def test_ranges_without_end_or_without_rows(to_ns):
    measurements = recorded(stamped([{"gpu_uuid": "GPU-a", "source": "gpm", "busy_pct": 1.0}]), 1)

    found = take_apart(read_counters(measurements, BEGIN_NS, to_ns))

    assert [len(one.ts_ns) for one in found.values()] == ([1] if to_ns is None else [])


def test_one_gpu_of_several():
    rows = [{"gpu_uuid": uuid, "source": "gpm", "busy_pct": 1.0} for uuid in ("GPU-a", "GPU-b") * 3]

    found = take_apart(read_counters(recorded(stamped(rows), 4), BEGIN_NS, None), "GPU-b")

    assert {key: len(one.ts_ns) for key, one in found.items()} == {("GPU-b", None, "gpm"): 3}


def test_times_keep_their_nanosecond_beside_an_empty_piece():
    """A file's rows may all lie outside of the range: its piece of the table is empty then."""
    rows = stamped([{"gpu_uuid": "GPU-a", "source": "gpm", "busy_pct": 1.0}])
    rows[0]["ts_ns"] += 1
    table = read_counters(recorded(rows, 1), None, None)

    (found,) = take_apart(pa.concat_tables([table.slice(0, 0), table])).values()

    assert found.ts_ns.dtype == found.duration_ns.dtype == np.int64
    assert found.ts_ns.tolist() == [rows[0]["ts_ns"]]
