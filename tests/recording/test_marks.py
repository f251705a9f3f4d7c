"""Phases come out as the workload marked them."""

from gnomon.enums import PhaseEdge
from gnomon.recording.marks import mark, phases
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
