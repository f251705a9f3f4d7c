"""A range cut into slices says the same as the range in one piece."""

from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gnomon import tables
from gnomon.analysis import slices as slicing
from gnomon.analysis.slices import parts, slices
from gnomon.analysis.summary import summarize
from gnomon.recording import writer
from gnomon.recording.base import Meta
from gnomon.recording.memory import MemoryRecording
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter

from . import scenes as s

MINUTE = 60


def counters(busy):
    """Three sources of one GPU at their own paces, over ``len(busy)`` seconds."""
    gpm, nvml = [], []
    for second, engine in enumerate(busy):
        values = s.GEMM | {"engine_active_pct": engine, "sm_active_pct": engine / 2}
        del values["sm_clock_mhz"], values["sm_clock_source"]
        gpm += s.rows("gpm", values, first=second, count=1, length_ns=s.SECOND_NS)
        seldom = {"energy_joules": 5.0 * engine, "power_watts": 10.0 + engine}
        nvml += s.rows(
            "nvml",
            {"busy_pct": engine, "sm_clock_mhz": 1500.0 + engine, "sm_clock_source": "nvml"}
            | {"throttle_reasons": 0x4 if engine > 50 else 0, "vram_used_bytes": second}
            | (seldom if second % 2 else {})
            | ({"power_limit_watts": 700.0} if second % 5 == 0 else {}),
            first=second,
            count=1,
            length_ns=s.SECOND_NS,
        )
    for row in nvml:
        row["ts_ns"] += s.SECOND_NS // 3  # not in step with the other
    pm = s.rows("pm", {"sm_clock_mhz": 1400.0, "sm_clock_source": "cupti"}, 30, 1, s.SECOND_NS)
    return sorted(gpm + nvml + pm, key=lambda row: row["ts_ns"])


def filled(busy):
    return s.memory(counters(busy))


def numbers(summary):
    """All fields of a summary, those of its ledgers too, by name."""
    document = summary.to_json()
    ledgers = {name: document.pop(name) for name in ("ledger", "memory_ledger")}
    terms = {f"{of}.{name}": value for of, one in ledgers.items() for name, value in one.items()}
    return document | terms


def cut_at(monkeypatch, *seconds):
    """Let measurements say that they are cheaply cut at these times, and believe them."""
    edges = [s.BEGIN_NS + second * s.SECOND_NS for second in seconds]
    monkeypatch.setattr(slicing, "LEAST_NS", 14 * s.SECOND_NS)
    monkeypatch.setattr(MemoryRecording, "cuts", lambda *_: edges)


@settings(deadline=None, max_examples=30)
@given(
    busy=st.lists(st.floats(0, 100), min_size=MINUTE, max_size=MINUTE),
    cuts=st.lists(st.integers(0, MINUTE), unique=True, max_size=8).map(sorted),
    by=st.sampled_from([None, 7 * s.SECOND_NS, 20 * s.SECOND_NS]),
)
@example(busy=[0.0] * (MINUTE - 3) + [51.0] * 3, cuts=[14], by=None)  # just at a threshold
def test_slicing_changes_no_number(busy, cuts, by):
    measurements = filled(busy)
    whole = [numbers(one) for one in summarize(measurements, by=by)]

    with pytest.MonkeyPatch.context() as monkeypatch:
        cut_at(monkeypatch, *cuts)
        sliced = [numbers(one) for one in summarize(measurements, by=by)]

    for one, other in zip(whole, sliced, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            same = pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value
            assert other[name] == same, name


@settings(deadline=None, max_examples=12)
@given(
    busy=st.lists(st.floats(0, 100), min_size=MINUTE, max_size=MINUTE),
    flushed=st.integers(1, 30),
    closed=st.integers(20, 90),
    by=st.sampled_from([None, 7 * s.SECOND_NS]),
)
def test_files_of_each_source_say_what_files_of_all_sources_said(busy, flushed, closed, by):
    """An older writer mixed the sources: rows are the same, and so is every number."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(slicing, "LEAST_NS", 14 * s.SECOND_NS)
        told = []
        for sources_apart in (True, False):
            if not sources_apart:
                monkeypatch.setattr(writer, "TABLES_BY_SOURCE", frozenset())
            with TemporaryDirectory() as directory:
                recording = on_disk(Path(directory), counters(busy), flushed, closed)
                told.append([numbers(one) for one in summarize(recording, by=by)])

    for one, other in zip(*told, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            same = pytest.approx(value, rel=1e-12, abs=1e-9) if isinstance(value, float) else value
            assert other[name] == same, name


def on_disk(directory, rows, flushed, closed):
    """A recording of rows, on disk after every ``flushed``; files end after ``closed``."""
    one = RecordingWriter(directory, "h")
    one.update_meta(Meta(tables.SCHEMA_VERSION, gpus={s.GPU: s.H200}))
    for begin in range(0, len(rows), closed):
        for at in range(begin, min(begin + closed, len(rows)), flushed):
            batch = tables.batch("gpu_counters", rows[at : min(at + flushed, begin + closed)])
            one.append("gpu_counters", batch)
            one.flush()
        one.close()
    return Recording.open(directory)


def test_of_files_that_end_together_the_last_end_is_the_cut(monkeypatch):
    cut_at(monkeypatch, 20, 21, 22, 24, 40, 41)
    begin_ns, end_ns = s.BEGIN_NS, s.BEGIN_NS + MINUTE * s.SECOND_NS

    found = list(slices(filled([50.0] * MINUTE), begin_ns, end_ns))

    assert [(one.to_ns - begin_ns) // s.SECOND_NS for one in found] == [
        # what was read ends 12 s later
        22 - 12, 41 - 12, 60,
    ]  # fmt: skip


def test_rows_of_writers_that_overlap_are_put_in_order(tmp_path):
    rows = s.rows("gpm", s.GEMM, count=20, length_ns=s.SECOND_NS)
    for parity in (0, 1):
        on_disk(tmp_path, rows[parity::2], 5, 20)

    (one,) = slices(Recording.open(tmp_path), s.BEGIN_NS, s.BEGIN_NS + 20 * s.SECOND_NS)

    ((_, collected),) = one.counters.items()
    assert collected.ts_ns.tolist() == [row["ts_ns"] for row in rows]


def test_slices_cover_the_range_once_and_are_not_too_short(monkeypatch):
    cut_at(monkeypatch, 2, 20, 22, 40, 58)
    begin_ns, end_ns = s.BEGIN_NS, s.BEGIN_NS + MINUTE * s.SECOND_NS

    found = list(slices(filled([50.0] * MINUTE), begin_ns, end_ns))

    assert len(found) == 3
    assert (found[0].from_ns, found[-1].to_ns) == (begin_ns, end_ns)
    assert all(one.to_ns == other.from_ns for one, other in pairwise(found))


def test_parts_hold_every_row_once(monkeypatch):
    measurements = filled([50.0] * MINUTE)
    cut_at(monkeypatch, 15, 35)
    span = (s.BEGIN_NS, s.BEGIN_NS + (MINUTE + 1) * s.SECOND_NS)

    found = list(parts(measurements, "gpu_counters", ["ts_ns"], *span))

    times = [ts_ns for part in found for ts_ns in part.column("ts_ns").to_pylist()]
    assert len(found) == 3
    assert times == [row["ts_ns"] for row in counters([50.0] * MINUTE)]


def test_a_reading_that_fails_is_not_swallowed(monkeypatch):
    measurements = filled([50.0] * MINUTE)
    cut_at(monkeypatch, 15, 35)

    def fail(*_, **__):
        raise OSError("the disk is gone")

    monkeypatch.setattr(MemoryRecording, "read", fail)
    with pytest.raises(OSError, match="the disk is gone"):
        list(parts(measurements, "gpu_counters", ["ts_ns"], s.BEGIN_NS, s.BEGIN_NS + 10**11))
