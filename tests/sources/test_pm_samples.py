"""Batches of samples against a loop over each of them."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon import tables
from gnomon.enums import CounterSet
from gnomon.sources._pm_metrics import Metric
from gnomon.sources._pm_records import Samples
from gnomon.sources._pm_samples import sample_batch

METRICS = (
    Metric("sm_clock_mhz", "cycles", "cycles"),
    Metric("sm_active_pct", "sm_active", "active"),
    Metric("fp32_active_pct", "sm_pct", "heavy"),
    Metric("fp32_active_pct", "sm_pct", "light"),
    Metric("pcie_rx_bytes_per_s", "link", "bytes"),
)
NUMBERS = st.floats(0, 1e6, width=32) | st.just(math.nan)
SAMPLE = st.tuples(
    st.integers(0, 2**62), st.integers(1, 2**31), st.tuples(*[NUMBERS] * len(METRICS))
)


def record(samples):
    ends, lengths, values = zip(*samples, strict=True)
    columns = struct.pack(f"<{len(ends)}q{len(ends)}I", *ends, *lengths)
    for metric in zip(*values, strict=True):
        columns += struct.pack(f"<{len(ends)}f", *metric)
    return Samples(0, 0, len(ends), len(METRICS), columns)


def near(value):
    """As the table keeps it: float32, and null where there is no number."""
    return None if math.isnan(value) else pytest.approx(value, rel=1e-6)


@given(st.lists(st.lists(SAMPLE, min_size=1, max_size=5), min_size=1, max_size=4))
def test_a_batch_is_what_a_loop_over_samples_would_make(records):
    batch = sample_batch(
        [record(samples) for samples in records],
        METRICS,
        gpu_uuid="GPU-1",
        counter_set=CounterSet.INSTRUCTIONS,
    )
    rows = batch.to_pylist()
    samples = [sample for samples in records for sample in samples]

    assert batch.schema.equals(tables.arrow_schema("pm_samples"))
    assert len(rows) == len(samples)
    for row, (end_ns, length_ns, values) in zip(rows, samples, strict=True):
        cycles, active, heavy, light, _bytes = values
        assert (row["ts_ns"], row["duration_ns"]) == (end_ns, length_ns)
        assert (row["gpu_uuid"], row["counter_set"]) == ("GPU-1", "instructions")
        assert row["sm_active_pct"] == near(active)
        assert row["sm_clock_mhz"] == near(1e3 * cycles / length_ns)
        assert row["fma_active_pct"] == near((heavy + light) / 2)
        assert row["tensor_active_pct"] is None
