"""The lists of wishes: their spelling for gnomon-pm, and the arithmetic of their columns."""

import numpy as np
import pytest

from gnomon import tables
from gnomon.enums import CounterSet
from gnomon.sources._pm_metrics import (
    WISHES,
    Metric,
    column_values,
    plan_text,
    sampled_columns,
    wanted,
)

SETS = tuple(CounterSet)
PCT = ".avg.pct_of_peak_sustained_elapsed"


@pytest.mark.parametrize(
    ("counter_set", "table"),
    [
        (CounterSet.THROUGHPUT, tables.GPU_COUNTERS),
        (CounterSet.CACHES, tables.TABLES["pm_samples"]),
        (CounterSet.INSTRUCTIONS, tables.TABLES["pm_samples"]),
    ],
)
def test_every_column_exists_and_the_first_wish_is_the_clock(counter_set, table):
    first, *wishes = WISHES[counter_set]
    names = {column for wish in wishes for column in wish.columns}

    assert first.columns == ("sm_clock_mhz",)
    assert names - {"requests", "fp32_active_pct"} <= set(table.column_names)


@pytest.mark.parametrize("counter_set", SETS)
def test_all_alternatives_of_a_wish_fill_the_same_columns(counter_set):
    for wish in WISHES[counter_set]:
        for alternative in wish.alternatives:
            assert tuple(dict.fromkeys(metric.column for metric in alternative)) == wish.columns


def test_the_plan_spells_each_set_in_the_order_in_which_metrics_are_counted():
    lines = plan_text(SETS).splitlines()
    words = {"paced-by-clock", "set", "want", "or"}
    spelled = [line for line in lines if line.split()[0] not in words]

    assert lines[1:4] == ["set throughput", "want", "cycles sm__cycles_elapsed.max"]
    assert spelled == [f"{metric.role} {metric.name}" for metric in wanted(SETS)]
    assert len(plan_text(SETS)) < 65536, "more than a pipe holds would block the start"


TWINS = (
    Metric("sm_clock_mhz", "cycles", "sm__cycles_elapsed.max"),
    Metric("sm_active_pct", "sm_active", f"sm__cycles_active{PCT}"),
    Metric("fp32_active_pct", "sm_pct", f"sm__inst_executed_pipe_fmaheavy_realtime{PCT}"),
    Metric("fp32_active_pct", "sm_pct", f"sm__inst_executed_pipe_fmalite_realtime{PCT}"),
    Metric("pcie_rx_bytes_per_s", "link", "pcie__read_bytes.sum"),
    Metric("tensor_active_pct", "sm_pct", f"sm__pipe_tensor_cycles_active{PCT}"),
)


def test_columns_of_a_row_from_sums_and_weights():
    """Twin pipes are averaged, bytes become a rate, nothing is made of a weight of 0."""
    cycles = 1.5e8
    values = column_values(
        TWINS,
        (cycles, 60.0 * cycles, 90.0 * cycles, 30.0 * cycles, 5e6, 0.0),
        (1e8, cycles, cycles, cycles, 1e8, 0.0),
    )

    assert values == pytest.approx(
        {
            "sm_clock_mhz": 1500.0,
            "sm_active_pct": 60.0,
            "fp32_active_pct": 60.0,
            "pcie_rx_bytes_per_s": 5e7,
        }
    )


def test_columns_of_samples():
    """The clock of each sample, twins averaged, a quotient; what the table lacks is left out."""
    metrics = (
        *TWINS[:5],
        Metric("sectors_per_request", "count", "lts__t_sectors.sum"),
        Metric("requests", "count", "lts__t_requests.sum"),
    )
    values = [[15_000, 99_000], [60, 50], [90, 80], [30, 20], [7, 7], [400, 30], [100, 20]]
    columns = sampled_columns(
        metrics, np.array(values, np.float32), np.array([10_000, 50_000], np.float32)
    )

    assert {name: list(column) for name, column in columns.items()} == {
        "sm_clock_mhz": [1500.0, 1980.0],
        "sm_active_pct": [60.0, 50.0],
        "fma_active_pct": [60.0, 50.0],
        "sectors_per_request": [4.0, 1.5],
    }
