"""Shapes are those of published exports of Nsight Compute 2024 to 2026.

Raw page: a line of units below the header, ncu's own remarks around, attributes that are words.
Details page: a line a metric, names for people, rules among them. --metrics: a line a metric, with
the raw page's names.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon._errors import RecordingError
from gnomon.recording.importers import ncu
from gnomon.recording.importers.ncu import import_ncu

from .recordings import meta, rows

BEGIN_NS = 1_790_000_000_000_000_000
PLACE = '"1758033","python3.12","127.0.0.1","{name}","1","7","(256, 1, 1)","(5, 20, 1)","0","9.0"'
HEAD = (
    '"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size",'
    '"Grid Size","Device","CC"'
)
RAW = f"""\
==PROF== Connected to process 1758033 (/usr/bin/python3.12)
{HEAD},"launch__func_cache_config","dram__bytes_read.sum","gpu__time_duration.sum",\
"launch__registers_per_thread","launch__shared_mem_per_block_dynamic",\
"sm__throughput.avg.pct_of_peak_sustained_elapsed",\
"dram__throughput.avg.pct_of_peak_sustained_elapsed",\
"sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed"
"","","","","","","","","","","","","byte","us","register/thread","Kbyte/block","%","%","%"
"0",{PLACE.format(name="gemm<4, 1>(const __half *)")},"CachePreferNone","5,156,128",\
"1,028.448","168","213.504","61.5","20.25","93.1"
"1",{PLACE.format(name="add")},"CachePreferNone","2,591,712","13.312","32","0","12","88.7","n/a"
==PROF== Disconnected from process 1758033
"""
DETAILS = "\n".join(
    [
        f'{HEAD},"Section Name","Metric Name","Metric Unit","Metric Value","Rule Name"',
        *(
            f'"{number}",{PLACE.format(name="add")},"{section}","{metric}","{unit}","{value}",""'
            for number in (0, 1)
            for section, metric, unit, value in (
                ("GPU Speed Of Light Throughput", "DRAM Frequency", "Ghz", "2.62"),
                ("GPU Speed Of Light Throughput", "Memory Throughput", "%", "88.70"),
                ("GPU Speed Of Light Throughput", "DRAM Throughput", "%", "87.5"),
                ("GPU Speed Of Light Throughput", "Compute (SM) Throughput", "%", "12.00"),
                ("GPU Speed Of Light Throughput", "Duration", "us", "13.31"),
                ("Memory Workload Analysis", "Memory Throughput", "Tbyte/s", "4.21"),
                ("Launch Statistics", "Registers Per Thread", "register/thread", "32"),
                ("Launch Statistics", "Static Shared Memory Per Block", "byte/block", "1,024"),
                ("Launch Statistics", "Waves Per SM", "", "0.38"),
                ("Occupancy", "Theoretical Occupancy", "%", "100"),
                ("SpeedOfLight", "", "", ""),
            )
        ),
    ]
)
METRICS = f"""\
{HEAD},"Section Name","Metric Name","Metric Unit","Metric Value"
"0",{PLACE.format(name="add")},"Command line profiler metrics","gpu__time_duration.sum","nsecond",\
"29,141"
"""


@pytest.fixture
def imported(tmp_path):
    """Return a function that imports a text and returns the recording and the outcome."""

    def run(text):
        (tmp_path / "told.csv").write_text(text)
        output = tmp_path / "run"
        return output, import_ncu(tmp_path / "told.csv", output, begin_ns=BEGIN_NS)

    return run


def test_the_raw_page(imported):
    output, outcome = imported(RAW)

    gemm, add = rows(output, "kernels")

    assert outcome.left_out == {}
    assert (gemm["duration_ns"], gemm["registers_per_thread"]) == (1_028_448, 168)
    assert gemm["dynamic_shared_bytes"] == 213_504
    assert (gemm["grid_x"], gemm["grid_y"], gemm["block_x"]) == (5, 20, 256)
    assert (gemm["ncu_compute_sol_pct"], gemm["ncu_dram_pct"], gemm["ncu_tensor_pct"]) == (
        61.5, 20.25, 93.1,
    )  # fmt: skip
    assert add["ncu_tensor_pct"] is None
    assert gemm["pid"] == 1758033


def test_launches_stand_one_after_the_other(imported):
    output, _ = imported(RAW)

    gemm, add = rows(output, "kernels")
    (window,) = rows(output, "kernel_windows")

    assert gemm["ts_ns"] - gemm["duration_ns"] == BEGIN_NS
    assert add["ts_ns"] - add["duration_ns"] == gemm["ts_ns"]
    assert (window["ts_ns"], window["records"]) == (add["ts_ns"], 2)


def test_the_details_page(imported):
    output, outcome = imported(DETAILS)

    first, second = rows(output, "kernels")

    assert outcome.left_out == {}
    assert (first["duration_ns"], first["static_shared_bytes"]) == (13_310, 1024)
    # The one in %, not the one in bytes a second.
    assert (first["ncu_memory_sol_pct"], first["ncu_compute_sol_pct"]) == (88.7, 12)
    assert (first["waves"], first["theoretical_occupancy_pct"]) == (0.38, 100)
    assert first["name_hash"] == second["name_hash"]


def test_chosen_metrics(imported):
    output, _ = imported(METRICS)

    assert rows(output, "kernels")[0]["duration_ns"] == 29_141


def test_meta_says_what_the_times_are_worth(imported):
    output, _ = imported(RAW)

    assert "one after the other" in str(meta(output).unavailable)
    assert "no export was made" in meta(output).host["unverified"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('"7","1"', "2 fields where 19"),
        (RAW.splitlines()[4].replace('"13.312"', '"soon"'), "'soon' is not a number"),
        (RAW.splitlines()[4].replace('"13.312"', '"n/a"'), "has no duration"),
    ],
)
def test_a_bad_line_is_counted_told_and_the_rest_is_read(imported, line, reason):
    _, outcome = imported(f"{RAW}{line}\n")

    assert outcome.rows["kernels"] == 2
    assert reason in outcome.warnings[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'no line has the columns "ID"'),
        ("==PROF== nothing", 'no line has the columns "ID"'),
        (HEAD, "nothing could be imported"),
        ("# gpu pwr\n# Idx W\n0 3\n", "gnomon import dmon"),
        (RAW.replace('"61.5"', '"61,5"'), "LC_ALL=C"),
        (RAW.replace('"5,156,128"', '"x"').replace('"1,028.448"', '"27.595.520"'), "LC_ALL=C"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name_and_nothing_is_left(
    imported, tmp_path, text, message
):
    with pytest.raises(RecordingError, match=r"told\.csv") as caught:
        imported(text)

    assert message in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["told.csv"]


@given(data=st.data(), text=st.sampled_from([RAW, DETAILS, METRICS]))
@settings(max_examples=120, deadline=None)
def test_any_mutation_is_read_or_refused(tmp_path_factory, data, text):
    at = data.draw(st.integers(0, len(text) - 1))
    patch = data.draw(st.text(max_size=8))
    mutated = text[:at] + patch + text[at + len(patch) :]
    path = tmp_path_factory.getbasetemp() / "mutated.csv"
    complaint, bad = None, []
    try:
        for launch in ncu._launches(path, mutated.splitlines(keepends=True), bad):
            ncu._row(launch, BEGIN_NS, FakeNames(), {})
    except RecordingError as error:
        complaint = str(error)
    assert complaint is None or "mutated.csv" in complaint


class FakeNames:
    def hash_of(self, name, ts_ns):
        return len(name)
