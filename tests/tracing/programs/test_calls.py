"""Calls into the CUDA stand-ins, against the stand-ins' own book."""

import time
from pathlib import Path

import numpy as np
import pytest

from gnomon.enums import CallLayer
from gnomon.tracing import operations
from gnomon.tracing.elf import Elf
from gnomon.tracing.entry_points import is_emulated
from gnomon.tracing.layouts import RecordKind
from gnomon.tracing.slots import bucket_edges_ns
from tests.tracing.programs.conftest import attempted, operations_of
from tests.tracing.programs.tracer import (
    ALWAYS,
    NEEDS_EVERY_FUNCTION,
    NEEDS_PROGRAMS,
    NEVER_NS,
    Tracer,
    of_thread,
)

pytestmark = NEEDS_PROGRAMS

MILLISECOND_NS = 1_000_000


def counts(cells):
    return {name: int(cell["calls"]) for name, cell in cells.items()}


def functions_of(library):
    with library.open("rb") as file:
        elf = Elf(file, str(library))
        return elf.machine, {one.name: elf.first_bytes(one) for one in elf.functions()}


def test_every_traced_function_is_exported_by_the_stand_ins_and_begins_like_the_real_ones(standins):
    machine, functions = functions_of(standins.runtime)
    functions |= functions_of(standins.driver)[1]
    traced = functions.keys() & operations.numbers().keys()

    assert {operations.numbers()[name] for name in traced} == {
        number
        for number, operation in enumerate(operations.OPERATIONS)
        if operation.layer is not CallLayer.NCCL
    }
    assert all(is_emulated(machine, functions[name]) for name in traced)


@NEEDS_EVERY_FUNCTION
def test_23_calls_of_every_function_are_23_calls_and_nested_ones_are_part_of_them(trace, standins):
    exported = {**functions_of(standins.runtime)[1], **functions_of(standins.driver)[1]}
    names = sorted(exported.keys() & operations.numbers().keys())
    runtime_calls = 23 * sum(name.lstrip("_").startswith("cuda") for name in names)

    tracer, taken, truth = trace(*(f"call {name} 23 0 0 0" for name in names))
    tid = truth.thread()["tid"]
    thread, cells = of_thread(taken, tid)
    records = tracer.records(RecordKind.CALL, tid)

    assert counts(cells) == operations_of(truth)
    assert len(records) == truth.thread()["calls"] == 23 * len(names)
    assert thread["nested_calls"] == runtime_calls
    assert tracer.losses() == {}


def test_probing_the_driver_alone_counts_the_calls_of_the_runtime_once(trace, start, standins):
    load = start()
    with Tracer(load.pid) as tracer:
        tracer.attach(standins.driver, functions=["cuLaunchKernel", "cuMemcpyAsync_ptsz"])
        load.run("call cudaLaunchKernel 23 0 0 0", "call cudaMemcpyAsync_ptsz 23 0 0 0")
        load.wait()
        taken = tracer.slots.read()
        (worker,) = taken.threads[taken.threads["name"] == b"worker"]

        assert counts(of_thread(taken, worker["tid"])[1]) == {
            "cuLaunchKernel": 23,
            "cuMemcpyAsync": 23,
        }


def test_durations_from_20_us_are_those_of_the_stand_ins_clock(trace):
    def scenario():
        tracer, taken, truth = trace(
            "call cudaLaunchKernel 200 20000 0 0",
            "call cudaMemcpyAsync 100 200000 0 0",
            "call cuStreamSynchronize 20 100000 2000000 0",
        )
        true_ns = np.array(truth.durations_ns())
        records = tracer.records(RecordKind.CALL, truth.thread()["tid"])
        error_ns = np.abs(records["duration_ns"].astype(np.int64) - true_ns)
        # What interrupts the few instructions between the two clocks belongs to neither.
        assert np.mean(error_ns <= np.maximum(0.03 * true_ns, 500)) >= 0.97

        for name, calls in (("cudaLaunchKernel", 200), ("cuStreamSynchronize", 20)):
            cell = of_thread(taken, truth.thread()["tid"])[1][name]
            kept = records[records["operation"] == cell["operation"]]["duration_ns"]
            assert cell["total_ns"] == kept.sum()
            assert cell["histogram"].tolist() == np.histogram(kept, bucket_edges_ns())[0].tolist()
            assert len(kept) == calls

    attempted(scenario)


def test_the_histogram_tells_the_median_within_a_bucket(trace):
    def scenario():
        _, taken, truth = trace("call cudaLaunchKernel 301 30000 0 0")
        histogram = of_thread(taken, truth.thread()["tid"])[1]["cudaLaunchKernel"]["histogram"]
        bucket = int(np.searchsorted(np.cumsum(histogram), 151))
        low_ns, high_ns = bucket_edges_ns()[bucket - 1], bucket_edges_ns()[bucket + 2]

        assert low_ns <= np.median(truth.durations_ns()) <= high_ns

    attempted(scenario)


def test_time_off_the_processor_is_told_inside_of_the_call(trace):
    def scenario():
        tracer, _, truth = trace("call cudaStreamSynchronize 30 1000000 5000000 0")
        records = tracer.records(RecordKind.CALL, truth.thread()["tid"])
        away_ns = sum(
            records[name].astype(np.int64)
            for name in ("run_queue_ns", "io_ns", "voluntary_ns", "uninterruptible_ns")
        )
        ran_ns = records["duration_ns"].astype(np.int64) - away_ns

        assert np.all(records["voluntary_ns"] >= 4.9 * MILLISECOND_NS)
        assert np.all(ran_ns >= MILLISECOND_NS)
        assert np.median(ran_ns) == pytest.approx(MILLISECOND_NS, rel=0.1)

    attempted(scenario)


def test_failed_calls_are_counted_and_kept_however_short(trace):
    tracer, taken, truth = trace(
        "call cudaMalloc 23 0 0 2",
        "call cudaMalloc 23 0 0 0",
        prepare=lambda tracer: tracer.keep_calls(NEVER_NS),
    )
    tid = truth.thread()["tid"]
    cell = of_thread(taken, tid)[1]["cudaMalloc"]
    records = tracer.records(RecordKind.CALL, tid)

    assert (cell["calls"], cell["failed"]) == (46, 23)
    assert records["return_code"].tolist() == [2] * 23


def test_failed_calls_have_a_chance_where_there_are_too_many(trace):
    def keep(tracer):
        tracer.keep_calls(NEVER_NS)
        tracer.settings["failed_sample"] = ALWAYS // 10

    tracer, taken, truth = trace("call cudaMalloc 20000 0 0 2", prepare=keep)
    tid = truth.thread()["tid"]
    records = tracer.records(RecordKind.CALL, tid)

    assert of_thread(taken, tid)[1]["cudaMalloc"]["failed"] == 20_000
    assert len(records) == pytest.approx(2_000, rel=0.15)
    assert np.sum(2**32 / records["sample"]) == pytest.approx(20_000, rel=0.15)


def test_a_sample_has_a_known_weight_and_outliers_are_kept_beside_it(trace):
    def keep(tracer):
        tracer.keep_calls(MILLISECOND_NS, sample=ALWAYS // 10)

    tracer, _, truth = trace(
        "call cudaLaunchKernel 20000 0 0 0", "call cudaLaunchKernel 23 0 2000000 0", prepare=keep
    )
    records = tracer.records(RecordKind.CALL, truth.thread()["tid"])
    is_sampled = records["sample"] > 0
    calls = np.sum(2**32 / records["sample"][is_sampled])

    assert calls == pytest.approx(20000, rel=0.11)  # 5 standard deviations of a binomial
    assert np.all(records["duration_ns"][is_sampled] < MILLISECOND_NS)
    assert np.sum(~is_sampled) >= 23


def test_calls_left_by_longjmp_are_told_and_spoil_nothing(trace):
    tracer, taken, truth = trace("jump cudaMemcpy 10", "call cudaLaunchKernel 23 0 0 0")

    assert counts(of_thread(taken, truth.thread()["tid"])[1]) == {"cudaLaunchKernel": 23}
    assert tracer.losses() == {"calls_abandoned": 10}


def test_a_flood_from_two_threads_loses_only_what_is_counted(start, standins, tmp_path):
    load = start()
    # Nobody reads: 64 KiB hold 511 records.
    with Tracer(load.pid, entries={"records": 1 << 16}, is_read=False) as tracer:
        tracer.attach(standins.runtime, standins.driver)
        tracer.keep_stays(NEVER_NS)
        tracer.settings["block_threshold_ns"] = NEVER_NS
        for processor in (0, 1):
            load.run("call cudaLaunchKernel 30000 0 0 0", name=f"w{processor}", processor=processor)
        load.wait()
        taken, truth = tracer.slots.read(), load.quit(tmp_path)
        lost = tracer.losses()
        kept = len(tracer.records(RecordKind.CALL))

        for name in ("w0", "w1"):
            cells = of_thread(taken, truth.thread(name)["tid"])[1]
            assert counts(cells) == {"cudaLaunchKernel": 30000}
        assert kept > 0
        assert kept + lost["call_records"] == 60000
        assert lost.keys() <= {"call_records", "thread_records"}


def test_calls_without_room_for_totals_are_counted_as_lost(trace):
    tracer, taken, truth = trace(
        "call cudaLaunchKernel 23 0 0 0",
        "call cudaMemcpy 5 0 0 0",
        entries={"cells": 2, "free_cells": 2},
    )

    assert counts(of_thread(taken, truth.thread()["tid"])[1]) == {"cudaLaunchKernel": 23}
    assert tracer.losses() == {"calls_without_cell": 5}

    tracer, taken, truth = trace(
        "call cudaLaunchKernel 23 0 0 0", entries={"threads": 2, "free_threads": 2}
    )

    assert taken.threads["tid"].tolist() == [truth.all["pid"]]
    assert tracer.losses() == {"threads_without_slot": 1, "calls_without_slot": 23}
    assert len(tracer.records(RecordKind.CALL, truth.thread()["tid"])) == 23


def test_launches_that_were_open_when_their_probes_went_swallow_no_later_call(start, standins):
    load = start()
    with Tracer(load.pid) as tracer:
        tracer.attach(standins.driver, functions={"cuMemcpy"})
        links = tracer.attach(standins.driver, functions={"cuLaunchKernel"})
        load.run("call cuLaunchKernel 1 0 300000000 0", "call cuMemcpy 23 0 0 0")
        open_call_of(tracer)
        for link in reversed(links):
            link.close()
        tracer.settings["launches_closed_ns"] = time.monotonic_ns()
        load.wait()
        taken = tracer.slots.read()
        (worker,) = taken.threads[taken.threads["name"] == b"worker"]

        assert counts(of_thread(taken, worker["tid"])[1]) == {"cuMemcpy": 23}
        assert tracer.losses() == {"calls_cut": 1}


def open_call_of(tracer):
    """The slot of a thread, once one has a call open."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        threads = tracer.slots.threads
        found = threads[threads["open_since_ns"] > 0].copy()
        if len(found):
            return found[0]
    raise AssertionError("no call was ever open")


def test_the_outermost_open_call_of_a_thread_can_be_seen(start, standins, tmp_path):
    load = start()
    with Tracer(load.pid) as tracer:
        tracer.attach(standins.runtime, standins.driver)
        load.run("call cudaStreamSynchronize 1 0 300000000 0", "call cudaMemcpy 1 0 0 0")
        seen = open_call_of(tracer)
        load.wait()
        thread = load.quit(tmp_path).thread()
        first, _ = tracer.records(RecordKind.CALL, thread["tid"])

        assert seen["open_since_ns"] == first["start_ns"]
        assert seen["open_operation"] == first["operation"]
        assert tracer.totals(thread["tid"])[0]["open_since_ns"] == 0


def test_kept_calls_that_took_long_have_the_stack_of_their_caller(start, standins):
    load = start()
    with Tracer(load.pid) as tracer:
        tracer.settings["user_stack_threshold_ns"] = MILLISECOND_NS
        tracer.attach(standins.driver)
        load.run("call cuStreamSynchronize 3 0 2000000 0", "call cuMemcpy 3 0 0 0")
        load.wait()
        maps = Path(f"/proc/{load.pid}/maps").read_text().splitlines()
        own = [line.split()[0].split("-") for line in maps if line.endswith("/load")]
        records = tracer.records(RecordKind.CALL)
        slow = records[records["duration_ns"] >= MILLISECOND_NS]
        (key,) = set(slow["user_stack"].tolist())
        stack = np.frombuffer(tracer.maps["user_stacks"].lookup(key.to_bytes(8, "little")), "u8")

        assert len(slow) >= 3
        assert not records["user_stack"][records["duration_ns"] < MILLISECOND_NS].any()
        assert any(int(begin, 16) <= stack[0] < int(end, 16) for begin, end in own)


def test_a_call_open_at_attach_is_not_told_and_the_next_ones_are(start, standins, tmp_path):
    load = start()
    load.run("call cuStreamSynchronize 6 0 300000000 0")
    # Whom to trace is then decided by who was there, not by who calls.
    with Tracer(load.pid, follow=True) as tracer:
        tracer.attach(standins.driver)
        load.wait()
        truth = load.quit(tmp_path)
        records = tracer.records(RecordKind.CALL, truth.thread()["tid"])

        assert 1 <= len(records) <= 5
        assert np.all(records["duration_ns"] >= 300 * MILLISECOND_NS)
        # Returns are probed before entries: a call may begin between the two.
        assert tracer.losses() in ({}, {"returns_unmatched": 1})
