"""A whole session on the running kernel, against the stand-ins' own book."""

import threading
import time
from collections import Counter, defaultdict
from statistics import median

import numpy as np
import pyarrow as pa
import pytest

from gnomon import tables
from gnomon.tracing import ring_thread
from gnomon.tracing.plan import Plan
from gnomon.tracing.session import Session
from tests.standins import cudart, nccl
from tests.tracing.programs.conftest import attempted, operations_of
from tests.tracing.programs.tracer import IS_MULTI, NEEDS_PROGRAMS

pytestmark = NEEDS_PROGRAMS

# Of launches the driver's are probed, in which those of the runtime end; of few functions, all.
BELOW = {"cudaLaunchKernel": "cuLaunchKernel"}
if not IS_MULTI:
    BELOW |= {"cudaMemcpyAsync": "cuMemcpyAsync", "cudaMalloc": "cuMemAlloc"}
LAUNCH, COPY = "cuLaunchKernel", BELOW.get("cudaMemcpyAsync", "cudaMemcpyAsync")
KEEP_ALL = 1e9


@pytest.fixture(scope="module")
def standins(tmp_path_factory):
    return cudart.build(tmp_path_factory.mktemp("cudart"))


@pytest.fixture
def session_of(standins, tmp_path):
    """A function that runs tasks under a session: (rows by table, the truth)."""
    loads = []

    def ran(*tasks, under=(), **plan):
        load = cudart.Load(standins, *under)
        loads.append(load)
        load.open(standins.runtime)
        told = defaultdict(list)
        with Session(Plan(pids=(load.pid,), **plan), lambda *one: told[one[0]].append(one[1])) as s:
            for number, task in enumerate(tasks):
                load.run(task, name=f"worker{number or ''}")
            done = threading.Thread(target=load.wait)
            done.start()
            while done.is_alive():
                time.sleep(min(0.02, s.turn()))
        schemas = {table: tables.arrow_schema(table) for table in told}
        rows = {
            table: pa.Table.from_batches(some, schemas[table]).to_pylist()
            for table, some in told.items()
        }
        return defaultdict(list, rows), load.quit(tmp_path)

    yield ran
    for load in loads:
        load.close()


@pytest.fixture
def ranks(standins, tmp_path_factory):
    """Two ranks of a job that wait to do what rank.c does, and the command for it."""
    library, program = nccl.build(tmp_path_factory.mktemp("nccl"), standins)
    loads = [cudart.Load(standins, "env", f"RANK={rank}", "WORLD_SIZE=2") for rank in range(2)]
    for load in loads:
        load.open(standins.runtime)
        load.open(library)
    yield loads, f"typed {program}"
    for load in loads:
        load.close()


def test_a_collective_has_its_bytes_and_the_same_name_on_all_ranks(ranks):
    loads, task = ranks
    told = defaultdict(list)
    plan = Plan(pids=tuple(load.pid for load in loads))
    with Session(plan, lambda *one: told[one[0]].append(one[1])) as session:
        for load in loads:
            load.run(task)
        for load in loads:
            load.wait()
        session.turn()
    rows = pa.Table.from_batches(told["nccl_calls"]).to_pylist()
    # Of rank.c the first 23; on other communicators and in groups there are more.
    reduced = [row for row in rows if row["operation"] == "ncclAllReduce" and row["bytes"] == 4000]
    reduced = [row for row in reduced if row["communicator"] == reduced[0]["communicator"]]
    by_rank = [[row for row in reduced if row["rank"] == rank] for rank in range(2)]
    launches = [
        row
        for batch in told["host_calls"]
        for row in batch.to_pylist()
        if row["parent_operation"] == "ncclAllReduce"
    ]

    assert [len(of_rank) for of_rank in by_rank] == [23, 23]
    assert {(row["bytes"], row["datatype"]) for row in reduced} == {(4000, "float32")}
    assert {row["world_size"] for row in reduced} == {2}
    names = [{(row["communicator"], row["sequence"]) for row in of_rank} for of_rank in by_rank]
    assert names[0] == names[1]
    assert len(names[0]) == 23
    # Among calls into CUDA it is an outermost one: collectives have rows of their own.
    assert {row["depth"] for row in launches} == {0}


def summed(rows, column, **wanted):
    chosen = [row for row in rows if all(row[name] == of for name, of in wanted.items())]
    return sum(row[column] or 0 for row in chosen)


def test_23_calls_are_23_in_every_table_and_rows_add_up(session_of):
    rows, truth = session_of(
        "call cudaLaunchKernel 23 0 0 0 ; call cudaMemcpyAsync 23 20000 100000 0 ; "
        "call cudaMalloc 23 0 0 2"
    )
    tid = truth.thread()["tid"]
    calls = [row for row in rows["host_calls"] if row["tid"] == tid]
    counts = [row for row in rows["call_histograms"] if row["tid"] == tid]
    true = {BELOW.get(name, name): calls for name, calls in operations_of(truth).items()}

    assert Counter(row["operation"] for row in calls) == true
    assert {row["selection"] for row in calls} == {"all"}
    assert {row["weight"] for row in calls} == {1.0}
    for name, number in true.items():
        assert summed(counts, "calls", operation=name) == number
        assert summed(counts, "calls_stored", operation=name) == number
        for column in ("total_ns", "off_cpu_ns", "run_queue_ns", "io_ns", "voluntary_ns"):
            kept = "duration_ns" if column == "total_ns" else column
            assert summed(counts, column, operation=name) == summed(calls, kept, operation=name)
    assert summed(counts, "failures") == 23
    assert all(row["covered_ns"] == row["duration_ns"] for row in counts)
    assert rows["losses"] == []


def test_each_call_lies_in_the_bucket_that_counts_it(session_of):
    rows, _ = session_of("call cudaLaunchKernel 400 3000 0 0")
    buckets = [row for row in rows["call_histograms"] if row["shortest_ns"] is not None]
    durations = [row["duration_ns"] for row in rows["host_calls"] if row["operation"] == LAUNCH]

    for bounds in {(row["shortest_ns"], row["longest_ns"]) for row in buckets}:
        inside = [ns for ns in durations if bounds[0] <= ns <= bounds[1]]
        of_bucket = [row for row in buckets if row["shortest_ns"] == bounds[0]]
        assert summed(of_bucket, "calls") == len(inside)


def test_samples_and_outliers_together_estimate_what_was_counted(session_of):
    def scenario():
        rows, _ = session_of(
            "call cudaLaunchKernel 150000 4000 0 0", kept_a_second=500.0, launch_share=1.0
        )
        kept = [row for row in rows["host_calls"] if row["operation"] == LAUNCH]
        weight = np.array([row["weight"] for row in kept])
        duration = np.array([row["duration_ns"] for row in kept], float)
        # The variance of the estimate, from the sample itself (Horvitz and Thompson).
        for value, exact in (
            (np.ones(len(kept)), summed(rows["call_histograms"], "calls")),
            (duration, summed(rows["call_histograms"], "total_ns")),
        ):
            deviation = np.sqrt(np.sum(value**2 * weight * (weight - 1)))
            assert abs(np.sum(value * weight) - exact) < 5 * deviation
        assert len(kept) < 75_000
        assert {row["selection"] for row in kept} == {"all", "weighted"}
        assert summed(rows["call_histograms"], "calls") == 150_000

    attempted(scenario)


def test_stays_kept_by_chance_stand_for_all(session_of):
    rows, truth = session_of(
        "call cudaStreamSynchronize 4000 0 300000 0", kept_a_second=100.0, launch_share=1.0
    )
    tid = truth.thread()["tid"]
    stays = [row for row in rows["off_cpu"] if row["tid"] == tid]
    weight = np.array([row["weight"] for row in stays])
    switches = truth.thread()["blocked_switches"] + truth.thread()["preempted_switches"]

    deviation = np.sqrt(np.sum(weight * (weight - 1)))
    assert abs(weight.sum() - switches) < 5 * deviation + 20  # the thread's beginning and end
    assert len(stays) < switches / 2


def test_launches_beyond_the_budget_are_seen_in_windows_and_the_rest_always(session_of):
    def scenario():
        rows, _ = session_of(
            "call cudaLaunchKernel 190000 15000 0 0",
            "call cudaMemcpyAsync 300 0 10000000 0",
            launch_share=0.01,
        )
        counts = [row for row in rows["call_histograms"] if row["operation"] == LAUNCH]
        seen = sum(row["calls"] for row in counts)
        stood_for = sum(row["calls"] * row["duration_ns"] / row["covered_ns"] for row in counts)
        in_windows = [row for row in counts if row["covered_ns"] < row["duration_ns"]]
        kept = [row for row in rows["host_calls"] if row["operation"] == LAUNCH]

        assert in_windows
        assert seen < 190_000
        assert stood_for == pytest.approx(190_000, rel=0.2)
        assert sum(row["weight"] for row in kept) == pytest.approx(stood_for, rel=0.1)
        # Rows are kept until the end of what is said to be covered, not until some work before it.
        ends_ns = [row["ts_ns"] for row in kept]
        window_ends_ns = {row["ts_ns"] for row in in_windows}
        unseen_ns = [end - max(at for at in ends_ns if at <= end) for end in window_ends_ns]
        assert median(unseen_ns) < 1_500_000
        assert summed(rows["call_histograms"], "calls", operation=COPY) == 300
        assert rows["losses"] == []

    attempted(scenario)


def test_failed_calls_are_within_the_budget_too(session_of):
    rows, _ = session_of("call cudaMalloc 300000 3000 0 2")
    kept = rows["host_calls"]

    assert summed(rows["call_histograms"], "failures") == 300_000
    assert len(kept) < 200_000
    assert sum(row["weight"] for row in kept) == pytest.approx(300_000, rel=0.1)


def test_what_the_ring_has_no_room_for_is_told_as_lost(session_of, monkeypatch):
    monkeypatch.setattr(ring_thread, "MOST_RECORDS", -1)  # nobody empties it
    rows, _ = session_of(
        "call cudaLaunchKernel 60000 0 0 0",
        "call cudaLaunchKernel 60000 0 0 0",
        kept_a_second=KEEP_ALL,
        launch_share=1.0,
    )

    # 8 MiB hold 65,536 records of 128 bytes; some of them are of other things.
    lost = summed(rows["losses"], "rows", table="host_calls", reason="ring_full")
    assert 120_000 - 65_536 <= lost < 120_000
    assert summed(rows["call_histograms"], "calls", operation=LAUNCH) == 120_000


def test_threads_have_names_ranks_and_counts(session_of):
    rows, truth = session_of(
        "call cudaLaunchKernel 23 0 0 0", under=("env", "RANK=3", "LOCAL_RANK=1", "WORLD_SIZE=8")
    )
    tid = truth.thread()["tid"]
    first, *_, last = (row for row in rows["threads"] if row["tid"] == tid)

    assert (last["name"], last["process_name"]) == ("worker", "load")
    assert (first["rank"], first["local_rank"], first["world_size"]) == (3, 1, 8)
    assert first["calls"] is None
    assert (last["calls"], last["off_cpu_selection"]) == (23, "all")
    assert last["stays_off_cpu"] == sum(row["tid"] == tid for row in rows["off_cpu"])
    assert {row["rank"] for row in rows["host_calls"] if row["tid"] == tid} == {3}
    assert all(
        row["role"] == "observer" for row in rows["threads"] if row["pid"] != truth.all["pid"]
    )


def test_stacks_are_told_once_and_name_functions_of_the_kernel(session_of):
    rows, _ = session_of("call cudaStreamSynchronize 23 0 2000000 0")
    slept = {
        row["stack_hash"]
        for row in rows["off_cpu"]
        if row["operation"] and row["state"] == "interruptible"
    }
    frames = [row for row in rows["stacks"] if row["stack_hash"] in slept]
    places = Counter((row["stack_hash"], row["depth"]) for row in frames)

    assert slept
    assert {row["stack_hash"] for row in frames} == slept
    assert set(places.values()) == {1}
    assert any("nanosleep" in (row["symbol"] or "") for row in frames)
