"""Texts are those that people published of these tools; the field notes name what is odd in them.

dmon: driver 535 to 580, with and without -o DT. query-gpu: drivers of 2020 to 2026. dcgmi: DCGM
3.3.9 ("profiling fields read N/A for the first sample after the host engine starts").
"""

import gzip
import zoneinfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon import tables
from gnomon._errors import RecordingError
from gnomon.recording.importers import dcgmi_dmon, smi_dmon, smi_query
from gnomon.recording.importers.counters import FORMATS, Told, import_counters

from .recordings import meta, rows

SECOND = 1_000_000_000
BEGIN_NS = 1_790_000_000 * SECOND
DMON = """\
# gpu    pwr  gtemp  mtemp     sm    mem    enc    dec    jpg    ofa   mclk   pclk     fb   bar1
# Idx      W      C      C      %      %      %      %      %      %    MHz    MHz     MB     MB
    0     64     30     46     12      3      0      0      0      0   1593   1275    452      4
    1     61     28      -      0      0      0      0      0      0   1593    210      4      1
    0     76     30     46     20      5      0      0      0      0   1593   1275    452      4
"""
DMON_DATED = """\
#Date        Time         gpu    pwr  gtemp     sm   pclk  pviol  sbecc  rxpci  txpci
#YYYYMMDD    HH:MM:SS     Idx      W      C      %    MHz      %   errs   MB/s   MB/s
 20260902    14:30:00       0    129     57     14   2055      0      -    900    300
 20260902    14:30:02       0    131     57     16   2055      0      -    900    300
 20260902    14:30:04       0    133     57     18   2055      0      -    900    300
 20260902    14:31:04       0    133     57     18   2055      0      -    900    300
"""
QUERY = """\
timestamp, uuid, name, utilization.gpu [%], memory.used [MiB], power.draw [W], \
clocks.current.sm [MHz], pstate, clocks_event_reasons.active, fan.speed [%]
2026/10/05 12:00:00.000, GPU-1, NVIDIA H100 80GB HBM3, 80 %, 2048 MiB, 120.5 W, 1980 MHz, P0, \
0x0000000000000004, [N/A]
2026/10/05 12:00:00.500, GPU-1, NVIDIA H100 80GB HBM3, 90 %, 4096 MiB, 140 W, [N/A], P2, \
0x0000000000000000, [N/A]
"""
DCGMI = """\
#Entity   GRACT        SMACT        DRAMA        TOTEC        FBUSD
ID                                               mJ           MB
GPU 0     N/A          N/A          N/A          1000         4
GPU 0     0.984        0.930        0.252        301000       4
GPU-I 1   0.750        0.750        0.800        0            2
GPU 0     0.500        140737488355330.000  0.252  601000  9223372036854775794
"""


@pytest.fixture
def imported(tmp_path):
    """Return a function that imports a text and returns the recording and the outcome."""

    def run(form, text, **told):
        (tmp_path / "told.txt").write_text(text)
        output = tmp_path / "run"
        return output, import_counters(FORMATS[form], tmp_path / "told.txt", output, Told(**told))

    return run


def told(row):
    return {key: value for key, value in row.items() if value is not None}


def test_dmon_without_times_is_dated_by_begin_and_period(imported):
    output, outcome = imported("dmon", DMON, begin_ns=BEGIN_NS, period_ns=SECOND // 2)

    first = told(next(row for row in rows(output, "gpu_counters") if row["busy_pct"] == 12))
    last = next(row for row in rows(output, "gpu_counters") if row["busy_pct"] == 20)

    assert first == {
        "ts_ns": BEGIN_NS, "duration_ns": SECOND // 2, "gpu_uuid": first["gpu_uuid"],
        "source": "import", "power_instant_watts": 64, "temperature_celsius": 30,
        "memory_temperature_celsius": 46, "busy_pct": 12, "memory_busy_pct": 3, "encoder_pct": 0,
        "decoder_pct": 0, "jpeg_pct": 0, "ofa_pct": 0, "memory_clock_mhz": 1593,
        "sm_clock_mhz": 1275, "sm_clock_source": "nvml", "vram_used_bytes": 452 * 1048576,
    }  # fmt: skip
    assert last["ts_ns"] == BEGIN_NS + SECOND // 2
    assert last["gpu_uuid"] == first["gpu_uuid"]
    assert len(meta(output).gpus) == 2
    assert outcome.warnings == ["not imported: bar1"]


def test_dmon_dates_are_of_the_zone_that_is_told_and_a_gap_is_nobodys(imported):
    output, outcome = imported("dmon", DMON_DATED, zone=zoneinfo.ZoneInfo("Asia/Seoul"))

    found = rows(output, "gpu_counters")

    # 14:30 in Seoul is 05:30 UTC.
    assert found[0]["ts_ns"] == 1_788_327_000 * SECOND
    assert [row["duration_ns"] // SECOND for row in found] == [2, 2, 2, 2]
    assert found[3]["ts_ns"] - found[2]["ts_ns"] == 60 * SECOND
    assert found[0]["pcie_rx_bytes_per_s"] == 900e6
    assert found[0]["ecc_corrected"] is None
    assert outcome.warnings == ["not imported: pviol"]


def test_a_zone_that_nobody_told_is_told_to_the_user(imported):
    _, outcome = imported("dmon", DMON_DATED)

    assert "taken as UTC" in outcome.warnings[-1]


def test_dmon_as_csv_and_without_headings(imported):
    text = "0, 64, 30, 12\n0, 65, -, 13\n"

    output, _ = imported("dmon", text, begin_ns=BEGIN_NS, columns=("gpu", "pwr", "gtemp", "sm"))

    assert [row["busy_pct"] for row in rows(output, "gpu_counters")] == [12, 13]
    assert rows(output, "gpu_counters")[1]["temperature_celsius"] is None


def test_query_gpu_with_header_and_units(imported):
    output, _ = imported("query-gpu", QUERY)

    first, second = rows(output, "gpu_counters")

    assert (first["gpu_uuid"], first["busy_pct"], first["power_instant_watts"]) == (
        "GPU-1", 80, 120.5,
    )  # fmt: skip
    assert (first["vram_used_bytes"], first["throttle_reasons"]) == (2048 * 1048576, 4)
    assert (first["performance_state"], second["performance_state"]) == (0, 2)
    assert (second["sm_clock_mhz"], second["sm_clock_source"], second["fan_pct"]) == (None,) * 3
    assert first["duration_ns"] == second["duration_ns"] == SECOND // 2
    assert meta(output).gpus["GPU-1"]["name"] == "NVIDIA H100 80GB HBM3"


def test_query_gpu_without_header_and_units(imported):
    text = "2020/11/12 13:48:11.412, 0, 99\n2020/11/12 13:48:16.415, 0, 36\n"

    output, _ = imported("query-gpu", text, columns=("timestamp", "index", "utilization.gpu"))

    assert [row["busy_pct"] for row in rows(output, "gpu_counters")] == [99, 36]


def test_dcgmi_ratios_counters_and_sentinels(imported):
    output, outcome = imported("dcgmi", DCGMI, begin_ns=BEGIN_NS)

    first, second, third = rows(output, "gpu_counters")

    assert (first["engine_active_pct"], first["energy_joules"]) == (None, None)
    assert second["engine_active_pct"] == pytest.approx(98.4)
    assert (second["energy_joules"], second["power_watts"]) == (300, 300)
    assert (third["sm_active_pct"], third["vram_used_bytes"]) == (None, None)
    assert third["dram_active_pct"] == pytest.approx(25.2)
    assert outcome.warnings == ["not imported: lines of GPU-I"]


def test_dcgmi_fields_by_id_where_the_headings_were_cut_away(imported):
    output, _ = imported("dcgmi", "GPU 3   97   0.9\n", begin_ns=1, columns=("203", "1004"))

    (row,) = rows(output, "gpu_counters")

    assert (row["busy_pct"], row["tensor_active_pct"]) == (97, 90)


@pytest.mark.parametrize(
    ("form", "text", "bad", "reason"),
    [
        ("dmon", DMON, "    0     76", "values where 14 columns"),
        ("dmon", DMON, DMON.splitlines()[2].replace("64", "watts"), "'watts' is not a number"),
        ("dmon", DMON, DMON.splitlines()[2].replace("0", "x", 1), "'x' is not the index"),
        ("query-gpu", QUERY, QUERY.splitlines()[-1], "its time is not after"),
        ("query-gpu", QUERY, QUERY.splitlines()[-1].replace("MiB", "GiB"), "not in MiB"),
        ("query-gpu", QUERY, QUERY.splitlines()[-1].replace("2026/10", "2026/13"), "timestamp is"),
        ("query-gpu", QUERY, "Unable to determine the device handle", "1 fields where 10"),
        ("dcgmi", DCGMI, "Error: lost connection", "no line of an entity"),
        ("dcgmi", DCGMI, "GPU 0  0.1", "1 values where 5 fields"),
    ],
)
def test_a_bad_line_is_counted_told_and_the_rest_is_read(imported, form, text, bad, reason):
    output, outcome = imported(form, text + bad + "\n", begin_ns=BEGIN_NS)

    assert outcome.left_out == {"unreadable": 1}
    assert reason in outcome.warnings[0]
    assert f"line {len(text.splitlines()) + 1}: " in outcome.warnings[0]
    assert rows(output, "losses")[0]["rows"] == 1


@pytest.mark.parametrize(
    ("form", "text", "message"),
    [
        ("dmon", DMON, "--begin"),
        ("dmon", "", "no line names the columns"),
        ("dmon", QUERY, "gnomon import query-gpu"),
        ("dmon", DCGMI, "gnomon import dcgmi"),
        ("query-gpu", DMON, "gnomon import dmon"),
        ("query-gpu", "", "it is empty"),
        ("query-gpu", "1, 2, 3\n", "--columns"),
        ("dcgmi", DMON, "gnomon import dmon"),
        ("dcgmi", "GPU 0  0.1\n", "--columns"),
        ("dcgmi", "{}", "no line names the fields"),
    ],
)
def test_a_file_of_another_kind_is_refused_and_nothing_is_left(
    imported, tmp_path, form, text, message
):
    with pytest.raises(RecordingError, match=r"told\.txt") as caught:
        imported(form, text)

    assert message in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["told.txt"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(gzip.compress(DMON.encode()), "gunzip"), (b"SQLite format 3\0", "an SQLite file")],
)
@pytest.mark.parametrize("form", FORMATS)
def test_what_is_no_text_is_refused(tmp_path, form, content, message):
    (tmp_path / "told.txt").write_bytes(content)

    with pytest.raises(RecordingError, match=message):
        import_counters(FORMATS[form], tmp_path / "told.txt", tmp_path / "run", Told())


def test_every_target_is_a_column():
    known = set(tables.TABLES["gpu_counters"].column_names)

    for module in (smi_dmon, smi_query, dcgmi_dmon):
        assert {target.column for target in module.TARGETS.values()} <= known


@pytest.mark.parametrize(("form", "text"), [("dmon", DMON), ("query-gpu", QUERY), ("dcgmi", DCGMI)])
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_any_mutation_is_a_reading_or_a_bad_line_or_refused(form, text, data):
    at = data.draw(st.integers(0, len(text) - 1))
    patch = data.draw(st.text(max_size=8))
    mutated = text[:at] + patch + text[at + len(patch) :]
    refused = None
    try:
        parse = FORMATS[form].parse
        found = list(parse(mutated.splitlines(keepends=True), Told().zone, (), set()))
    except Exception as error:  # noqa: BLE001
        refused = type(error).__name__
    assert refused in {None, "WrongFileError"}
    assert refused or len(found) <= len(mutated.splitlines())
