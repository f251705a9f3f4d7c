import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from gnomon.analysis.summary_types import ComputeLedger, MemoryLedger
from gnomon.cli import ledger_bar, numbers, rendering
from gnomon.recording.base import SkippedSegment

from . import summaries as s

GOLDEN = """\
GPU 0  NVIDIA H200  GPU-11111111-2222-3333-4444-555555555555
  2026-11-20 19:15:33 to 19:15:41 UTC (8.1 s), 81 samples

  throttled: the power cap holds the SM clock at 1,541 of 1,830 MHz and
    costs at least 10 % of peak; the tensor pipe is active 66 % of cycles

  busy            99.6 %  what nvidia-smi shows
  compute SOL   <=55.5 %  tensor pipe active 65.9 % of cycles
  memory SOL      26.6 %  1,277 GB/s

  Where 100 % of the compute peak went
  ██████████████████████████████████████████▒▒▒▒▒▒▒▒░░░░░░░░░░░░░░░░░░░░░░░░--
  █ achieved        55.5 %  work executed
  ▓ padding              -  needs the model's FLOPs; part of achieved
  ▒ clock           10.4 %  SM clock below its reference
  ░ stalled         31.4 %  warps are resident, the pipe does not issue
  - SMs empty        2.3 %  small grids, tails, gaps between kernels
  · idle             0.4 %  nothing ran
  > copying          0.0 %  only PCIe or NVLink moved data

  Where 100 % of the DRAM bandwidth went
  ████████████████████░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░
  █ achieved        26.6 %  bytes moved to and from DRAM
  ▒ clock            0.0 %  memory clock below its maximum
  ░ not requested   73.0 %  nobody asked for more
  · idle             0.4 %  nothing ran

  SM clock      1,541 MHz of 1,830 MHz  from nvml: reads high on tensor work
  memory clock  3,201 MHz
  throttled by  sw_power_cap
  power         691 W of 700 W  5.6 kJ, 66 C
  VRAM          62.4 GiB of 140.4 GiB
  PCIe          in 4.1 MB/s, out 2.0 MB/s  <0.1 % of its line rate
  NVLink        -
  host CPU      12.1 %  busiest thread 99.2 % of a core
  lost          3 samples, which are part of no number here

  Not measured
  nvlink_rx_bytes_per_s, nvlink_tx_bytes_per_s: the driver says NOT_SUPPORTED

"""
GOLDEN_BY_PHASE = """\
GPU 0  NVIDIA H200  GPU-11111111-2222-3333-4444-555555555555
  prefill  2026-11-20 19:15:33 to 19:15:41 UTC (8.1 s)
  busy 99.6 %   compute SOL <=55.5 %   memory SOL 26.6 %   691 W
  ██████████████████████████████████████████▒▒▒▒▒▒▒▒░░░░░░░░░░░░░░░░░░░░░░░░--
  throttled: the power cap holds the SM clock at 1,541 of 1,830 MHz and
    costs at least 10 % of peak; the tensor pipe is active 66 % of cycles

  sleep  2026-11-20 19:15:33 to 19:15:41 UTC (8.1 s)
  busy 0.0 %   compute SOL 0.0 %   memory SOL <0.1 %   115 W
  ············································································
  idle: nothing ran

"""


def rendered(summaries, *, encoding="utf-8", **options):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    rendering.print_summaries(summaries, s.META, rendering.console(stream), **options)
    stream.flush()
    return raw.getvalue().decode(encoding)


def test_golden_summary():
    assert rendered([s.PREFILL]) == GOLDEN


def test_golden_phases():
    asleep = s.phase(
        "sleep",
        busy_pct=0.0,
        compute_sol_pct=0.0,
        memory_sol_pct=0.0004,
        at_most=False,
        power_watts=115.0,
        ledger=ComputeLedger(0.0, 100.0, 0.0, 0.0, 0.0, None, 0.0),
        verdict="idle: nothing ran",
    )

    assert rendered([s.phase("prefill"), asleep], split=True) == GOLDEN_BY_PHASE


def test_what_was_not_measured_is_never_zero():
    text = rendered([s.UNKNOWN])

    assert "0.0 %" not in text
    assert "0 W" not in text
    assert "compute SOL          -" in text
    assert "Where 100 % of the compute peak went: not known" in text
    assert "compute_sol_pct: no hardware counters" in text


def test_a_boosted_clock_is_told_as_such():
    boosted = ComputeLedger(0.0, 0.0, 0.0, 4.0, -4.0, None, 100.0)

    assert "clock           -4.0 %  boost: the clock ran above" in rendered(
        [replace(s.PREFILL, ledger=boosted)]
    )


def test_no_throttle_reason_is_not_the_same_as_not_knowing():
    quiet = replace(s.PREFILL, throttle_reasons=())
    unknown = replace(quiet, unavailable={"throttle_reasons": "no permission"})

    assert "throttled by  nothing" in rendered([quiet])
    assert "throttled by  -" in rendered([unknown])


def test_useful_work_is_told_apart_from_executed_work():
    of_model = ComputeLedger(0.0, 0.4, 2.3, 31.4, 10.4, 5.5, 50.0)

    text = rendered([replace(s.PREFILL, ledger=of_model, tflops=495.0)])

    assert "the model's own work" in text
    assert "padding          5.5 %  tensor work that was not the model's" in text
    assert "495.0 TFLOP/s" in text


def test_gpus_are_grouped_though_windows_alternate():
    """summarize() orders by window; people read one GPU after the other."""
    other = replace(s.PREFILL, uuid="GPU-2")

    text = rendered([s.PREFILL, other, s.PREFILL, other], split=True)

    assert text.count("GPU-2") == 1
    assert text.count(s.UUID) == 1


def test_a_terminal_without_utf8_gets_ascii():
    text = rendered([s.PREFILL], encoding="ascii")

    assert "#" * 42 + "c" * 8 + "s" * 24 + "--" in text


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1", "FORCE_COLOR": "1"}, {}])
def test_no_colour_where_there_is_no_terminal_or_the_user_wants_none(monkeypatch, environment):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert "\x1b[3" not in rendered([s.PREFILL])


def test_fits_80_columns():
    long = replace(s.PREFILL, phase="a_rather_long_name_" * 5, warnings=("word " * 40,))

    assert max(len(line) for line in rendered([long]).splitlines()) <= 80
    assert max(len(line) for line in rendered([long], split=True).splitlines()) <= 80


def test_skipped_files_are_named():
    stream = io.StringIO()
    rendering.print_skipped([SkippedSegment("a/b.parquet", "no magic")], Console(file=stream))

    assert stream.getvalue() == "skipped a/b.parquet: no magic\n"


def test_json_document_has_the_shape_programs_rely_on():
    document = json.loads(json.dumps(rendering.json_document([s.PREFILL])))

    assert document["schema"] == 1
    (gpu,) = document["gpus"]
    assert gpu["ledger"].keys() >= {"copying_pct", "idle_pct", "padding_pct", "achieved_pct"}
    assert gpu["ledger"]["padding_pct"] is None
    assert gpu["throttle_reasons"] == ["sw_power_cap"]


shares = st.none() | st.floats(-5, 100)


@given(st.tuples(*[shares] * 7), st.integers(1, 200))
def test_bar_is_exactly_as_wide_as_asked(values, width):
    drawn = ledger_bar.bar(ComputeLedger(*values), width)

    assert drawn.cell_len in {0, width}
    assert (drawn.cell_len == 0) == all(value is None for value in values)


@given(st.floats(0, 100), st.floats(0, 100), st.integers(10, 200))
def test_bar_is_true_to_the_shares(first, second, width):
    """Each term's cells are within one of its share of the whole."""
    ledger = MemoryLedger(idle_pct=first, achieved_pct=second)
    drawn = ledger_bar.bar(ledger, width).plain

    whole = max(first + second, 100)  # what the terms leave of 100 is drawn as not measured
    assert abs(drawn.count("█") - second / whole * width) <= 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (numbers.pct(None), "-"),
        (numbers.pct(0.0), "0.0 %"),
        (numbers.pct(-0.01), "0.0 %"),
        (numbers.pct(0.01), "<0.1 %"),
        (numbers.pct(100.0), "100.0 %"),
        (numbers.rate(None), "-"),
        (numbers.rate(4.245e12), "4,245 GB/s"),
        (numbers.rate(12.34e9), "12.3 GB/s"),
        (numbers.rate(999.0), "999 B/s"),
        (numbers.scaled(5620.0, "J"), "5.6 kJ"),
        (numbers.whole(1541.4, "MHz"), "1,541 MHz"),
        (numbers.duration(250_000_000), "250 ms"),
        (numbers.duration(8_100_000_000), "8.1 s"),
        (numbers.duration(107 * 10**9), "1 min 47 s"),
        (numbers.duration(11_100 * 10**9), "3 h 05 min"),
        (numbers.span(0, 60 * 10**9), "1970-01-01 00:00:00 to 00:01:00 UTC (1 min 00 s)"),
        (numbers.span(0, 86_400 * 10**9)[23:42], "1970-01-02 00:00:00"),
    ],
)  # fmt: skip
def test_numbers_for_people(text, expected):
    assert text == expected
