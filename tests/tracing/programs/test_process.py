"""Processes that fork, execute, load libraries late and end while they are traced."""

import shutil
from pathlib import Path

import pytest

from gnomon.proc.identity import process_id
from gnomon.tracing.layouts import RecordKind, SlotState
from gnomon.tracing.process_facts import ProcessReader
from tests.tracing.programs.tracer import NEEDS_PROGRAMS, Tracer, of_thread

pytestmark = NEEDS_PROGRAMS


def calls_of(cells):
    return {name: int(cell["calls"]) for name, cell in cells.items()}


def test_threads_are_announced_with_who_started_them_and_when_they_end(trace):
    tracer, taken, truth = trace("call cudaLaunchKernel 23 0 0 0")
    pid, tid = truth.all["pid"], truth.thread()["tid"]
    (seen,) = tracer.records(RecordKind.THREAD_SEEN, tid)
    (ended,) = tracer.records(RecordKind.THREAD_EXITED, tid)
    thread, _ = of_thread(taken, tid)

    assert (seen["parent_tid"], seen["parent_pid"], seen["pid"]) == (pid, pid, pid)
    assert (seen["namespace_tid"], seen["namespace_pid"]) == (tid, pid)
    assert ended["name"] == thread["name"] == b"worker"
    assert ended["start_ns"] == thread["born_ns"] == seen["start_ns"]
    assert thread["ended_ns"] - thread["born_ns"] >= truth.thread()["wall_ns"]
    assert thread["state"] == SlotState.EXITED


def test_slots_and_cells_of_ended_threads_are_read_once_and_used_again(start, standins):
    load = start()
    few = {"threads": 4, "free_threads": 4, "cells": 5, "free_cells": 5}
    with Tracer(load.pid, entries=few) as tracer:
        tracer.attach(standins.runtime)
        for _ in range(10):
            load.run("call cudaLaunchKernel 23 0 0 0", "call cudaMemcpy 7 0 0 0")
            load.wait()
            taken = tracer.slots.reclaim()
            (tid,) = taken.threads["tid"]

            assert calls_of(of_thread(taken, tid)[1]) == {"cudaLaunchKernel": 23, "cudaMemcpy": 7}
        assert tracer.slots.read().threads["tid"].tolist() == [load.pid]
        assert len(tracer.slots.reclaim().threads) == 0
        assert tracer.losses() == {}


def test_a_library_loaded_late_is_probed_late(start, standins, tmp_path):
    load = start(open_libraries=False)
    with Tracer(load.pid) as tracer:
        load.open(standins.runtime)
        tracer.attach(standins.runtime)
        load.run("call cudaLaunchKernel 23 0 0 0")
        load.wait()
        tid = load.quit(tmp_path).thread()["tid"]

        assert calls_of(tracer.totals(tid)[1]) == {"cudaLaunchKernel": 23}


def test_a_forked_child_is_traced_where_children_are_followed_and_else_not(start, standins):
    for follow in (True, False):
        load = start()
        with Tracer(load.pid, follow=follow) as tracer:
            tracer.attach(standins.runtime)
            load.run("fork cudaLaunchKernel 23")
            load.wait()
            taken = tracer.slots.read()
            children = taken.threads["tid"][taken.threads["pid"] != load.pid]

            assert len(children) == follow
            for tid in children:
                assert calls_of(of_thread(taken, tid)[1]) == {"cudaLaunchKernel": 23}


def test_a_process_that_executes_goes_on_being_traced(start, standins, tmp_path):
    load = start()
    with Tracer(load.pid, follow=True) as tracer:
        tracer.attach(standins.runtime)
        load.run("call cudaLaunchKernel 5 0 0 0", name="before")
        load.wait()
        load.exec()
        load.open(standins.runtime)
        load.run("call cudaLaunchKernel 23 0 0 0", name="after")
        load.wait()
        tid = load.quit(tmp_path).thread("after")["tid"]
        (executed,) = tracer.records(RecordKind.PROCESS_EXECUTED)

        assert executed["tid"] == load.pid
        assert executed["name"] == b"load"
        assert calls_of(tracer.totals(tid)[1]) == {"cudaLaunchKernel": 23}


def test_who_is_gone_is_called_as_it_would_be_by_proc(start, standins):
    load = start()
    alive = process_id(load.pid)
    with Tracer(load.pid) as tracer:
        tracer.attach(standins.runtime)
        load.run("call cudaLaunchKernel 23 0 0 0")
        load.wait()
        record = tracer.records(RecordKind.THREAD_SEEN)[0]
    facts = ProcessReader().by_record(load.pid, int(record["process_started_ns"]), "load")

    assert facts.process_id == alive


def test_in_a_pid_namespace_threads_have_both_their_numbers(start, standins, tmp_path):
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare of util-linux")
    load = start("unshare", "--pid", "--fork", "--kill-child")
    outside = Path(f"/proc/{load.process.pid}/task/{load.process.pid}/children").read_text()
    with Tracer(int(outside)) as tracer:
        tracer.attach(standins.runtime)
        load.run("call cudaLaunchKernel 23 0 0 0")
        load.wait()
        taken, truth = tracer.slots.read(), load.quit(tmp_path)
        worker = taken.threads[taken.threads["name"] == b"worker"][0]

        assert load.pid == worker["namespace_pid"] == 1
        assert worker["namespace_tid"] == truth.thread()["tid"]
        assert worker["pid"] == int(outside)
        assert calls_of(of_thread(taken, worker["tid"])[1]) == {"cudaLaunchKernel": 23}


def test_an_unrelated_process_is_not_traced(start, standins):
    traced, other = start(), start()
    with Tracer(traced.pid, follow=True) as tracer:
        tracer.attach(standins.runtime)
        other.run("call cudaLaunchKernel 23 0 0 0")
        other.wait()

        assert tracer.slots.read().threads["pid"].tolist() == [traced.pid]
