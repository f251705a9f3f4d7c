"""What threads did in bins, held against rows made up so that the answer is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon import tables
from gnomon.analysis.activity import IDLE_STAY_NS
from gnomon.analysis.lanes import Grid, lanes, launches_per_s
from gnomon.analysis.questions import Span, ThreadKey
from gnomon.recording._sql import SqlLimits, SqlSession

THREAD = ThreadKey("h", 1, 2)
MS = 1_000_000
BEGIN_NS = 1_795_202_080_000_000_000


def asked(question, **rows_of):
    """Ask ``question(session)`` over rows; ``ts_ns`` counts from BEGIN_NS."""
    import pyarrow as pa

    whose = {"host": THREAD.host, "pid": THREAD.pid, "tid": THREAD.tid}
    relations = {}
    for table in ("off_cpu", "host_calls"):
        rows = [whose | row | {"ts_ns": BEGIN_NS + row["ts_ns"]} for row in rows_of.get(table, ())]
        batches = [tables.batch(table, rows)] if rows else []
        relations[table] = pa.Table.from_batches(batches, tables.arrow_schema(table))
    with SqlSession(relations, SqlLimits()) as session:
        return question(session)


def grid(milliseconds, bins):
    return Grid(Span(BEGIN_NS, BEGIN_NS + milliseconds * MS), bins)


def lane(within, **rows_of):
    (found,) = asked(lambda session: lanes(session, within, [THREAD]), **rows_of)
    return found


def stay(end_ms, length_ms, **classes):
    return {"ts_ns": end_ms * MS, "duration_ns": length_ms * MS} | {
        name: value * MS for name, value in classes.items()
    }


def call(end_ms, length_ms, operation="cudaLaunchKernel", **more):
    return {
        "ts_ns": end_ms * MS,
        "duration_ns": length_ms * MS,
        "layer": "cuda_runtime",
        "operation": operation,
        "depth": 0,
        **more,
    }


def test_a_stay_is_divided_among_the_bins_that_it_lies_in():
    found = lane(grid(40, 4), off_cpu=[stay(25, 20, run_queue_ns=10, io_ns=0, voluntary_ns=10)])

    assert found.is_followed
    assert found.parts["run_queue"] == pytest.approx([0.25, 0.5, 0.25, 0])
    assert found.parts["voluntary"] == pytest.approx([0.25, 0.5, 0.25, 0])
    assert found.parts["own_code"] == pytest.approx([0.5, 0, 0.5, 0])  # then nobody saw it


def test_time_without_a_class_is_told_apart_from_every_class():
    found = lane(grid(10, 1), off_cpu=[stay(5, 4, run_queue_ns=1)])

    assert found.parts["unknown"] == pytest.approx([0.3])
    assert "voluntary" not in found.parts


def test_a_long_stay_is_sleep_but_for_what_it_waited_for_a_disk():
    length_ms = IDLE_STAY_NS // MS + 50
    found = lane(grid(length_ms, 1), off_cpu=[stay(length_ms, length_ms, io_ns=100)])

    assert found.parts["asleep"] == pytest.approx([1 - 100 / length_ms])
    assert found.parts["io"] == pytest.approx([100 / length_ms])


def test_a_synchronisation_that_blocks_waits_for_the_gpu_and_does_not_sleep():
    wait = call(9, 8, "cudaStreamSynchronize", off_cpu_ns=6 * MS, run_queue_ns=1 * MS, io_ns=0)
    found = lane(
        grid(10, 1),
        host_calls=[wait],
        off_cpu=[stay(8, 6, run_queue_ns=1, io_ns=0, voluntary_ns=5)],
    )

    assert found.parts["waiting"] == pytest.approx([0.7])
    assert found.parts["run_queue"] == pytest.approx([0.1])
    assert "voluntary" not in found.parts


def test_calls_count_once_and_without_their_time_off_the_cpu():
    outer = call(5, 4, off_cpu_ns=1 * MS)
    found = lane(grid(10, 1), host_calls=[outer, call(4, 2, "cuLaunchKernel", depth=1)])

    assert not found.is_followed
    assert found.parts == {"in_calls": pytest.approx([0.3])}


@given(
    st.lists(st.tuples(st.integers(1, 400), st.integers(0, 300)), max_size=20), st.integers(1, 9)
)
def test_no_bin_holds_more_than_its_time_and_none_less_than_nothing(rows, bins):
    stays = [stay(end, length, run_queue_ns=length) for end, length in rows]
    calls = [call(end, length) for end, length in rows]
    found = lane(grid(350, bins), off_cpu=stays, host_calls=calls)

    for shares in zip(*found.parts.values(), strict=True):
        assert all(share >= 0 for share in shares)
        assert sum(shares) <= 1 + 1e-9


def test_launches_count_by_their_weight_and_other_calls_do_not():
    rows = [
        call(5, 1, weight=4.0),
        call(15, 1),
        call(16, 1, "cudaGraphLaunch"),
        call(17, 1, "cudaMemcpyAsync"),
    ]
    found = asked(lambda session: launches_per_s(session, grid(20, 2)), host_calls=rows)

    assert found == pytest.approx([400, 200])


def test_without_launches_or_threads_there_is_no_lane():
    assert asked(lambda session: launches_per_s(session, grid(20, 2))) is None
    assert asked(lambda session: lanes(session, grid(20, 2), [])) == ()
