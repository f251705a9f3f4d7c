import csv
import io
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon import tables
from gnomon._errors import RecordingError
from gnomon.recording.importers import gpm_csv

UUID = "GPU-test"
HEADER = (
    "t_unix,dt_s,graphics_util,tensor_util,pcie_tx_mib_s,pcie_rx_mib_s,smi_gpu,power_w,"
    "energy_mj,sm_mhz,throttle,vram_used,cost_us\n"
)
FIRST = "1795202060.504392,0.100501,0.5,65.9,0.6148,2,99,115.455,2247739,1541,4,644939776,17769.8\n"
SECOND = "1795202060.604356,0.099964,0.0,0.0,4.7023,3,0,115.455,2255735,450,1,644939776,5855.0\n"


def read(*lines):
    return list(gpm_csv.counters(lines, UUID))


def test_units():
    first, second = read(HEADER, FIRST, SECOND)

    assert first == {
        "ts_ns": 1795202060504392000,
        "duration_ns": 100501000,
        "gpu_uuid": UUID,
        "source": "import",
        "engine_active_pct": 0.5,
        "tensor_active_pct": 65.9,
        "pcie_tx_bytes_per_s": pytest.approx(0.6148 * 1048576),
        "pcie_rx_bytes_per_s": 2097152,
        "busy_pct": 99,
        "power_instant_watts": 115.455,
        "sm_clock_mhz": 1541,
        "sm_clock_source": "nvml",
        "throttle_reasons": 4,
        "vram_used_bytes": 644939776,
    }
    assert second["energy_joules"] == pytest.approx(7.996)
    assert second["power_watts"] == pytest.approx(7.996 / 0.099964)


def test_rows_fit_the_table():
    batch = tables.batch("gpu_counters", read(HEADER, FIRST, SECOND))

    assert batch.num_rows == 2


def test_every_target_is_a_column():
    known = set(tables.GPU_COUNTERS.column_names)

    assert {ours for ours, _ in gpm_csv.COLUMNS.values()} <= known


def test_columns_in_any_order_and_absent_ones_are_null():
    (row,) = read("smi_gpu,dt_s,t_unix\n", "7,1,100\n")

    assert row == {
        "ts_ns": 100 * 10**9,
        "duration_ns": 10**9,
        "gpu_uuid": UUID,
        "source": "import",
        "busy_pct": 7,
    }


@pytest.mark.parametrize("cell", ["", " ", "nan", "inf", "9223372036854775792"])
def test_no_value_is_null_never_zero(cell):
    (row,) = read("t_unix,dt_s,smi_gpu,sm_mhz\n", f"100,1,{cell},{cell}\n")

    assert row["busy_pct"] is None
    assert row["sm_clock_mhz"] is None
    assert "sm_clock_source" not in row


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1795202061,0.1\n", "2 fields"),
        (SECOND.replace("99964", "x"), "dt_s"),
        (SECOND.replace("115.455", "watts"), "power_instant_watts is 'watts'"),
        (SECOND.replace("0.099964", "0"), "not a length of time"),
        (SECOND.replace("0.099964", "-1"), "not a length of time"),
        (SECOND.replace("1795202060.604356", "1795202060.504392"), "not after"),
        (SECOND.replace("1795202060.604356", "1e30"), "2262"),
        (SECOND.replace("1795202060.604356", "nan"), "t_unix"),
        (SECOND.replace("2255735", "x"), "energy_mj"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_is_read(line, reason):
    third = SECOND.replace("060.604", "060.704")

    first, bad, last = read(HEADER, FIRST, line, third)

    assert isinstance(bad, gpm_csv.BadRow)
    assert bad.line == 3
    assert reason in bad.reason
    assert first["ts_ns"] < last["ts_ns"]
    # The counter's difference would span two intervals: not this one's energy.
    assert "energy_joules" not in last


def test_a_counter_that_went_back_is_no_energy():
    _, second = read(HEADER, FIRST, SECOND.replace("2255735", "5"))

    assert "energy_joules" not in second


def test_blank_lines_are_nothing():
    assert len(read(HEADER, "\n", FIRST, "\n")) == 1


@pytest.mark.parametrize("header", ["", "a,b\n", "t_unix,smi_gpu\n", "t_unix,dt_s,other\n"])
def test_a_file_of_another_kind_is_refused(header):
    with pytest.raises(RecordingError, match="line 1"):
        read(header, FIRST)


def test_uuid_is_of_the_content():
    assert gpm_csv.gpu_uuid(b"a") == gpm_csv.gpu_uuid(b"a") != gpm_csv.gpu_uuid(b"b")
    assert gpm_csv.gpu_uuid(b"a").startswith("GPU-")


def test_unmeasured_are_the_columns_that_are_not_there():
    missing = gpm_csv.unmeasured(HEADER.strip().split(","))

    assert "nvlink_tx_bytes_per_s" in missing
    assert "busy_pct" not in missing


def test_phases():
    line = {"phase": "decode", "t0": 1795202080.25, "t1": 1795202088.75, "tok_s": 10, "iters": 95}

    begin, end = gpm_csv.phases([json.dumps(line)])

    assert begin == {
        "ts_ns": 1795202080250000000,
        "duration_ns": 0,
        "name": "decode",
        "edge": "begin",
    }
    assert end["ts_ns"] == 1795202088750000000
    assert end["tokens"] == pytest.approx(85)
    assert json.loads(end["detail"]) == {"tok_s": 10, "iters": 95}
    assert tables.batch("phases", [begin, end]).num_rows == 2


def test_known_work_of_a_phase_has_its_own_columns():
    line = {
        "phase": "gemm",
        "t0": 1,
        "t1": 2,
        "tok_s": 3,
        "tokens": 8,
        "model_flops": 1e15,
        "flops_dtype": "bf16",
        "model_bytes": 10**12,
    }

    _, end = gpm_csv.phases([json.dumps(line)])

    assert (end["model_flops"], end["flops_dtype"], end["model_bytes"]) == (1e15, "bf16", 1e12)
    assert end["tokens"] == 8


@pytest.mark.parametrize(
    "line", ["{", "[]", "3", '{"phase": "x"}', '{"phase": "x", "t0": 2, "t1": 1}',
             '{"phase": "x", "t0": null, "t1": 1}',
             '{"phase": "x", "t0": 1, "t1": 2, "tokens": []}']
)  # fmt: skip
def test_a_bad_phase_is_named(line):
    good = '{"phase": "x", "t0": 1, "t1": 2}'

    bad, begin, end = gpm_csv.phases([line, good])

    assert bad.line == 1
    assert begin["name"] == end["name"] == "x"


@given(st.lists(st.text(max_size=30), max_size=5))
def test_any_text_is_a_row_or_a_bad_row(lines):
    for row in gpm_csv.counters([HEADER, *[line + "\n" for line in lines]], UUID):
        assert isinstance(row, dict | gpm_csv.BadRow)
    for row in gpm_csv.phases(lines):
        assert isinstance(row, dict | gpm_csv.BadRow)


@given(st.lists(st.decimals(1, 2_000_000_000, places=6), min_size=1, unique=True))
def test_times_are_exact(seconds):
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["t_unix", "dt_s", "smi_gpu"])
    writer.writerows([[str(each), "0.1", "1"] for each in sorted(seconds)])

    rows = list(gpm_csv.counters(io.StringIO(text.getvalue()), UUID))

    assert [row["ts_ns"] for row in rows] == [
        int(each * Decimal(10**9)) for each in sorted(seconds)
    ]
