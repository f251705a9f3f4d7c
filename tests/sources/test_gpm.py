"""The gpm source against a compiled stand-in for NVIDIA's library."""

import csv
import ctypes
from pathlib import Path

import pytest

from gnomon import configuration
from gnomon._errors import SourceError
from gnomon.sources import gpm as gpm_module
from gnomon.sources._gpm_metrics import METRICS
from gnomon.sources._gpm_sampler import CycleClock
from gnomon.sources.gpm import GpmSource, create
from tests.standins import DEFAULT_UUID

UUID = DEFAULT_UUID.format(index=0)
SLICE = Path(__file__).parents[1] / "standins/data/h200_gpm_slice.csv"
# Header of the CSV -> GPM id, as the program that measured it named them.
CSV_IDS = {
    "graphics_util": 1,
    "sm_util": 2,
    "sm_occupancy": 3,
    "int_util": 4,
    "tensor_util": 5,
    "dfma_util": 6,
    "hmma_util": 7,
    "imma_util": 9,
    "dram_util": 10,
    "fp64_util": 11,
    "fp32_util": 12,
    "fp16_util": 13,
    "pcie_tx_mib_s": 20,
    "pcie_rx_mib_s": 21,
}


@pytest.fixture
def source(nvml, clock, opened):
    return lambda **options: opened(GpmSource(**options))


@pytest.fixture(autouse=True)
def _no_window_in_check(monkeypatch, request):
    """check() waits for a real window; with a clock of our own it need not."""
    if "clock" in request.fixturenames:
        clock = request.getfixturevalue("clock")
        monkeypatch.setattr(gpm_module.time, "sleep", clock.advance)


def counters(source, rows_of):
    return rows_of(source.read(), "gpu_counters")


# --- check ---------------------------------------------------------------------------------------


def test_a_hopper_is_ready(nvml, clock):
    nvml.set("gpm.60", 0)
    nvml.set("gpm.61", 0)

    answer = GpmSource().check()

    assert answer.ready
    assert answer.missing == ()


def test_an_old_driver_has_no_gpm_and_the_remedy_is_an_update(use_nvml, nvml_standin_470):
    use_nvml(nvml_standin_470).text("nvmlSystemGetDriverVersion", "470.256.02")

    answer = GpmSource().check()

    assert not answer.ready
    assert answer.reason == "NVIDIA driver 470.256.02 is too old for GPM counters"
    assert answer.remedy == "update the driver to 520 or newer"


@pytest.mark.parametrize("way", ["says no", "refuses the question"])
def test_a_gpu_before_hopper_is_named(nvml, way):
    nvml.text("nvmlDeviceGetName", "NVIDIA A100-SXM4-80GB")
    nvml.set("nvmlDeviceGetCudaComputeCapability.major", 8)
    nvml.set("nvmlGpmQueryDeviceSupport", 0)
    if way == "refuses the question":
        nvml.fail("nvmlGpmQueryDeviceSupport", 3)

    answer = GpmSource().check()

    assert not answer.ready
    assert "GPU 0 (NVIDIA A100-SXM4-80GB) is older than Hopper" in answer.reason
    assert "pm source" in answer.remedy


def test_a_newer_board_without_gpm_is_not_called_old(nvml):
    nvml.set("nvmlDeviceGetCudaComputeCapability.major", 12)
    nvml.set("nvmlGpmQueryDeviceSupport", 0)

    answer = GpmSource().check()

    assert not answer.ready
    assert "offers no GPM counters" in answer.reason


def test_no_permission_is_told_with_its_remedy(nvml):
    nvml.fail("nvmlGpmSampleGet", 4)

    answer = GpmSource().check()

    assert not answer.ready
    assert "does not permit" in answer.reason
    assert "root" in answer.remedy


def test_an_unknown_error_is_told_by_its_number(nvml):
    nvml.fail("nvmlGpmSampleGet", 999)

    answer = GpmSource().check()

    assert not answer.ready
    assert "999" in answer.reason


def test_of_mixed_gpus_those_that_can_are_measured(use_nvml, nvml_standin, clock, opened, rows_of):
    scenario = use_nvml(nvml_standin, gpus=2)
    scenario.set("nvmlGpmQueryDeviceSupport", 0, gpu=0)
    scenario.set("nvmlDeviceGetCudaComputeCapability.major", 8, gpu=0)

    answer = GpmSource().check()
    reading = opened(GpmSource())
    clock.advance(1)

    assert answer.ready
    assert [m.gpu_uuid for m in answer.missing if m.metric == "gpm"] == [UUID]
    assert [row["gpu_uuid"] for row in counters(reading, rows_of)] == [DEFAULT_UUID.format(index=1)]


# --- rows ----------------------------------------------------------------------------------------


def test_a_measured_recording_comes_out_as_it_went_in(nvml, source, clock, rows_of):
    """Twenty windows of a real H200, replayed through the library boundary."""
    with SLICE.open() as file:
        measured = list(csv.DictReader(line for line in file if not line.startswith("#")))
    for name, metric in CSV_IDS.items():
        nvml.set(f"gpm.{metric}", *(row[name] for row in measured))
    nvml.set("nvmlDeviceGetClockInfo.1", measured[0]["sm_mhz"], *(r["sm_mhz"] for r in measured))
    reading = source(period_ns=100_000_000)
    columns = {metric.id: metric for metric in METRICS}
    rows = []
    for _ in measured:
        clock.advance(0.1)
        rows += counters(reading, rows_of)

    assert len(rows) == len(measured) == 20
    for row, truth in zip(rows, measured, strict=True):
        for name, metric in CSV_IDS.items():
            scale = 2**20 if name.endswith("_mib_s") else 1
            assert row[columns[metric].column] == pytest.approx(float(truth[name]) * scale)
        assert row["duration_ns"] == 100_000_000
    ends = [float(row["sm_mhz"]) for row in measured]
    assert rows[5]["sm_clock_mhz"] == pytest.approx((ends[4] + ends[5]) / 2)
    assert rows[5]["sm_clock_source"] == "nvml"
    assert rows[5]["memory_clock_mhz"] == 3201


def test_every_id_goes_into_its_own_column(nvml, source, clock, rows_of):
    """Ids as nvml.h numbers them: NVML_GPM_METRIC_*."""
    columns = {
        1: "engine_active_pct",
        2: "sm_active_pct",
        3: "sm_occupancy_pct",
        4: "integer_active_pct",
        5: "tensor_active_pct",
        6: "tensor_dfma_active_pct",
        7: "tensor_hmma_active_pct",
        8: "tensor_dmma_active_pct",
        9: "tensor_imma_active_pct",
        10: "dram_active_pct",
        11: "fp64_active_pct",
        12: "fp32_active_pct",
        13: "fp16_active_pct",
        20: "pcie_tx_bytes_per_s",
        21: "pcie_rx_bytes_per_s",
        60: "nvlink_rx_bytes_per_s",
        61: "nvlink_tx_bytes_per_s",
    }
    for metric in columns:
        nvml.set(f"gpm.{metric}", metric)
    reading = source()
    clock.advance(1)

    [row] = counters(reading, rows_of)

    for metric, column in columns.items():
        assert row[column] == metric * (2**20 if column.endswith("_per_s") else 1)


def test_nan_and_a_refused_metric_drop_out_alone(nvml, source, clock, rows_of):
    nvml.set("gpm.2", "nan", 80)
    nvml.fail("gpm.13", 3)
    reading = source()
    clock.advance(1)
    [first] = counters(reading, rows_of)
    clock.advance(1)
    [second] = counters(reading, rows_of)

    assert "sm_active_pct" not in first
    assert second["sm_active_pct"] == 80
    assert "fp16_active_pct" not in second
    assert first["tensor_active_pct"] == 0
    missing = {m.metric for m in reading.describe().missing}
    assert "fp16_active_pct" in missing
    assert "sm_active_pct" not in missing


def test_a_window_in_which_nothing_was_counted_is_a_loss_not_an_idle_gpu(nvml, source, clock):
    opened = source()
    nvml.set("gpm.10", "nan")
    nvml.set("gpm.20", 0)
    nvml.set("gpm.21", 0)
    clock.advance(1)

    [batch] = opened.read()

    assert batch.table == "losses"
    assert [(row["rows"], row["reason"]) for row in batch.rows] == [(1, "void_reading")]


def test_a_refused_metric_is_not_asked_again(nvml, source, clock, rows_of):
    nvml.set("gpm.60", 5)
    nvml.fail("gpm.60", 2, last=1)
    reading = source()
    for _ in range(3):
        clock.advance(1)
        [row] = counters(reading, rows_of)
        assert "nvlink_rx_bytes_per_s" not in row


def test_a_share_a_little_over_100_is_100_and_an_impossible_one_is_none(
    nvml, source, clock, rows_of
):
    nvml.set("gpm.1", 100.2)
    nvml.set("gpm.2", 4000)
    reading = source()
    clock.advance(1)

    [row] = counters(reading, rows_of)

    assert row["engine_active_pct"] == 100
    assert "sm_active_pct" not in row


def test_no_row_comes_from_a_window_below_100_ms(nvml, source, clock, rows_of):
    reading = source(period_ns=20_000_000)
    rows = []
    for _ in range(25):
        clock.advance(0.02)
        rows += counters(reading, rows_of)

    assert [row["duration_ns"] for row in rows] == [100_000_000] * 5
    assert "below the counters' window" in reading.warnings()[0]
    assert GpmSource(100_000_000).warnings() == ()


def test_eight_gpus_have_eight_rows(use_nvml, nvml_standin, clock, opened, rows_of):
    scenario = use_nvml(nvml_standin, gpus=8)
    for index in range(8):
        scenario.set("gpm.5", index * 10, gpu=index)
    reading = opened(GpmSource())
    clock.advance(1)

    rows = counters(reading, rows_of)

    assert {row["gpu_uuid"]: row["tensor_active_pct"] for row in rows} == {
        DEFAULT_UUID.format(index=index): index * 10 for index in range(8)
    }


def test_close_frees_every_sample(use_nvml, nvml_standin, clock):
    use_nvml(nvml_standin, gpus=8)
    alive = ctypes.CDLL(str(nvml_standin)).standin_gpm_samples_alive
    before = alive()
    reading = GpmSource()
    reading.open()
    assert alive() - before == 16
    clock.advance(1)
    reading.read()
    reading.close()
    reading.close()

    assert alive() == before


# --- the SM clock --------------------------------------------------------------------------------


@pytest.mark.parametrize("sms", [1, 132])
def test_cumulative_cycles_give_the_true_clock(nvml, source, clock, rows_of, sms):
    """Whether the driver counts the mean SM or all 132; untested on hardware."""
    nvml.set("gpm.248", 10**15, *(10**15 + n * 1346_000_000 * sms for n in (1, 2)))
    nvml.set("nvmlDeviceGetClockInfo.1", 1489)
    reading = source()
    clock.advance(1)
    [first] = counters(reading, rows_of)
    clock.advance(1)
    [second] = counters(reading, rows_of)

    assert (first["sm_clock_mhz"], first["sm_clock_source"]) == (1489, "nvml")
    assert second["sm_clock_mhz"] == pytest.approx(1346)
    assert second["sm_clock_source"] == "gpm"


def test_an_impossible_or_reset_cycle_count_is_no_clock():
    cycles = CycleClock(1980.0, 132)

    assert cycles.mhz(5e12, 0) is None
    assert cycles.mhz(1e12, 10**9) is None
    assert cycles.mhz(1e12 + 1e13, 2 * 10**9) is None
    assert cycles.mhz(None, 3 * 10**9) is None
    assert CycleClock(None, 132).mhz(1.0, 1) is None


# --- MIG, losses ---------------------------------------------------------------------------------


def test_mig_gpu_instances_have_rows_of_their_own(nvml, source, clock, rows_of):
    """MIG is untested on hardware: the answers are scripted from nvml.h."""
    first = nvml.add_mig(0, gpu_instance=7)
    second = nvml.add_mig(0, gpu_instance=9)
    shared = nvml.add_mig(0, gpu_instance=9, compute_instance=1)
    nvml.set("gpm.2", 12.5, gpu="0/0")
    nvml.set("gpm.2", 75, gpu="0/1")
    reading = source()
    clock.advance(1)

    rows = {row["mig_uuid"]: row for row in counters(reading, rows_of)}

    assert set(rows) == {None, first, second}
    assert rows[first]["sm_active_pct"] == 12.5
    assert rows[second]["sm_active_pct"] == 75
    assert rows[second]["gpu_uuid"] == UUID
    assert f"gpm of {shared}" in {m.metric for m in reading.describe().missing}


def test_mig_instances_that_come_and_go_are_followed(nvml, source, clock, rows_of):
    nvml.add_mig(0, gpu_instance=7)
    reading = source()
    clock.advance(1)
    assert len(counters(reading, rows_of)) == 2
    added = nvml.add_mig(0, gpu_instance=9)
    clock.advance(6)
    counters(reading, rows_of)
    clock.advance(1)
    rows = counters(reading, rows_of)

    assert len(rows) == 3
    assert added in {row["mig_uuid"] for row in rows}


def test_a_lost_gpu_is_left_out(use_nvml, nvml_standin, clock, opened, rows_of):
    scenario = use_nvml(nvml_standin, gpus=2)
    reading = opened(GpmSource())
    scenario.fail("*", 15, gpu=0)
    for _ in range(2):
        clock.advance(1)
        rows = counters(reading, rows_of)
        assert [row["gpu_uuid"] for row in rows] == [DEFAULT_UUID.format(index=1)]

    assert "gpm" in {m.metric for m in reading.describe().missing if m.gpu_uuid == UUID}


def test_one_failed_window_costs_one_row(nvml, source, clock, rows_of):
    reading = source()
    nvml.fail("nvmlGpmMetricsGet", 999, first=1, last=1)
    clock.advance(1)
    assert counters(reading, rows_of) == []
    clock.advance(1)

    [row] = counters(reading, rows_of)

    assert row["duration_ns"] == 10**9


def test_after_a_driver_reload_reading_goes_on(nvml, source, clock, rows_of):
    reading = source()
    nvml.add("epoch 1")
    clock.advance(1)
    assert reading.read() == []
    clock.advance(1)
    assert reading.read() == []  # new first samples
    clock.advance(1)

    assert len(counters(reading, rows_of)) == 1


def test_while_the_driver_is_away_reading_says_so(nvml, source, clock):
    reading = source()
    nvml.add("epoch 1")
    nvml.fail("nvmlInitWithFlags", 9)
    clock.advance(1)

    with pytest.raises(SourceError, match="driver stopped answering"):
        reading.read()


def test_both_sources_survive_one_reload(nvml, clock, opened, rows_of):
    from gnomon.sources.nvml import NvmlSource

    first, second = opened(NvmlSource()), opened(GpmSource())
    nvml.add("epoch 1")
    for _ in range(3):
        clock.advance(1)
        counts = len(counters(first, rows_of)), len(counters(second, rows_of))

    assert counts == (1, 1)


def test_create_takes_its_period_from_the_settings(nvml):
    assert create(configuration.Settings(gpm_period_s=0.1)).period_ns == 100_000_000
