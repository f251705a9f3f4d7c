"""The nvml source against a compiled stand-in for NVIDIA's library."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gnomon import configuration
from gnomon._errors import SourceError
from gnomon.recording import base as recording_base
from gnomon.sources import nvml as nvml_module
from gnomon.sources.nvml import NvmlSource, create
from tests.standins import DEFAULT_UUID, library_environment

UUID = DEFAULT_UUID.format(index=0)


@pytest.fixture
def source(nvml, clock, opened):
    return lambda **options: opened(NvmlSource(**options))


def counters(source, rows_of):
    return rows_of(source.read(), "gpu_counters")


# --- check ---------------------------------------------------------------------------------------


def test_without_a_driver_the_remedy_names_the_demo(monkeypatch):
    import pynvml

    from gnomon.sources import _nvml_session

    def not_found(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(pynvml, "CDLL", not_found)
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setattr(_nvml_session, "SESSION", _nvml_session.Session())

    answer = NvmlSource().check()

    assert not answer.ready
    assert answer.reason == "no NVIDIA driver: libnvidia-ml.so.1 not found"
    assert "gnomon demo" in answer.remedy


@pytest.mark.parametrize(
    ("code", "reason", "remedy"),
    [
        (9, "kernel module is not loaded", "modprobe nvidia"),
        (4, "no permission to open /dev/nvidiactl", "group"),
        (18, "different driver versions", "reboot"),
        (999, "error 999", "dmesg"),
    ],
)
def test_check_says_why_nvml_does_not_start(nvml, code, reason, remedy):
    nvml.fail("nvmlInitWithFlags", code)

    answer = NvmlSource().check()

    assert not answer.ready
    assert reason in answer.reason
    assert remedy in answer.remedy


def test_a_driver_without_gpus_is_told_from_no_driver(use_nvml, nvml_standin):
    use_nvml(nvml_standin, gpus=0)

    answer = NvmlSource().check()

    assert not answer.ready
    assert "lists no GPU" in answer.reason


def test_check_lists_what_the_gpu_refuses_and_leaves_nothing_open(nvml):
    answer = NvmlSource().check()

    assert answer.ready
    assert [(m.metric, m.gpu_uuid) for m in answer.missing] == [("fan_pct", UUID)]
    assert "not supported" in answer.missing[0].reason
    import pynvml

    with pytest.raises(pynvml.NVMLError) as refused:
        pynvml.nvmlShutdown()
    assert refused.value.value == pynvml.NVML_ERROR_UNINITIALIZED


def test_one_gpu_without_permission_does_not_hide_the_others(use_nvml, nvml_standin, rows_of):
    scenario = use_nvml(nvml_standin, gpus=2)
    scenario.fail("nvmlDeviceGetHandleByIndex_v2", 4, gpu=1)

    answer = NvmlSource().check()

    assert answer.ready
    reasons = {m.metric: m.reason for m in answer.missing}
    assert reasons["GPU 1"] == "no permission to open GPU 1"


def test_no_permission_on_any_gpu_is_the_reason(nvml):
    nvml.fail("nvmlDeviceGetHandleByIndex_v2", 4)

    answer = NvmlSource().check()

    assert not answer.ready
    assert "no permission" in answer.reason
    assert "/dev/nvidia0" in answer.remedy


# --- counters ------------------------------------------------------------------------------------


def test_a_row_holds_what_nvml_says(nvml, source, clock, rows_of):
    nvml.set("nvmlDeviceGetUtilizationRates.gpu", 97)
    nvml.set("nvmlDeviceGetUtilizationRates.memory", 41)
    nvml.set("nvmlDeviceGetFanSpeed", 30)
    nvml.set("nvmlDeviceGetClockInfo.1", 1605)
    nvml.set("nvmlDeviceGetCurrentClocksEventReasons", 0x4 | 0x20)
    nvml.set("nvmlDeviceGetRemappedRows.corrected", 2)
    nvml.set("nvmlDeviceGetRemappedRows.uncorrected", 1)
    reading = source()
    clock.advance(1)

    [row] = counters(reading, rows_of)

    expected = {
        "gpu_uuid": UUID,
        "source": "nvml",
        "duration_ns": 10**9,
        "busy_pct": 97.0,
        "memory_busy_pct": 41.0,
        "encoder_pct": 0.0,
        "fan_pct": 30.0,
        "sm_clock_mhz": 1605.0,
        "sm_clock_source": "nvml",
        "memory_clock_mhz": 3201.0,
        "throttle_reasons": 0x24,
        "temperature_celsius": 35.0,
        "memory_temperature_celsius": 41.0,
        "power_limit_watts": 700.0,
        "power_instant_watts": 115.455,
        "vram_used_bytes": 644939776,
        "vram_total_bytes": 150754820096,
        "performance_state": 0,
        "pcie_generation": 5,
        "pcie_lanes": 16,
        "ecc_uncorrected": 0,
        "remapped_rows": 3,
    }
    assert {key: row[key] for key in expected} == expected
    assert row.get("mig_uuid") is None
    assert row["reading_cost_ns"] > 0


def test_power_is_energy_over_the_interval(nvml, source, clock, rows_of):
    nvml.set("field.83", 1_000_000, 1_350_000, 2_050_000)  # mJ
    reading = source()
    clock.advance(2)
    [first] = counters(reading, rows_of)
    clock.advance(4)
    [second] = counters(reading, rows_of)

    assert first["energy_joules"] == pytest.approx(350)
    assert first["power_watts"] == pytest.approx(175)
    assert second["power_watts"] == pytest.approx(175)


def test_costly_counters_keep_their_own_period(nvml, source, clock, rows_of):
    """At 10 Hz energy is read every 2 s, and covers them."""
    nvml.set("field.83", 1_000_000, 2_400_000)
    reading = source(period_ns=100_000_000)
    rows = []
    for _ in range(20):
        clock.advance(0.1)
        rows += counters(reading, rows_of)

    powers = [row.get("power_watts") for row in rows]
    assert powers[:-1] == [None] * 19
    assert powers[-1] == pytest.approx(700)
    assert all("power_instant_watts" in row for row in rows)


def test_where_the_energy_field_is_refused_its_own_call_is_asked(nvml, source, clock, rows_of):
    nvml.fail("field.83", 3)
    nvml.set("nvmlDeviceGetTotalEnergyConsumption", 0, 500_000)
    reading = source()
    clock.advance(2)
    # The field is refused in the first reading, its call starts in the second.
    counters(reading, rows_of)
    clock.advance(2)
    [row] = counters(reading, rows_of)

    assert row["power_watts"] == pytest.approx(250)
    assert "energy_joules" not in {m.metric for m in reading.describe().missing}


def test_throttle_durations_are_growth_within_the_row(nvml, source, clock, rows_of):
    """Field ids as nvml.h numbers them."""
    columns = {
        74: "throttle_sw_power_cap_ns",
        76: "throttle_sync_boost_ns",
        269: "throttle_sw_thermal_ns",
        270: "throttle_hw_thermal_ns",
        271: "throttle_hw_power_brake_ns",
    }
    for field in columns:
        nvml.set(f"field.{field}", 5_000_000_000, 5_000_000_000 + field, 5_000_000_000 + field)
    reading = source()
    clock.advance(2)
    [first] = counters(reading, rows_of)
    clock.advance(2)
    [second] = counters(reading, rows_of)

    assert {column: first[column] for column in columns.values()} == {
        column: field for field, column in columns.items()
    }
    assert {second[column] for column in columns.values()} == {0}


def test_growth_over_a_missed_reading_belongs_to_no_row(nvml, source, clock, rows_of):
    reading = source()
    clock.advance(2)
    counters(reading, rows_of)
    nvml.fail("field.74", 999, first=1, last=1)
    clock.advance(2)
    [failed] = counters(reading, rows_of)
    clock.advance(2)
    [after] = counters(reading, rows_of)
    clock.advance(2)
    [later] = counters(reading, rows_of)

    assert "throttle_sw_power_cap_ns" not in failed
    assert "throttle_sw_power_cap_ns" not in after
    assert later["throttle_sw_power_cap_ns"] == 0


def test_a_reset_counter_gives_null_not_a_negative_value(nvml, source, clock, rows_of):
    nvml.set("field.83", 9_000_000, 5)
    reading = source()
    clock.advance(1)
    [row] = counters(reading, rows_of)

    assert "energy_joules" not in row
    assert "power_watts" not in row


def test_slow_calls_keep_their_own_period_and_are_never_repeated(nvml, source, clock, rows_of):
    reading = source(period_ns=100_000_000)
    with_busy, with_limit = 0, 0
    for _ in range(50):
        clock.advance(0.1)
        [row] = counters(reading, rows_of)
        with_busy += "busy_pct" in row
        with_limit += "power_limit_watts" in row

    assert with_busy == 5
    assert with_limit == 1
    assert "once a second" in reading.warnings()[0]
    assert NvmlSource().warnings() == ()


# --- failing metrics -----------------------------------------------------------------------------


def test_a_metric_fails_alone_and_comes_back(nvml, source, clock, rows_of):
    reading = source()
    directive = nvml.fail("nvmlDeviceGetUtilizationRates", 999)
    clock.advance(1)
    [row] = counters(reading, rows_of)

    assert "busy_pct" not in row
    assert row["sm_clock_mhz"] == 450
    missing = {m.metric: m.reason for m in reading.describe().missing}
    assert "999" in missing["busy_pct"]

    nvml.remove(directive)
    clock.advance(1)
    [row] = counters(reading, rows_of)

    assert row["busy_pct"] == 0
    assert "busy_pct" not in {m.metric for m in reading.describe().missing}


@pytest.mark.parametrize("code", [2, 3, 4, 13, 25, 26])
def test_a_refused_metric_is_not_asked_again_until_reopened(nvml, source, clock, rows_of, code):
    nvml.set("nvmlDeviceGetFanSpeed", 55)
    nvml.fail("nvmlDeviceGetFanSpeed", code, last=1)
    reading = source()
    for _ in range(3):
        clock.advance(10)
        [row] = counters(reading, rows_of)
        assert "fan_pct" not in row

    reading.close()
    reading.open()
    clock.advance(10)
    [row] = counters(reading, rows_of)

    assert row["fan_pct"] == 55


@pytest.mark.parametrize(
    ("key", "value", "column"),
    [
        ("field.186", 0xFFFFFFFF, "power_instant_watts"),
        ("field.82", 2147483632, "memory_temperature_celsius"),
        ("field.82", "nan", "memory_temperature_celsius"),
        ("field.83", 9223372036854775792, "energy_joules"),
        ("nvmlDeviceGetMemoryInfo.used", 9223372036854775792, "vram_used_bytes"),
        ("nvmlDeviceGetUtilizationRates.gpu", 2147483632, "busy_pct"),
        ("nvmlDeviceGetUtilizationRates.gpu", 255, "busy_pct"),
        ("nvmlDeviceGetClockInfo.1", 0xFFFFFFFF, "sm_clock_mhz"),
        ("nvmlDeviceGetTotalEccErrors.corrected", 0xFFFFFFFFFFFFFFFF, "ecc_corrected"),
    ],
)
def test_blank_values_are_dropped(nvml, source, clock, rows_of, key, value, column):
    nvml.set(key, value)
    reading = source()
    clock.advance(1)

    [row] = counters(reading, rows_of)

    assert column not in row
    assert "temperature_celsius" in row


def test_pcie_counters_wrap_at_32_bits(use_nvml, nvml_standin_470, clock, opened, rows_of):
    """Read where the link cannot wrap them twice between readings."""
    scenario = use_nvml(nvml_standin_470)
    scenario.set("nvmlDeviceGetMaxPcieLinkGeneration", 3)
    scenario.set("nvmlDeviceGetMaxPcieLinkWidth", 2)
    scenario.set("field.197", 2**32 - 1000, 500_000_000)
    scenario.set("field.198", 0, 7000)
    reading = opened(NvmlSource())
    clock.advance(1)

    [row] = counters(reading, rows_of)

    assert row["pcie_tx_bytes_per_s"] == 500_001_000
    assert row["pcie_rx_bytes_per_s"] == 7000


def test_pcie_is_null_with_a_reason_where_a_wrap_could_hide(
    use_nvml, nvml_standin_470, clock, opened, rows_of
):
    use_nvml(nvml_standin_470)
    reading = opened(NvmlSource())
    clock.advance(1)

    [row] = counters(reading, rows_of)

    assert "pcie_tx_bytes_per_s" not in row
    missing = {m.metric: m for m in reading.describe().missing}
    assert "wraps at 4 GiB" in missing["pcie_tx_bytes_per_s"].reason
    assert "read at least every 0.05 s" in missing["pcie_rx_bytes_per_s"].remedy


def test_nvlink_is_counted_in_kib_where_gpm_is_absent(
    use_nvml, nvml_standin_470, clock, opened, rows_of
):
    scenario = use_nvml(nvml_standin_470)
    scenario.set("field.138", 10, 10 + 2048)
    scenario.set("field.139", 0, 0)
    reading = opened(NvmlSource())
    clock.advance(2)

    [row] = counters(reading, rows_of)

    assert row["nvlink_tx_bytes_per_s"] == 1024 * 1024
    assert row["nvlink_rx_bytes_per_s"] == 0


def test_links_are_left_to_gpm_where_there_is_gpm(nvml, source, clock, rows_of):
    reading = source()
    clock.advance(1)
    [row] = counters(reading, rows_of)

    assert "pcie_tx_bytes_per_s" not in row
    assert "pcie_tx_bytes_per_s" not in {m.metric for m in reading.describe().missing}


def test_an_old_driver_answers_by_older_calls(use_nvml, nvml_standin_470, clock, opened, rows_of):
    scenario = use_nvml(nvml_standin_470)
    scenario.text("nvmlSystemGetDriverVersion", "470.256.02")
    reading = opened(NvmlSource())
    clock.advance(1)
    [row] = counters(reading, rows_of)

    assert row["throttle_reasons"] == 1
    assert row["temperature_celsius"] == 35
    assert reading.describe().host["driver_version"] == "470.256.02"


# --- facts ---------------------------------------------------------------------------------------


def test_facts_have_the_keys_that_meta_names(nvml, source):
    nvml.set("field.91", 18)
    named = recording_base.Meta.__doc__.split("gpu_facts``):")[1].split("A fact that")[0]
    keys = {word.split(" (")[0].strip(" .\n") for word in named.split(",")}

    facts = source().describe().gpus[UUID]

    assert set(facts) == keys
    assert facts["sm_count"] == 132
    assert facts["compute_capability"] == "9.0"
    assert facts["power_limit_min_watts"] == 200.0
    assert facts["nvlink_count"] == 18
    assert facts["ecc_mode"] is True
    assert facts["mig_mode"] is False


def test_a_refused_fact_is_absent(nvml, source):
    nvml.fail("nvmlDeviceGetEccMode", 3)

    facts = source().describe().gpus[UUID]

    assert "ecc_mode" not in facts
    assert "nvlink_count" not in facts


def test_an_unknown_gpu_is_named_as_it_names_itself(nvml, source, clock, rows_of):
    nvml.text("nvmlDeviceGetName", "NVIDIA Z9000 Prototype")
    nvml.set("nvmlDeviceGetCudaComputeCapability.major", 42)
    reading = source()
    clock.advance(1)

    facts = reading.describe().gpus[UUID]

    assert facts["name"] == "NVIDIA Z9000 Prototype"
    assert facts["compute_capability"] == "42.0"
    assert "sm_count" not in facts  # lanes per SM are not known: better absent than guessed
    assert counters(reading, rows_of)


# --- losing GPUs and drivers ---------------------------------------------------------------------


def test_a_lost_gpu_is_left_out_and_the_others_go_on(
    use_nvml, nvml_standin, clock, opened, rows_of
):
    scenario = use_nvml(nvml_standin, gpus=8)
    reading = opened(NvmlSource())
    clock.advance(1)
    assert len(counters(reading, rows_of)) == 8

    directive = scenario.fail("*", 15, gpu=3)
    clock.advance(1)
    batches = reading.read()
    lost_uuid = DEFAULT_UUID.format(index=3)
    [event] = rows_of(batches, "events")
    assert (event["kind"], event["severity"], event["gpu_uuid"]) == (
        "gpu_lost",
        "critical",
        lost_uuid,
    )
    clock.advance(1)
    batches = reading.read()
    left = {row["gpu_uuid"] for row in rows_of(batches, "gpu_counters")}
    assert left == {DEFAULT_UUID.format(index=i) for i in range(8)} - {lost_uuid}
    assert rows_of(batches, "events") == []
    assert ("gpu", lost_uuid) in {(m.metric, m.gpu_uuid) for m in reading.describe().missing}
    assert lost_uuid in reading.describe().gpus

    scenario.remove(directive)
    clock.advance(6)
    [event] = rows_of(reading.read(), "events")
    assert (event["kind"], event["gpu_uuid"]) == ("gpu_returned", lost_uuid)
    clock.advance(1)
    back = [r for r in counters(reading, rows_of) if r["gpu_uuid"] == lost_uuid]
    assert len(back) == 1
    assert back[0]["duration_ns"] == 10**9


def test_a_gpu_that_is_lost_from_the_start_is_an_event_of_the_first_reading(
    use_nvml, nvml_standin, clock, opened, rows_of
):
    scenario = use_nvml(nvml_standin, gpus=2)
    scenario.fail("nvmlDeviceGetFieldValues", 15, gpu=1)
    scenario.fail("nvmlDeviceGetHandleByUUID", 15, gpu=1)
    reading = opened(NvmlSource())
    clock.advance(1)

    batches = reading.read()

    assert [row["kind"] for row in rows_of(batches, "events")] == ["gpu_lost"]
    assert len(rows_of(batches, "gpu_counters")) == 1


@pytest.mark.parametrize("code", [16, 28, 999])
def test_a_gpu_that_needs_a_reset_or_answers_nothing_is_lost(
    use_nvml, nvml_standin, clock, opened, rows_of, code
):
    scenario = use_nvml(nvml_standin, gpus=2)
    reading = opened(NvmlSource())
    scenario.fail("*", code, gpu=1)
    clock.advance(1)

    batches = reading.read()

    assert [row["kind"] for row in rows_of(batches, "events")] == ["gpu_lost"]
    assert len(rows_of(batches, "gpu_counters")) == 1


def test_a_driver_reload_is_survived_and_recorded(nvml, source, clock, rows_of):
    reading = source()
    clock.advance(1)
    counters(reading, rows_of)
    nvml.add("epoch 1")
    nvml.text("nvmlSystemGetDriverVersion", "590.10.01")
    nvml.set("field.83", 500, 700_500)
    clock.advance(1)

    batches = reading.read()

    [event] = rows_of(batches, "events")
    assert event["kind"] == "driver_reloaded"
    assert (event["old_value"], event["new_value"]) == ("580.159.04", "590.10.01")
    clock.advance(2)
    [row] = counters(reading, rows_of)
    assert row["power_watts"] == pytest.approx(350)
    assert reading.describe().host["driver_version"] == "590.10.01"


def test_while_the_driver_is_away_reading_says_so_and_then_recovers(nvml, source, clock, rows_of):
    reading = source()
    reading._session.restart_interval_ns = 0
    nvml.add("epoch 1")
    directive = nvml.fail("nvmlInitWithFlags", 9)
    for _ in range(2):
        clock.advance(1)
        with pytest.raises(SourceError, match="driver stopped answering") as error:
            reading.read()
        assert "gnomon retries" in error.value.remedy

    nvml.remove(directive)
    clock.advance(1)
    batches = reading.read()

    assert [row["kind"] for row in rows_of(batches, "events")] == ["driver_reloaded"]
    clock.advance(1)
    assert len(counters(reading, rows_of)) == 1


def test_a_reload_is_recorded_also_when_the_source_is_closed_and_opened_again(
    use_nvml, nvml_standin, clock, opened, rows_of
):
    """As the collector does with a source that failed, while another source holds NVML."""
    from gnomon.sources.gpm import GpmSource

    scenario = use_nvml(nvml_standin, gpus=2)
    reading, other = opened(NvmlSource()), opened(GpmSource())
    scenario.add("epoch 1")
    away = scenario.fail("nvmlInitWithFlags", 9)
    clock.advance(1)
    for source in (reading, other):
        with pytest.raises(SourceError, match="driver stopped answering"):
            source.read()
    reading.close()
    for _ in range(2):
        with pytest.raises(SourceError):
            reading.open()
    scenario.remove(away)
    scenario.fail("*", 15, gpu=1)
    reading.open()
    clock.advance(1)

    batches = reading.read()

    assert [row["kind"] for row in rows_of(batches, "events")] == ["driver_reloaded", "gpu_lost"]
    assert len(rows_of(batches, "gpu_counters")) == 1


def test_opening_again_after_a_reload_under_another_source_restarts_nvml(
    nvml, clock, opened, rows_of
):
    from gnomon.sources.gpm import GpmSource

    opened(GpmSource())
    nvml.add("epoch 1")
    reading = NvmlSource()
    with pytest.raises(SourceError, match="driver stopped answering"):
        reading.open()
    opened(reading)
    clock.advance(1)

    assert len(counters(reading, rows_of)) == 1


def test_closing_and_opening_alone_is_no_event(nvml, source, clock, rows_of):
    reading = source()
    nvml.add("epoch 1")
    clock.advance(1)
    assert len(rows_of(reading.read(), "events")) == 1
    reading.close()
    reading.open()
    clock.advance(1)

    batches = reading.read()

    assert rows_of(batches, "events") == []
    assert len(rows_of(batches, "gpu_counters")) == 1


def test_facts_follow_a_changed_setting(nvml, source, clock):
    reading = source()
    nvml.set("nvmlDeviceGetEnforcedPowerLimit", 500000)
    clock.advance(6)
    reading.read()

    assert reading.describe().gpus[UUID]["power_limit_watts"] == 500.0


def test_a_gpu_that_a_restart_finds_gone_is_an_event(
    use_nvml, nvml_standin, clock, opened, rows_of
):
    scenario = use_nvml(nvml_standin, gpus=2)
    reading = opened(NvmlSource())
    directive = scenario.fail("*", 15, gpu=1)
    scenario.add("epoch 1")
    clock.advance(1)
    gone = rows_of(reading.read(), "events")

    assert [event["kind"] for event in gone] == ["driver_reloaded", "gpu_lost"]
    assert gone[1]["gpu_uuid"] == DEFAULT_UUID.format(index=1)
    assert "GPU 1" in {m.metric for m in reading.describe().missing}

    scenario.remove(directive)
    clock.advance(6)
    assert [e["kind"] for e in rows_of(reading.read(), "events")] == ["gpu_returned"]


def test_a_gpu_lost_for_a_minute_is_looked_for_by_a_restart_once(
    use_nvml, nvml_standin, clock, opened, rows_of
):
    scenario = use_nvml(nvml_standin, gpus=2)
    reading = opened(NvmlSource())
    reading._session.restart_interval_ns = 0
    scenario.fail("*", 15, gpu=1)
    kinds, generations = [], set()
    for _ in range(8):
        clock.advance(10)
        kinds += [event["kind"] for event in rows_of(reading.read(), "events")]
        generations.add(reading._session.generation)

    assert kinds == ["gpu_lost"]
    assert generations == {0, 1}


def test_a_blocked_call_holds_up_no_other_source(nvml, opened):
    from gnomon.sources.gpm import GpmSource

    blocked, free = opened(NvmlSource()), opened(GpmSource())
    nvml.delay("nvmlDeviceGetUtilizationRates", 700)
    thread = threading.Thread(target=blocked.read)
    thread.start()
    free.read()

    assert thread.is_alive()
    thread.join()


# --- events --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (
            "nvmlDeviceGetEnforcedPowerLimit",
            500000,
            ("power_limit_changed", "700 W", "500 W"),
        ),
        ("nvmlDeviceGetPersistenceMode", 0, ("persistence_changed", "on", "off")),
        (
            "nvmlDeviceGetEccMode.pending",
            0,
            ("ecc_mode_changed", "on", "on (off after a reset)"),
        ),
        (
            "nvmlDeviceGetMigMode.pending",
            1,
            ("mig_mode_changed", "off", "off (on after a reset)"),
        ),
        (
            "nvmlDeviceGetApplicationsClock.0",
            1200,
            (
                "clocks_policy_changed",
                "graphics 1980 MHz, memory 3201 MHz",
                "graphics 1200 MHz, memory 3201 MHz",
            ),
        ),
    ],
)
def test_a_changed_setting_is_one_event(nvml, source, clock, rows_of, key, value, expected):
    reading = source()
    clock.advance(6)
    assert rows_of(reading.read(), "events") == []
    nvml.set(key, value)
    clock.advance(6)

    [event] = rows_of(reading.read(), "events")

    assert (event["kind"], event["old_value"], event["new_value"]) == expected
    assert event["gpu_uuid"] == UUID
    clock.advance(6)
    assert rows_of(reading.read(), "events") == []


def test_new_ecc_errors_are_an_event(nvml, source, clock, rows_of):
    reading = source()
    clock.advance(1)
    reading.read()
    nvml.set("nvmlDeviceGetTotalEccErrors.uncorrected", 2)
    clock.advance(10)

    [event] = rows_of(reading.read(), "events")

    assert (event["kind"], event["severity"], event["new_value"]) == ("ecc_error", "critical", "2")


def test_an_xid_is_an_event_once(nvml, source, clock, rows_of):
    reading = source()
    nvml.add("event 0 8 79")
    clock.advance(1)
    [event] = rows_of(reading.read(), "events")
    clock.advance(1)

    assert (event["kind"], event["gpu_uuid"], event["new_value"]) == ("xid", UUID, "79")
    assert "fallen off the bus" in event["message"]
    assert rows_of(reading.read(), "events") == []


def test_where_xids_cannot_be_watched_they_are_missing_by_name(nvml, source):
    nvml.fail("nvmlDeviceRegisterEvents", 3)

    assert "xid" in {m.metric for m in source().describe().missing}


# --- MIG -----------------------------------------------------------------------------------------


def test_mig_instances_have_rows_of_their_own(nvml, source, clock, rows_of):
    """MIG is untested on hardware: the answers are scripted from nvml.h."""
    first = nvml.add_mig(0, gpu_instance=7)
    second = nvml.add_mig(0, gpu_instance=9)
    nvml.fail("nvmlDeviceGetUtilizationRates", 3)
    nvml.add("process 0/1 Compute 4242 123456")
    reading = source()
    clock.advance(2)
    batches = reading.read()

    rows = {row.get("mig_uuid"): row for row in rows_of(batches, "gpu_counters")}
    assert set(rows) == {None, first, second}
    assert rows[first]["vram_used_bytes"] == 2 * 10**9
    assert "busy_pct" not in rows[None]
    assert rows[None]["power_watts"] > 0
    [process] = rows_of(batches, "gpu_processes")
    assert (process["pid"], process["mig_uuid"]) == (4242, second)
    facts = reading.describe().gpus[UUID]
    assert facts["mig_mode"] is True
    assert facts["mig_instances"][second]["sm_count"] == 16


def test_what_one_mode_refuses_is_asked_again_in_the_other(nvml, source, clock, rows_of):
    """MIG is untested on hardware."""
    directive = nvml.fail("nvmlDeviceGetUtilizationRates", 3)
    reading = source()
    nvml.remove(directive)
    nvml.add_mig(0, gpu_instance=7)
    clock.advance(6)
    batches = reading.read()
    assert [row["kind"] for row in rows_of(batches, "events")] == ["mig_mode_changed"]
    clock.advance(1)

    rows = counters(reading, rows_of)

    assert len(rows) == 2
    assert rows[0]["busy_pct"] == 0


def test_a_process_of_an_instance_is_not_listed_again_for_the_gpu(nvml, source, clock, rows_of):
    """MIG is untested on hardware."""
    uuid = nvml.add_mig(0, gpu_instance=7)
    nvml.add("process 0/0 Compute 4242 1", "process 0 Compute 4242 1", "process 0 Compute 4343 1")
    reading = source()
    clock.advance(2)

    rows = rows_of(reading.read(), "gpu_processes")

    assert [(row["pid"], row["mig_uuid"]) for row in rows] == [(4242, uuid), (4343, None)]


# --- through the real loader ---------------------------------------------------------------------


def test_the_real_loader_finds_the_stand_in(tmp_path, nvml_standin):
    from tests.standins import Scenario

    scenario = Scenario(tmp_path / "machine.txt", gpus=2)
    code = (
        "from gnomon.sources.nvml import NvmlSource as S; s = S(); s.open(); "
        "print(len(s.read()[0].rows), s.check().ready); s.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=library_environment(nvml_standin, scenario),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("2 True\n", "")


def test_create_takes_its_period_from_the_settings(nvml):
    assert create(configuration.Settings(record_period_s=0.5)).period_ns == 500_000_000
    assert Path(nvml_module.__file__).stem == NvmlSource.name
