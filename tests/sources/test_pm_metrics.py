"""The table of metric sets, held against the real CUPTI host library and its arithmetic."""

from pathlib import Path

import pytest

from gnomon import tables
from gnomon.sources._pm_metrics import column_values, metric_sets, plan_text
from tests.sources import cupti_host

# Counter availability as an H200 gave it under driver 580.159 (GH100, no NVLink visible).
AVAILABILITY = Path(__file__).parents[1] / "data/cupti/h200_driver580.availability"
SETS = metric_sets()
CHIPS = sorted({each.chip for each in SETS})


@pytest.fixture(scope="module")
def cupti13():
    return cupti_host.library("cu13")


def of(chip):
    return [[metric.name for metric in each.metrics] for each in SETS if each.chip == chip]


@pytest.mark.parametrize("chip", CHIPS)
def test_every_set_fits_one_pass(cupti13, chip):
    answers = [cupti13.config(chip, metrics) for metrics in of(chip)]

    assert answers
    assert [passes for passes, _size in answers] == [1] * len(answers)


@pytest.mark.parametrize("chip", ["GH100", "GA100", "GA102", "AD102"])
def test_the_oldest_library_agrees(chip):
    with cupti_host.own_process("cuda_cupti") as config:
        answers = [config(chip, metrics) for metrics in of(chip)]

    assert [passes for passes, _size in answers] == [1] * len(answers)


def test_on_a_real_h200_the_set_without_nvlink_is_taken(cupti13):
    """With the counters that the driver really offered; also measured on that GPU."""
    availability = AVAILABILITY.read_bytes()
    first, second, *_ = of("GH100")

    assert cupti13.config("GH100", first, availability) is None
    passes, _size = cupti13.config("GH100", second, availability)
    assert passes == 1


def is_wide(host, chip, metrics):
    """No metric makes the config image smaller: narrow counters would (see _pm_metrics)."""
    sizes = [host.config(chip, metrics[: count + 1])[1] for count in range(len(metrics))]
    return sizes == sorted(sizes)


@pytest.mark.parametrize("chip", CHIPS)
def test_every_set_keeps_the_counters_wide(cupti13, chip):
    assert all(is_wide(cupti13, chip, metrics) for metrics in of(chip))


def test_the_set_that_was_slow_on_an_h200_is_told_from_them(cupti13):
    """This one took 16 to 25 % of a core; without its last two it would be wide."""
    tpc = "TPC.TriageCompute."
    slow = [
        "sm__cycles_elapsed.max",
        *(
            f"{tpc}{name}.avg.pct_of_peak_sustained_elapsed"
            for name in (
                "sm__cycles_active",
                "sm__pipe_tensor_cycles_active_realtime",
                "sm__pipe_tensor_op_hmma_cycles_active_realtime",
                "sm__pipe_tensor_op_imma_cycles_active_realtime",
                "sm__pipe_fp64_cycles_active_realtime",
                "sm__inst_executed_pipe_fma_realtime",
            )
        ),
    ]

    assert not is_wide(cupti13, "GH100", slow)
    assert is_wide(cupti13, "GH100", slow[:-2])


def test_every_column_exists_and_the_first_metric_is_the_clock():
    for each in SETS:
        assert {metric.column for metric in each.metrics} <= set(tables.GPU_COUNTERS.column_names)
        assert [metric.role for metric in each.metrics].index("cycles") == 0


def test_the_plan_spells_each_set():
    lines = plan_text(SETS[:1]).splitlines()

    assert lines[0] == "chip GH100 time"
    assert lines[1] == "cycles sm__cycles_elapsed.max"
    assert len(lines) == 1 + len(SETS[0].metrics)
    assert len(plan_text(SETS)) < 65536, "more than a pipe holds would block the start"


def test_columns_from_sums_and_weights():
    """Twin pipes are averaged, bytes added, nothing is made of a weight of 0."""
    ada = next(each for each in SETS if each.chip == "AD102")
    sums = {"cycles": 1.5e8, "sm_active": 60.0 * 1.5e8, "time_pct": 40.0 * 1e8, "link": 5e6}
    weights = {"cycles": 1e8, "sm_active": 1.5e8, "time_pct": 1e8, "link": 1e8}
    fma = iter((90.0, 30.0, 0.0))
    values = column_values(
        ada.metrics,
        tuple(
            next(fma) if "fma" in metric.name else sums.get(metric.role, 0.0)
            for metric in ada.metrics
        ),
        tuple(
            1.0 if "fma" in metric.name else weights.get(metric.role, 0.0) for metric in ada.metrics
        ),
    )

    assert values["sm_clock_mhz"] == pytest.approx(1500.0)
    assert values["sm_active_pct"] == pytest.approx(60.0)
    assert values["fp32_active_pct"] == pytest.approx(60.0)
    assert values["dram_active_pct"] == pytest.approx(40.0)
    assert values["pcie_rx_bytes_per_s"] == pytest.approx(5e7)
    assert "tensor_active_pct" not in values
