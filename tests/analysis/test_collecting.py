"""However rows are cut into parts and batches, each source gets its own, in order."""

import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnomon import tables
from gnomon.analysis import collecting
from gnomon.analysis.collecting import collect
from gnomon.recording._times import cut

SECOND_NS = 1_000_000_000
BEGIN_NS = 1_700_000_000 * SECOND_NS
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


class Rows:
    """Measurements of some rows a second apart, in batches of ``size``."""

    def __init__(self, rows, size):
        self.rows = [
            row | {"ts_ns": BEGIN_NS + index * SECOND_NS, "duration_ns": SECOND_NS}
            for index, row in enumerate(rows, start=1)
        ]
        self.table = tables.concat(
            "gpu_counters",
            [
                tables.batch("gpu_counters", self.rows[at : at + size])
                for at in range(0, len(rows), size)
            ],
        )

    def read(self, table, *, from_ns=None, to_ns=None, columns=None):
        return cut(self.table, from_ns, to_ns).select(columns)


def expected(rows, column):
    found = {}
    for row in rows:
        if row["gpu_uuid"] is not None and row["source"] is not None:
            key = (row["gpu_uuid"], row["mig_uuid"], row["source"])
            found.setdefault(key, []).append(row[column])
    return found


def with_none(values):
    return [None if math.isnan(value) else value for value in values.tolist()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=ROWS, size=st.integers(1, 40), part_s=st.integers(1, 50))
def test_nothing_is_lost_or_mixed_up(monkeypatch, rows, size, part_s):
    monkeypatch.setattr(collecting, "READ_AT_ONCE_NS", part_s * SECOND_NS)
    measurements = Rows(rows, size)

    found = collect(measurements, BEGIN_NS, BEGIN_NS + len(rows) * SECOND_NS)

    times = {key: one.times("ts_ns").tolist() for key, one in found.items()}
    assert times == expected(measurements.rows, "ts_ns")
    for column in ("busy_pct", "vram_used_bytes"):
        for key, values in expected(measurements.rows, column).items():
            columns = found[key].columns()
            if column in columns:
                assert with_none(columns[column]) == values
            else:
                assert values == [None] * len(values)
    clocks = expected(measurements.rows, "sm_clock_source")
    assert {key: one.clock_sources for key, one in found.items()} == {
        key: set(names) - {None} for key, names in clocks.items()
    }


@pytest.mark.parametrize("to_ns", [None, BEGIN_NS, BEGIN_NS - SECOND_NS])
def test_ranges_without_end_or_without_rows(to_ns):
    measurements = Rows([{"gpu_uuid": "GPU-a", "source": "gpm", "busy_pct": 1.0}], 1)

    found = collect(measurements, BEGIN_NS, to_ns)

    assert [one.rows for one in found.values()] == ([1] if to_ns is None else [])


def test_one_gpu_of_several():
    rows = [{"gpu_uuid": uuid, "source": "gpm", "busy_pct": 1.0} for uuid in ("GPU-a", "GPU-b") * 3]

    found = collect(Rows(rows, 4), BEGIN_NS, None, "GPU-b")

    assert {key: one.rows for key, one in found.items()} == {("GPU-b", None, "gpm"): 3}
