"""Counts of what is there and what it lacks, on rows made up for it."""

from gnomon import tables
from gnomon.analysis.latency import latency
from gnomon.analysis.questions import Scope, Span, ThreadKey
from gnomon.analysis.recorded import recorded
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter

BEGIN_NS = 1_795_202_080_000_000_000
SPAN = Span(BEGIN_NS, BEGIN_NS + 1_000_000_000)


def counted(path, rows_of, observers=()):
    with RecordingWriter(path, "host-1") as writer:
        for table, rows in rows_of.items():
            stamped = [{"ts_ns": BEGIN_NS + 5, "duration_ns": 1} | row for row in rows]
            if table != "losses":
                stamped = [{"pid": 1} | row for row in stamped]
            writer.append(table, tables.batch(table, stamped))
    with Recording.open(path).session() as session:
        scope = Scope(SPAN, observers)
        return recorded(session, scope, latency(session, scope))


def test_an_empty_span_holds_nothing(tmp_path):
    found = counted(tmp_path / "r", {"threads": [{"name": "python"}]})

    assert {getattr(found, name) for name in found.__slots__} == {0}


def test_calls_are_those_into_cuda_by_what_is_known_of_them(tmp_path):
    cuda = {"layer": "cuda_runtime", "operation": "cudaFree", "tid": 1}
    found = counted(
        tmp_path / "r",
        {
            "host_calls": [
                cuda | {"off_cpu_ns": 0, "first_call": 1},
                cuda | {"off_cpu_ns": 3, "run_queue_ns": 2, "selection": "biased"},
                cuda | {"off_cpu_ns": 3, "tid": 2},
                cuda | {"weight": 4.0, "tid": 4},
                cuda | {"tid": 3, "pid": 9},  # an observer's
                {"layer": "block_io", "operation": "block_read", "tid": 1},
            ],
            "off_cpu": [{"tid": 1, "run_queue_ns": 1, "stack_hash": 5}, {"tid": 1, "weight": 7.0}],
        },
        observers=(ThreadKey(None, 9, 3),),
    )

    assert (found.threads, found.calls, found.calls_followed) == (3, 4, 3)
    assert (found.calls_made, found.stays_made) == (7, 8)
    assert (found.calls_off_cpu, found.calls_unclassed) == (2, 1)
    assert (found.calls_biased, found.calls_order_known) == (1, 1)
    assert (found.stays, found.stays_unclassed, found.stays_unexplained) == (2, 1, 1)


def test_losses_are_those_of_calls_and_stays_that_leave_holes(tmp_path):
    found = counted(
        tmp_path / "r",
        {
            "losses": [
                {"table": "host_calls", "rows": 7, "reason": "buffer_full"},
                {"table": "host_calls", "rows": 100, "reason": "pruned"},
                {"table": "off_cpu", "rows": 5},
                {"table": "off_cpu", "rows": None},
                {"table": "gpu_counters", "rows": 9},
                {"table": None, "rows": None},
            ]
        },
    )

    assert (found.calls_lost, found.stays_lost, found.losses_uncounted) == (7, 5, 2)
