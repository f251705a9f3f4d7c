"""Phases come out as the workload marked them."""

import pytest

from gnomon import tables
from gnomon._errors import RecordingError
from gnomon.enums import PhaseEdge
from gnomon.recording.marks import mark, phases
from gnomon.recording.memory import MemoryRecording
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter

from .conftest import BEGIN_NS, SECOND_NS, counter_batch


def test_phases_last_to_their_end_the_next_begin_or_the_end_of_the_recording(tmp_path):
    with RecordingWriter(tmp_path, "h") as one:
        one.append("gpu_counters", counter_batch(10))
    for second, name, edge in (
        (1, "load", PhaseEdge.BEGIN),
        (2, "prefill", PhaseEdge.BEGIN),
        (4, "prefill", PhaseEdge.END),
        (5, "stray", PhaseEdge.END),
        (6, "decode", PhaseEdge.BEGIN),
    ):
        mark(tmp_path, name, edge, host_id="h", ts_ns=BEGIN_NS + second * SECOND_NS)

    found = phases(Recording.open(tmp_path))

    spans = [
        (one.name, (one.from_ns - BEGIN_NS) // SECOND_NS, (one.to_ns - BEGIN_NS) // SECOND_NS)
        for one in found
    ]
    assert spans == [("load", 1, 2), ("prefill", 2, 4), ("decode", 6, 10)]


def test_the_work_done_is_taken_from_the_end_edge(tmp_path):
    mark(tmp_path, "gemm", ts_ns=BEGIN_NS, detail={"shape": "8192^3"})
    mark(
        tmp_path,
        "gemm",
        PhaseEdge.END,
        ts_ns=BEGIN_NS + SECOND_NS,
        model_flops=1e15,
        flops_dtype="bf16",
        detail={"iterations": 7},
    )

    [phase] = phases(Recording.open(tmp_path))

    assert (phase.model_flops, phase.flops_dtype, phase.tokens) == (1e15, "bf16", None)
    assert phase.detail == {"shape": "8192^3", "iterations": 7}


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        pytest.param(
            [(1, "step", "begin"), (2, "step", "begin"), (1, "step", "end"), (2, "step", "end")],
            [("step", 0, 2), ("step", 1, 3)],
            id="processes do not end each other's phases",
        ),
        pytest.param(
            [(1, "epoch", "begin"), (1, "step", "begin"), (1, "step", "end"), (1, "epoch", "end")],
            [("epoch", 0, 3), ("step", 1, 2)],
            id="phases of one process may be nested",
        ),
        pytest.param(
            [(1, "a", "begin"), (1, "b", "begin"), (1, "a", "begin"), (1, "a", "end")],
            [("a", 0, 1), ("b", 1, 2), ("a", 2, 3)],
            id="an end belongs to the nearest begin of its name",
        ),
        pytest.param(
            [(1, "a", "begin"), (2, "b", "begin"), (3, "b", "end"), (4, "c", "begin")],
            [("a", 0, 1), ("b", 1, 2), ("c", 3, 9)],
            id="each gnomon mark is a process of its own",
        ),
    ],
)
def test_processes_keep_their_own_phases(edges, expected):
    memory = MemoryRecording()
    rows = [
        {"ts_ns": at * SECOND_NS, "duration_ns": 0, "pid": pid, "name": name, "edge": edge}
        for at, (pid, name, edge) in enumerate(edges)
    ]
    memory.append("phases", tables.batch("phases", rows))
    end = {"ts_ns": 9 * SECOND_NS, "duration_ns": 0}
    memory.append("gpu_counters", tables.batch("gpu_counters", [end]))

    assert [
        (one.name, one.from_ns // SECOND_NS, one.to_ns // SECOND_NS) for one in phases(memory)
    ] == expected


def test_a_mark_is_one_closed_segment_and_nothing_else(tmp_path):
    mark(tmp_path, "gemm", ts_ns=BEGIN_NS, host_id="h")

    [path] = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert path.suffix == ".parquet"


def test_a_mark_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("not a directory")

    with pytest.raises(RecordingError, match=r"cannot mark in .*file: Not a directory"):
        mark(tmp_path / "file", "gemm", host_id="h")
