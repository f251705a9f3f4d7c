"""Stacks of running Pythons, against what these say of themselves."""

import errno
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gnomon._errors import TracingError
from gnomon.tracing import python_stacks
from gnomon.tracing.process_memory import ProcessMemory
from gnomon.tracing.python_finder import NoPythonError
from gnomon.tracing.python_stacks import PythonReader
from tests.tracing.python_stack_checks import (
    Source,
    check_waiting,
    check_wild,
    interpreters,
    target,
)

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="read on x86-64 only")
PYTHONS = interpreters()
each_python = pytest.mark.parametrize("command", PYTHONS.values(), ids=PYTHONS.keys())


@each_python
@pytest.mark.parametrize("mode", ["wait", "fork"])
def test_waiting_threads_have_the_stacks_that_their_interpreter_tells(command, mode):
    assert check_waiting(command, mode) == 13


@each_python
def test_no_call_is_made_up_of_a_thread_that_never_rests(command):
    found, _ = check_wild(command, 1500)

    assert found > 100


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a namespace of process ids")
def test_threads_in_another_namespace_of_process_ids_go_by_the_ids_they_see():
    apart = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    with target([*apart, sys.executable], "wait") as (started, truth):
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text()
        reader = PythonReader(int(children))
        stacks = {tid: reader.stack(int(tid)) for tid in truth}

    assert {int(tid) for tid in truth} < set(range(2, 40))
    assert all(stack[0].function == "block" for stack in stacks.values())


def test_threads_that_start_and_end_are_told_apart():
    reader, ends = PythonReader(os.getpid()), threading.Event()

    def work(tids):
        tids.append(threading.get_native_id())
        ends.wait()

    for _ in range(3):
        tids = []
        thread = threading.Thread(target=work, args=[tids])
        thread.start()
        while not tids:
            pass
        names = [frame.function.rpartition(".")[2] for frame in reader.stack(tids[0])]
        ends.set()
        thread.join()

        assert "work" in names
        assert reader.stack(tids[0]) is None
        ends.clear()


def test_a_stack_of_which_inner_frames_change_is_told_without_them():
    outer, called, other = (1, 10, 100), (2, 20, 200), (2, 30, 300)

    assert python_stacks._shared([[called, outer], [other, outer], [outer]]) == [outer]
    assert python_stacks._shared([[called, outer]] * 3) == [called, outer]
    # One call has ended and another one begun: which, does not count.
    assert python_stacks._shared([[called, outer], [called, (1, 10, 104)]] * 2) == [(1, 10, 104)]
    with pytest.raises(python_stacks.TornError):
        python_stacks._shared([[called, outer], [called], [other]])


def test_a_process_without_python_is_told():
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            with pytest.raises(NoPythonError, match=f"process {process.pid} has no Python"):
                PythonReader(process.pid)
        finally:
            process.kill()


def test_an_ended_process_has_no_stacks():
    with target([sys.executable], "wait") as (started, truth):
        reader = PythonReader(started.pid)
    with pytest.raises(TracingError, match="cannot read the memory map"):
        PythonReader(started.pid)

    assert [reader.stack(int(tid)) for tid in truth] == [None] * len(truth)


def test_memory_that_may_not_be_read_is_told_with_the_remedy(monkeypatch):
    memory = ProcessMemory(os.getpid())
    monkeypatch.setattr(memory, "_read", lambda *_: -1)
    monkeypatch.setattr("ctypes.get_errno", lambda: errno.EPERM)
    with pytest.raises(TracingError, match="cannot read the memory of process") as caught:
        memory.read(0x1000, 8)

    assert "CAP_SYS_PTRACE" in caught.value.remedy


@each_python
def test_whatever_the_memory_holds_reading_ends_with_a_stack_or_none(command, monkeypatch):
    chance = random.Random(1)
    with target(command, "wait") as (started, truth):
        reader = PythonReader(started.pid)
        gather = reader._memory._gather

        def damaged(spans):
            data = bytearray(gather(spans))
            for _ in range(chance.randrange(4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            return bytes(data)

        monkeypatch.setattr(reader._memory, "_gather", damaged)
        for _ in range(20):
            for tid in truth:
                stack = reader.stack(int(tid))
                assert stack is None or all(frame.function.isprintable() for frame in stack)


def test_the_check_of_wild_stacks_refuses_calls_that_are_not_in_the_source():
    text = (
        "def f():\n    g()\n    h()\ndef g():\n    pass\ndef h():\n    pass\ndef wild():\n    f()\n"
    )
    frames = [("f", 2), ("wild", 9), ("<module>", 1)]
    rest = [python_stacks.PythonFrame(name, "target.py", line) for name, line in frames]
    end = python_stacks.PythonFrame("<module>", "<string>", 1)
    stacks = [
        (python_stacks.PythonFrame(name, "target.py", line), *rest, end)
        for name, line in [("g", 5), ("g", 7), ("h", 7)]
    ]

    assert [Source(text).can_have(stack) for stack in stacks] == [True, False, False]
