"""The walk through the plan: failures are named, the rest goes on, time is kept."""

import contextlib
import time

import pytest

from gnomon.hardware.calibration import measuring
from gnomon.hardware.calibration.measuring import Timing, run
from gnomon.hardware.calibration.points import Conditions, Kind, Point, Task
from tests.hardware.calibration.synthetic import FREE_BYTES, Gpu


class Watch:
    def note(self):
        pass

    def true_clock(self):
        return contextlib.nullcontext()

    def conditions(self, from_ns, to_ns):
        return Conditions(1346.0, "cupti", float(to_ns - from_ns))


class Bench:
    """A GPU in closed form, on which some kinds of work fail."""

    dtypes = ("bf16", "fp8")
    free_bytes = FREE_BYTES

    def __init__(self, broken=()):
        self.broken = broken
        self.released = 0

    def measure(self, task):
        if task.kind in self.broken:
            raise RuntimeError(f"no kernel for {task.kind}\nand a page of advice")
        return Timing(Gpu().seconds(task), 1000, 1700)

    def release(self):
        self.released += 1


def walk(bench, all_reduce=None, started_s=None, shown=None):
    progress = (lambda *told: shown.append(told)) if shown is not None else (lambda *_: None)
    started_s = time.monotonic() if started_s is None else started_s
    return run(bench, Watch(), all_reduce, progress, started_s)


def test_every_point_carries_its_conditions():
    measured = walk(Bench())

    assert not measured.failures
    assert {point.conditions.power_watts for point in measured.points} == {700.0}


def test_what_fails_is_named_by_point_and_reason_and_the_rest_goes_on():
    bench = Bench(broken={Kind.COPY, Kind.DECODE})
    measured = walk(bench)

    assert {f.reason for f in measured.failures} == {
        "no kernel for copy",
        "no kernel for decode_attention",
    }
    assert measured.failures[0].name.startswith("copy bytes")
    assert {point.task.kind for point in measured.points} >= {Kind.GEMM, Kind.READ, Kind.PREFILL}
    assert bench.released == len(measured.points) + len(measured.failures)


def test_only_kernels_that_ran_are_sustained():
    kinds = {p.task.kind for p in walk(Bench({Kind.PREFILL})).points if p.task.is_sustained}

    assert kinds == {Kind.GEMM, Kind.READ, Kind.COPY, Kind.DECODE}


def test_nothing_begins_that_would_end_too_late():
    measured = walk(Bench(), started_s=time.monotonic() - measuring.ALLOWED_S + 1)

    assert all(not point.task.is_sustained for point in measured.points)
    assert "left out" in measured.failures[-1].reason


def test_progress_only_grows_and_ends_near_the_end():
    shown = []
    walk(Bench(), shown=shown)
    shares = [share for _, share in shown]

    assert shares == sorted(shares)
    assert 0.9 <= shares[-1] <= 1.0


@pytest.mark.parametrize("fails", [True, False])
def test_the_link_is_one_step_of_its_own(fails):
    point = Point(Task(Kind.ALL_REDUCE, (8192, 2), "bf16"), 6e-6)

    def all_reduce():
        if fails:
            raise RuntimeError("NCCL says no")
        return [point]

    measured = walk(Bench(), all_reduce)

    assert (point in measured.points) is not fails
    assert ("NCCL says no" in [f.reason for f in measured.failures]) is fails
