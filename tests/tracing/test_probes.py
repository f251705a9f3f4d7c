"""Probes that are perf events, one by one, as on Linux before 6.6; newer kernels have them, too."""

import pytest

from gnomon.tracing.processes import Wanted
from gnomon.tracing.route import Route
from tests.tracing.following import Following, is_probed
from tests.tracing.programs.tracer import NEEDS_PROGRAMS

pytestmark = NEEDS_PROGRAMS
LAUNCH, COPY = "cudaLaunchKernel", "cudaMemcpy"
ONE_BY_ONE = Route(is_multi=False, filters_processes=True)


@pytest.fixture
def follow():
    """A function that follows processes, with what is told to be missing."""
    following = []

    def followed(*callers):
        wanted = Wanted(pids=tuple(caller.pid for caller in callers))
        following.append(Following(wanted, route=ONE_BY_ONE))
        return following[-1]

    yield followed
    for one in following:
        one.__exit__()


def test_a_few_functions_are_probed_in_the_driver_and_the_rest_is_said_to_be_missing(
    start, built, follow
):
    caller = start(load=[built.runtime])
    following = follow(caller)
    caller.order("call", built.runtime, LAUNCH, 23)
    caller.order("call", built.runtime, COPY, 5)
    caller.order("call", built.runtime, "cudaMemset", 5)

    assert following.calls() == {"cuLaunchKernel": 23, "cuMemcpy": 5}
    assert following.kinds() == ["few_functions"]
    assert following.losses() == {}


def test_launches_are_switched_off_and_on_and_the_others_stay(start, built, follow):
    caller = start(load=[built.runtime])
    following = follow(caller)
    for on in (False, True, False):
        following.attachment.set_launches(on)
        caller.order("call", built.runtime, LAUNCH, 23)
        caller.order("call", built.runtime, COPY, 5)

        assert is_probed(caller.pid, built.driver, "cuLaunchKernel") == on
    assert following.calls() == {"cuLaunchKernel": 23, "cuMemcpy": 15}


def test_others_that_use_the_library_are_not_probed(start, built, follow):
    traced, other = start(load=[built.runtime]), start(load=[built.runtime])
    following = follow(traced)
    for caller in (traced, other):
        caller.order("call", built.runtime, COPY, 23)

    assert following.calls() == {"cuMemcpy": 23}
    assert is_probed(traced.pid, built.driver, "cuMemcpy")
    assert not is_probed(other.pid, built.driver, "cuMemcpy")


def test_nothing_is_left_of_them_in_the_process(start, built, follow):
    caller = start(load=[built.runtime])
    following = follow(caller)
    following.attachment.close()
    caller.order("call", built.runtime, COPY, 23)

    assert following.calls() == {}
    assert not is_probed(caller.pid, built.driver, "cuMemcpy")


def test_a_process_that_executes_and_loads_the_library_late_is_probed_anew(start, built, follow):
    caller = start()
    following = follow(caller)
    caller.order("exec")
    caller.order("load", built.runtime)
    following.rescan()
    caller.order("call", built.runtime, COPY, 23)

    assert following.calls() == {"cuMemcpy": 23}
