"""Top stacks against sums made by hand."""

from gnomon import tables
from gnomon.analysis.questions import Scope, Span, ThreadKey
from gnomon.analysis.stacks import Frame, top_stacks
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter

BEGIN_NS = 1_795_202_080_000_000_000
SCOPE = Scope(Span(BEGIN_NS, BEGIN_NS + 1_000_000_000))
ME = {"host": None, "pid": 1, "tid": 2}


def recording(path):
    def row(**more):
        return {"ts_ns": BEGIN_NS + 9, "duration_ns": 10, **ME, **more}

    rows_of = {
        "off_cpu": [row(stack_hash=7), row(stack_hash=7), row(stack_hash=8, weight=3.0), row()],
        "host_calls": [
            row(stack_hash=7, operation="cudaMalloc", depth=0),
            row(stack_hash=7, operation="cuMemAlloc", depth=1),
            row(stack_hash=8, operation="cudaFree", depth=0, tid=3),
        ],
        "stacks": [
            {"ts_ns": BEGIN_NS, "duration_ns": 0, "stack_hash": 7, "depth": depth, "symbol": symbol}
            for depth, symbol in ((1, "main"), (0, "futex_wait"), (0, "futex_wait"))
        ],
    }
    with RecordingWriter(path, "host-1") as writer:
        for table, rows in rows_of.items():
            writer.append(table, tables.batch(table, rows))
    return Recording.open(path)


def test_time_off_the_cpu_is_added_up_by_stack_and_what_has_none_is_told(tmp_path):
    with recording(tmp_path / "r").session() as session:
        found = top_stacks(session, SCOPE, "off_cpu", most=5)

    assert (found.total_ns, found.without_stack_ns) == (60, 10)
    assert [(one.total_ns, one.rows) for one in found.stacks] == [(30, 1), (20, 2)]
    assert found.stacks[0].frames == ()  # not stored
    frames = [Frame(None, symbol, None, None, None) for symbol in ("futex_wait", "main")]
    assert found.stacks[1].frames == frames
    assert found.stacks[1].thread == ThreadKey(None, 1, 2)


def test_calls_are_the_outermost_of_the_thread_and_operation_asked_for(tmp_path):
    with recording(tmp_path / "r").session() as session:
        every = top_stacks(session, SCOPE, "calls", most=5)
        of_thread = top_stacks(session, SCOPE, "calls", most=5, tid=3)
        of_operation = top_stacks(session, SCOPE, "calls", most=5, operation="cudaMalloc")

    assert {one.operation for one in every.stacks} == {"cudaMalloc", "cudaFree"}
    assert [one.operation for one in of_thread.stacks] == ["cudaFree"]
    assert [one.operation for one in of_operation.stacks] == ["cudaMalloc"]
