"""Faults on a real kernel, from the workload to the verdict, with a stand-in for the GPU."""

import os

import pytest
from lab.scenarios.running import Run, judge, perform

from tests.tracing.programs.tracer import NEEDS_PROGRAMS

pytestmark = [
    *NEEDS_PROGRAMS,
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors"),
]
WITHOUT_GPU = ("dispatch_threads", "stays_off_cpu")


@pytest.mark.parametrize("name", ["cpu_contention", "voluntary_wait"])
def test_a_fault_is_said_and_its_nanoseconds_are_true(tmp_path, gpu_name, name):
    run = Run(name, fault=True, seed=0, output=tmp_path)

    assert perform(run, 2.0, 0.3, gpu=gpu_name, record="record --trace --period 100ms")
    found = judge(run, WITHOUT_GPU)
    # Others may want this machine's processors too: that is no fault of this run's verdict.
    assert found.found.split()[0] == name
    assert not [one for one in found.wrong if "%" in one or "saw no" in one]
