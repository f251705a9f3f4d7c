"""Python stacks of calls into the CUDA stand-in, told with the very call that was open."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from gnomon.tracing import operations
from gnomon.tracing.layouts import RecordKind
from gnomon.tracing.sampler import Sampler
from tests.tracing.programs.tracer import NEEDS_PROGRAMS, Tracer

pytestmark = NEEDS_PROGRAMS

# The stand-in's task is in its book: the second number is how long a call sleeps.
PROGRAM = """
import ctypes, sys, time
driver = ctypes.CDLL(sys.argv[2], ctypes.RTLD_GLOBAL)
runtime = ctypes.CDLL(sys.argv[1])
driver.standin_book.restype = ctypes.POINTER(ctypes.c_int64)
driver.standin_book()[1] = 40_000_000

def synchronize():
    runtime.cudaDeviceSynchronize()

def busy():
    until = time.monotonic() + 0.04
    while time.monotonic() < until:
        pass

print("ready", flush=True)
while True:
    synchronize()
    busy()
"""
SYNCHRONIZE = next(
    number
    for number, one in enumerate(operations.OPERATIONS)
    if one.name == "cudaDeviceSynchronize"
)


@pytest.fixture
def program(standins):
    command = [sys.executable, "-c", PROGRAM, standins.runtime, standins.driver]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout.readline() == "ready\n"
        yield started
        started.kill()


def test_samples_name_the_lines_in_calls_and_between_them(program, standins):
    with Tracer(program.pid) as tracer:
        tracer.attach(standins.runtime, standins.driver)
        looking = Sampler(tracer.slots)
        samples = []
        # The first choice of threads may be made before any call.
        ends = time.monotonic() + 2.5
        while time.monotonic() < ends:
            time.sleep(max(0, looking.due_ns() - time.monotonic_ns()) / 1e9)
            samples += looking.sample(time.monotonic_ns())
        calls = tracer.records(RecordKind.CALL, program.pid)
        stacks = {one.stack_hash: looking.stack(one.stack_hash) for one in samples}
    starts = set(calls["start_ns"][calls["operation"] == SYNCHRONIZE].tolist())
    inside = [one for one in samples if one.operation is not None]
    names = {one.operation is None: stacks[one.stack_hash][0].function for one in samples}

    assert {one.operation for one in inside} == {SYNCHRONIZE}
    # A call that is open at the end has no record yet.
    assert len({one.call_start_ns for one in inside} - starts) <= 1
    assert {stacks[one.stack_hash][0].function for one in inside} == {"synchronize"}
    assert names == {False: "synchronize", True: "busy"}
    assert 0.2 < len(inside) / len(samples) < 0.8


def test_lines_are_those_of_the_source(program, standins):
    lines = PROGRAM.splitlines()
    with Tracer(program.pid) as tracer:
        tracer.attach(standins.runtime)
        looking = Sampler(tracer.slots)
        samples = []
        ends = time.monotonic() + 30
        while not any(one.operation is not None for one in samples):
            assert time.monotonic() < ends
            time.sleep(0.02)
            samples += looking.sample(time.monotonic_ns())
    (inner, outer) = looking.stack(samples[-1].stack_hash)

    assert lines[inner.line - 1].strip() == "runtime.cudaDeviceSynchronize()"
    assert lines[outer.line - 1].strip() == "synchronize()"
    assert Path(inner.file).name == "<string>"
