"""The CUDA stand-ins, and a kernel on which programs may run."""

from collections import Counter

import pytest

from gnomon.tracing import operations
from tests.standins import cudart
from tests.tracing.programs.tracer import Tracer


@pytest.fixture(scope="session")
def standins(tmp_path_factory):
    return cudart.build(tmp_path_factory.mktemp("cudart"))


@pytest.fixture
def start(standins):
    """A function that starts a load, ``under`` a command, with both libraries open or not."""
    loads = []

    def started(*under, open_libraries=True):
        loads.append(cudart.Load(standins, *under))
        if open_libraries:
            loads[-1].open(standins.runtime)
        return loads[-1]

    yield started
    for load in loads:
        load.close()


@pytest.fixture
def trace(start, standins, tmp_path):
    """A function that runs tasks under a tracer: (the tracer, its totals, the truth).

    ``tracer`` may be changed by ``prepare`` before the tasks begin; ``under`` is a command that
    runs the load.
    """
    tracers = []

    def traced(*tasks, prepare=lambda tracer: None, processor=-1, hog=False, under=(), **options):
        load = start(*under)
        tracer = Tracer(load.pid, **options)
        tracers.append(tracer)
        with_reader = tracer.__enter__()
        with_reader.attach(standins.runtime, standins.driver)
        prepare(tracer)
        if hog:
            load.command(f"hog {processor}")
        load.run(*tasks, processor=processor)
        load.wait()
        return tracer, tracer.slots.read(), load.quit(tmp_path)

    yield traced
    for tracer in tracers:
        tracer.__exit__()


def attempted(scenario, times=3):
    """Run a scenario until it holds: others use this machine, too."""
    for left in reversed(range(times)):
        try:
            return scenario()
        except AssertionError:
            if not left:
                raise
    return None


def operations_of(truth, name="worker"):
    """How often the thread called each operation, without calls inside of calls."""
    numbers = operations.numbers()
    return Counter(
        operations.OPERATIONS[numbers[function]].name
        for function, _, depth, *_ in truth.thread(name)["entries"]
        if depth == 0
    )
