"""The cost of a probe, measured on a function of our own."""

import os
from pathlib import Path

from gnomon.tracing.calibration import CODE, FUNCTION, measure_call_cost
from gnomon.tracing.elf import X86_64
from gnomon.tracing.entry_points import is_emulated
from tests.tracing.kernel import open_descriptors
from tests.tracing.programs.tracer import IS_MULTI, NEEDS_PROGRAMS

pytestmark = NEEDS_PROGRAMS


def test_a_probed_call_takes_a_plausible_time_and_part_of_it_is_in_its_duration():
    cost = measure_call_cost(uprobe_multi=IS_MULTI)

    assert 50 < cost.floor_ns < cost.pair_ns < 100_000


def test_nothing_is_left_of_a_measurement():
    measure_call_cost(uprobe_multi=IS_MULTI)
    before = open_descriptors()
    measure_call_cost(uprobe_multi=IS_MULTI)

    assert open_descriptors() == before
    assert "gnomon-calibration" not in Path(f"/proc/{os.getpid()}/maps").read_text()


def test_the_function_begins_as_those_of_cuda_do():
    assert is_emulated(X86_64, FUNCTION)
    assert CODE.startswith(FUNCTION)
