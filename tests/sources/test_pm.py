"""The pm source end to end: the real helper process over stand-ins for libcuda and libcupti."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gnomon import tables
from gnomon._errors import SourceError
from gnomon.configuration import Settings
from gnomon.enums import Counters
from gnomon.sources import _pm_access, _pm_library, pm
from gnomon.sources._pm_asked import Asked
from gnomon.sources._pm_machine import Machine
from gnomon.sources._pm_records import Loss, Row, Statistics
from gnomon.sources.pm import PmSource
from tests.sources.pm_script import CYCLES, GPU, INTERVAL_US, LIVE, MS, READ, ROW, SM, T0, TENSOR
from tests.standins import DEFAULT_UUID


def read_until(source, wanted, timeout_s=10):
    """Read until ``wanted(rows by table)``; fails after ``timeout_s``."""
    rows = {"gpu_counters": [], "losses": []}
    deadline = time.monotonic() + timeout_s
    while not wanted(rows):
        assert time.monotonic() < deadline, rows
        for batch in source.read():
            rows[batch.table] += batch.rows
            tables.batch(batch.table, batch.rows)  # the columns exist
        time.sleep(0.005)
    return rows


def counters(source, number):
    return read_until(source, lambda rows: len(rows["gpu_counters"]) >= number)["gpu_counters"]


def test_a_row_adds_its_samples_up(source, script):
    """Percentages weigh by cycles, memory by time, bytes become a rate: closed forms."""
    script.first_sample()
    for index in range(10):
        busy = index < 5
        script.sample(
            cycles=20e6 if busy else 5e6,
            sm=100.0 if busy else 0.0,
            tensor=90.0 if busy else 10.0,
            dram=50.0 if busy else 0.0,
            read=1e6,
        )
    script.sample(cycles=1.0)  # of the next row: completes the first
    script.add("decode 4", "decode 8")
    source.open()
    (row,) = counters(source, 1)

    assert row["gpu_uuid"] == GPU
    assert (row["ts_ns"], row["duration_ns"], row["samples"]) == (T0 + ROW, ROW, 10)
    assert row["sm_clock_source"] == "cupti"
    assert row["sm_clock_mhz"] == pytest.approx(5 * 25e6 / 0.1 / 1e6)
    assert row["sm_active_pct"] == pytest.approx(100 * 20 / 25)
    assert row["tensor_active_pct"] == pytest.approx((90 * 20 + 10 * 5) / 25)
    # What the pipe did is exactly pipe x clock.
    done = row["tensor_active_pct"] * row["sm_clock_mhz"]
    assert done == pytest.approx(5 * (90 * 20e6 + 10 * 5e6) / 0.1 / 1e6)
    assert row["dram_active_pct"] == pytest.approx(25.0)
    assert row["pcie_rx_bytes_per_s"] == pytest.approx(10 * 1e6 / 0.1)
    assert row["source"] == "pm"


@pytest.mark.parametrize(
    ("megabytes", "computing", "expected_pct"),
    [
        # A transfer at one rate, warps in its last two samples: four whole samples.
        ([500] * 6 + [0] * 4, {4, 5, 9}, 40.0),
        # The same that begins and ends in the middle of a sample: half of each counts.
        ([250, 500, 500, 500, 250] + [0] * 5, set(), 40.0),
        # A slow one is a transfer all the time, whatever the link could do.
        ([0, 500, 0, 0, 50, 50, 50, 50, 0, 0], set(), 50.0),
        # One shorter than a sample, against the fastest seen: 500 MB a sample.
        ([0, 500, 0, 0, 100, 0, 0, 0, 0, 0], set(), 12.0),
        # Warps everywhere: no time is the link's alone.
        ([500] * 10, set(range(10)), 0.0),
    ],
)
def test_link_only_is_the_time_in_which_a_link_moves_data_and_no_sm_holds_a_warp(
    source, script, megabytes, computing, expected_pct
):
    script.first_sample()
    for index, moved in enumerate(megabytes):
        script.sample(cycles=1e7, sm=80.0 * (index in computing), read=moved * 1e6 + 1e4)
    script.sample(cycles=1.0)
    script.add("decode 100")
    source.open()
    (row,) = counters(source, 1)

    assert row["link_only_pct"] == pytest.approx(expected_pct, abs=0.1)


def test_an_idle_unit_without_cycles_is_no_zero_percent(source, script):
    """0 cycles of 0: CUPTI answers nan, and the row leaves the metric out."""
    script.first_sample()
    for _ in range(10):
        script.sample(cycles=0.0, sm=float("nan"), dram=3.0)
    script.sample(cycles=0.0)
    script.add("decode 100")
    source.open()
    (row,) = counters(source, 1)

    assert "sm_active_pct" not in row
    assert "sm_clock_mhz" not in row
    assert row["dram_active_pct"] == pytest.approx(3.0)


def test_rows_end_on_multiples_of_their_length(source, script):
    script.first_sample()
    script.end_ns += 30 * MS  # sampling began within a row
    script.add(f"sample {T0} {T0 + 30 * MS} {CYCLES}=1")
    for _ in range(7):
        script.sample(cycles=1e7)
    script.row(cycles=1e7)
    script.sample(cycles=1e7)
    script.add("decode 100")
    source.open()
    first, second = counters(source, 2)

    assert (first["ts_ns"], first["duration_ns"]) == (T0 + ROW, ROW)
    assert (second["ts_ns"], second["duration_ns"]) == (T0 + 2 * ROW, ROW)


def test_the_sample_split_by_emptying_the_image_is_left_out(source, script):
    """After so many samples the image is emptied; the next sample lacks a part of its counts."""
    script.first_sample()
    for _ in range(60):
        script.row(cycles=1e7, sm=50.0)
    script.add(*["decode 10"] * 61)
    source.open()
    rows = counters(source, 55)

    assert all(row["sm_active_pct"] == pytest.approx(50.0) for row in rows)
    short = [row for row in rows if row["samples"] != 10]
    assert [row["samples"] for row in short] == [9] * len(short)
    assert 1 <= len(short) <= 3
    assert all(row["duration_ns"] == row["samples"] * 10 * MS for row in rows)


def test_a_gap_between_samples_is_a_loss(source, script):
    script.first_sample()
    script.sample(cycles=1e7)
    script.sample(cycles=1e7, gap_ns=250 * MS)
    script.add("decode 100")
    source.open()
    rows = read_until(source, lambda rows: rows["losses"])

    (loss,) = rows["losses"]
    assert (loss["source"], loss["table"], loss["reason"]) == ("pm", "gpu_counters", "overflow")
    assert loss["rows"] == 25
    assert loss["duration_ns"] == 250 * MS


def test_a_sample_of_absurd_length_is_dropped_and_counted(source, script):
    script.first_sample()
    for _ in range(9):
        script.sample(cycles=1e7)
    script.end_ns -= 10 * MS
    script.sample(800 * MS, cycles=9e9)
    script.sample(cycles=1e7)
    script.add("decode 100")
    source.open()
    rows = read_until(source, lambda rows: rows["losses"] and rows["gpu_counters"])

    assert [loss["reason"] for loss in rows["losses"]] == ["bad_sample"]
    assert rows["gpu_counters"][0]["sm_clock_mhz"] == pytest.approx(1000.0)


def test_a_hardware_buffer_that_ran_over_is_survived(source, script):
    """Decoding then fails with CUPTI_ERROR_OUT_OF_MEMORY (8) until sampling starts anew."""
    script.first_sample()
    script.row(cycles=1e7)
    script.sample(cycles=1e7)
    script.sample(cycles=7, gap_ns=ROW)  # the first after the restart: dropped
    script.sample(cycles=1e7)
    script.row(cycles=2e7)
    script.row(cycles=2e7)
    script.add("decode 12", "decode fail 8", "decode 100")
    source.open()
    rows = read_until(source, lambda rows: len(rows["gpu_counters"]) >= 3)

    assert sum(loss["rows"] for loss in rows["losses"]) == 11
    assert rows["gpu_counters"][-1]["sm_clock_mhz"] == pytest.approx(2000.0)


def test_the_first_set_of_one_pass_is_taken(source, script):
    """A GPU without NVLink lacks its counters; describe tells what is sampled."""
    script.add("unknown nvlrx__bytes.sum")
    source.open()
    source.wait_for_gpus()

    facts = source.describe().gpus[GPU]
    assert facts["pm_chip"] == "GH100"
    assert facts["pm_interval_us"] == INTERVAL_US
    assert facts["pm_metrics"][:2] == [CYCLES, SM]
    assert not [name for name in facts["pm_metrics"] if "nvl" in name]
    assert facts["pm_lacking"] == {"throughput": ["nvlink_rx_bytes_per_s", "nvlink_tx_bytes_per_s"]}


def test_a_set_of_two_passes_is_passed_over(source, script):
    script.add("passes nvlrx__bytes.sum 2", f"passes {READ} 2")
    source.open()
    source.wait_for_gpus()

    metrics = source.describe().gpus[GPU]["pm_metrics"]
    assert READ not in metrics
    assert TENSOR in metrics


def test_no_set_of_one_pass(source, script):
    script.add(f"passes {CYCLES} 2")

    capability = source.check()
    assert not capability.ready
    assert "fits one pass" in capability.reason


def test_a_gpu_that_another_sampler_holds_is_taken_up_once_it_is_free(source, script, monkeypatch):
    """CUPTI_ERROR_HARDWARE_BUSY (26), then free again."""
    monkeypatch.setattr(_pm_access, "other_samplers", lambda _pid: ["ncu (pid 4711)"])
    monkeypatch.setattr(source, "_command", with_retry(source))
    script.add("result cuptiPmSamplingGetCounterAvailability 26 3")
    source.open()
    source.wait_for_gpus()
    missing = source.describe().missing
    deadline = time.monotonic() + 10
    while not source.sampled_gpus():
        assert time.monotonic() < deadline
        source.read()
        time.sleep(0.005)

    (first,) = missing
    assert "ncu (pid 4711)" in first.reason
    assert first.gpu_uuid == GPU
    assert source.describe().missing == ()


def with_retry(source):
    command = source._command
    return lambda machine: [*command(machine), "--retry-ms", "20"]


def test_check_is_ready_and_lets_go(source, script, tmp_path):
    assert source.check() == pm.Capability(ready=True)

    calls = (tmp_path / "calls.log").read_text().split()
    assert calls.count("cuptiPmSamplingStart") == 1
    assert calls.count("cuptiPmSamplingStop") == 1
    assert calls.count("cuptiPmSamplingDisable") == 1


@pytest.fixture
def calls(tmp_path):
    """Return a function that counts the calls of a CUPTI function, once there are ``least``."""

    def count(name, least=0, timeout_s=10):
        deadline = time.monotonic() + timeout_s
        log = tmp_path / "calls.log"
        while (number := log.read_text().split().count(f"cupti{name}")) < least:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.005)
        return number

    return count


def in_turns(source, on_s, every_s):
    source._asked = replace(source._asked, on_s=on_s, every_s=every_s)
    return source


def starts_at(row):
    return row["ts_ns"] - row["duration_ns"]


def test_a_pause_lets_go_of_the_gpu_and_what_is_missed_is_no_loss(source, script, calls):
    script.add(LIVE)
    source.open()
    counters(source, 1)
    configurations = calls("ProfilerHostGetConfigImage")

    source.pause()
    calls("PmSamplingDisable", least=1)
    paused_ns = time.time_ns()
    time.sleep(0.05)
    source.resume()
    resumed_ns = time.time_ns()
    rows = read_until(
        source, lambda rows: any(starts_at(row) >= resumed_ns for row in rows["gpu_counters"])
    )

    assert rows["losses"] == []
    assert not [
        row
        for row in rows["gpu_counters"]
        if row["ts_ns"] > paused_ns and starts_at(row) < resumed_ns
    ]
    assert calls("PmSamplingEnable") == 2
    assert calls("ProfilerHostGetConfigImage") == configurations


def test_turns_sample_a_part_of_the_time_and_the_rest_is_no_loss(source, script, calls, nvml):
    """100 ms from each multiple of 400 ms of Unix time on, every GPU."""
    nvml.__init__(nvml.path, gpus=2)
    script.add("set gpus 2", LIVE)
    in_turns(source, 0.1, 0.4).open()
    source.wait_for_gpus()
    configurations = calls("ProfilerHostGetConfigImage")
    rows = read_until(source, lambda rows: len(common_turns(rows["gpu_counters"])) >= 3)
    source.close()

    assert rows["losses"] == []
    for row in rows["gpu_counters"]:
        assert row["duration_ns"] == row["samples"] * INTERVAL_US * 1000
        assert row["sm_clock_mhz"] == pytest.approx(1000.0)
        # A machine with other things to do ends a turn late, hence not the 100 ms.
        assert starts_at(row) % (400 * MS) < 250 * MS
    assert calls("PmSamplingEnable") == calls("PmSamplingStart")
    assert calls("PmSamplingEnable") == calls("PmSamplingStop") == calls("PmSamplingDisable")
    assert calls("PmSamplingEnable") >= 2 * 3
    assert calls("PmSamplingGetCounterAvailability") == 2 * 2  # its size, then itself
    assert calls("ProfilerHostGetConfigImage") == configurations


def common_turns(rows):
    """Return the turns in which both GPUs have rows."""
    uuids = [DEFAULT_UUID.format(index=index) for index in (0, 1)]
    turns = [
        {starts_at(row) // (400 * MS) for row in rows if row["gpu_uuid"] == uuid} for uuid in uuids
    ]
    return turns[0] & turns[1]


def test_the_row_under_way_does_not_wait_for_the_next_turn(source, script):
    """Nor does what is known late, which is how long a link alone moved data."""
    script.first_sample()
    for _ in range(3):
        script.sample(cycles=1e7, read=500e6)
    script.add("decode 100")
    source.open()
    source.wait_for_gpus()
    source.pause()
    (row,) = counters(source, 1)

    assert (row["ts_ns"], row["duration_ns"], row["samples"]) == (T0 + 30 * MS, 30 * MS, 3)
    assert row["link_only_pct"] == pytest.approx(100.0)


def test_without_turns_the_sampler_stays_enabled(source, script, calls):
    script.add(LIVE)
    in_turns(source, 0.2, 0.0).open()
    counters(source, 3)

    assert (calls("PmSamplingEnable"), calls("PmSamplingDisable")) == (1, 0)
    assert source.describe().gpus[GPU]["pm_every_s"] == 0.0


def test_between_turns_it_is_told_at_once_whether_a_gpu_can_be_sampled(source, script, calls):
    in_turns(source, 0.1, 3600.0).open()
    source.wait_for_gpus()
    calls("PmSamplingDisable", least=1)

    facts = source.describe().gpus[GPU]
    assert (facts["pm_on_s"], facts["pm_every_s"]) == (0.1, 3600.0)


def test_a_gpu_taken_between_turns_is_told_once_and_taken_up_again(
    source, script, calls, monkeypatch
):
    script.add(LIVE, "result cuptiPmSamplingEnable 26 4 2")
    monkeypatch.setattr(source, "_command", with_retry(source))
    heard = []
    monkeypatch.setattr(source, "_note", listening(source, heard))
    in_turns(source, 0.05, 0.1).open()
    read_until(source, lambda _rows: heard.count("GpuStarted") == 2)
    told = list(heard)
    rows = counters(source, 2)

    assert told == ["Hello", "GpuStarted", "Status", "GpuStarted"]
    assert calls("PmSamplingEnable") >= 2 + 4 + 1
    assert source.describe().missing == ()
    assert all(row["duration_ns"] <= ROW for row in rows)


def listening(source, heard):
    note = source._note

    def listen(record):
        if not isinstance(record, Row | Loss | Statistics):
            heard.append(type(record).__name__)
        note(record)

    return listen


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["result cuptiPmSamplingEnable 35"], "only administrators"),
        (["result cuptiPmSamplingEnable 26"], "another program samples"),
        (["chip XX999"], "cannot sample the chip XX999"),
        (["set architecture 1"], "cannot profile this architecture"),
        (["set vgpu 2"], "switched off for this vGPU"),
        (["set cupti_api_version 130300"], "libcupti is for CUDA 13.3, the driver for 13.0"),
        (["set cuda_init 100"], "cuInit failed"),
        (["set gpus 0"], "CUDA lists no GPU"),
    ],
)
def test_check_says_what_is_in_the_way(source, script, lines, reason):
    script.add(*lines)

    capability = source.check()
    assert not capability.ready
    assert reason in capability.reason


def test_one_gpu_of_two_is_enough(source, script, nvml):
    nvml.__init__(nvml.path, gpus=2)
    script.add("set gpus 2", "result cuptiPmSamplingEnable 27 1")

    capability = source.check()
    assert capability.ready
    assert [each.gpu_uuid for each in capability.missing] == [GPU]


def test_a_crash_of_the_helper_is_told_and_survived(source, script):
    script.first_sample()
    script.row(cycles=1e7)
    script.sample(cycles=1e7)
    script.add("decode 12", "decode crash")
    source.open()
    with pytest.raises(SourceError, match="Segmentation fault"):
        read_until(source, lambda _rows: False)
    source.close()
    script.add("decode 0")  # the script begins anew in the next process; so does the crash
    source.open()

    assert len(counters(source, 1)) == 1


def test_a_helper_that_crashes_again_and_again_is_given_up(source, script):
    script.add("decode crash")
    for _ in range(pm.MOST_CRASHES + 1):
        source.open()
        with pytest.raises(SourceError, match="Segmentation fault"):
            read_until(source, lambda _rows: False)
        source.close()

    with pytest.raises(SourceError, match="not started again"):
        source.open()


def test_the_helper_ends_when_nobody_reads(source, script):
    source.open()
    source.wait_for_gpus()
    process = source._helper._process
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, source._helper._fd)  # the pipe's only reader goes
    os.close(nothing)

    assert process.wait(5) == 0


def test_ctrl_c_of_the_whole_group_leaves_ending_to_us(source, script):
    source.open()
    source.wait_for_gpus()
    process = source._helper._process
    process.send_signal(signal.SIGINT)
    with pytest.raises(Exception, match="timed out"):
        process.wait(0.1)


def test_mig_gpus_are_refused_by_name(source, script, nvml):
    nvml.set("nvmlDeviceGetMigMode.current", 1, gpu=0)

    capability = source.check()
    assert not capability.ready
    assert "MIG" in capability.reason


def test_without_the_helper(source):
    source._environment["GNOMON_PM_HELPER"] = "/nonexistent/gnomon-pm"

    capability = source.check()
    assert not capability.ready
    assert "not part of this installation" in capability.reason
    assert "pip install" in capability.remedy


def test_without_permission(source, monkeypatch):
    monkeypatch.setattr(_pm_access, "refused", lambda: True)

    capability = source.check()
    assert not capability.ready
    assert "NVreg_RestrictProfilingToAdminUsers=0" in capability.remedy


def test_switched_off_unless_it_is_asked_for_by_name():
    source = pm.create(Settings(pm_enabled=False))
    asked_for = pm.create(Settings(pm_enabled=False, counters=Counters.CUPTI))

    assert "switched off" in source.check().reason
    assert "switched off" not in asked_for.check().reason


def test_settings_reach_the_helper():
    source = pm.create(Settings(pm_on_s=0.25, pm_every_s=2.0))
    library = _pm_library.Library(Path("libcupti.so.13"), 13000)
    command = source._command(Machine(Path("gnomon-pm"), library, (), ()))

    assert command[-4:] == ["--on-ms", "250", "--every-ms", "2000"]


def test_short_intervals_are_warned_about():
    assert PmSource().warnings() == ()
    assert "1 ms" in PmSource(asked=Asked(1000)).warnings()[0]
