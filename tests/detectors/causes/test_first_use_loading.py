"""Functions that are loaded at their first launch."""

import pytest

from gnomon.detectors.causes.first_use_loading import detect
from gnomon.enums import Severity
from tests.analysis.recordings import MS, SECOND, US, call
from tests.detectors.causes.proving import found_loss, proved
from tests.detectors.worlds import World


def test_the_published_recording_loads_kernels(imported, case_of):
    """Computed from the file: 9 first launches above 1 ms took 141,956,694 ns.

    What was lost in loads is 142.5 ms, of it 137.6 ms in a quarter of a second, which is told.
    """
    case = case_of(imported["vllm-37343-logprobs-amplification"])
    (found,) = proved(case, detect(case))

    assert found.thread_seconds == pytest.approx(0.141957, rel=0.05)
    assert 0.137 < found.thread_seconds < 0.142
    assert found.to_ns - found.from_ns < SECOND
    assert (found.pid, found.tid) == (72801, 72801)
    assert found.severity is Severity.INFO
    (waited,) = found.ruled_out
    assert waited.value < 0.01 * found.thread_seconds * 1e9


def test_a_file_without_its_begin_says_nothing(imported, case_of):
    for name in ("sample-gpu-node-01", "sample-gpu-node-02"):
        assert list(detect(case_of(imported[name]))) == []


@pytest.mark.parametrize("kind", ["training", "decode_server", "batch_inference", "eager_small"])
def test_loading_all_along_costs_what_it_took(tmp_path, case_of, kind):
    world = World(2, kind, 8, ranks=1).with_fault("first_use_loading", 0.2)

    found_loss(case_of(world.record(tmp_path)), detect, world, 0.03)


def launches(first_ns, at=0, usual_ns=6 * US):
    """Return 1,000 launches, a millisecond apart; one of them is a first one."""
    return [
        call(number * 500 * MS, first_ns, "cudaLaunchKernel", first_call=1)
        if number == at
        else call(number * 500 * MS, usual_ns, "cudaLaunchKernel", first_call=0)
        for number in range(50)
    ]


@pytest.mark.parametrize(
    ("at", "severity"), [(0, Severity.INFO), (40, Severity.WARNING)], ids=["at first", "late"]
)
def test_only_what_comes_late_is_more_than_worth_knowing(case_with, at, severity):
    case = case_with(host_calls=launches(2_000 * MS, at))
    (found,) = proved(case, detect(case))

    assert found.severity is severity


def test_a_first_launch_as_slow_as_others_loaded_nothing(case_with):
    assert list(detect(case_with(host_calls=launches(90 * MS, usual_ns=90 * MS)))) == []


def test_without_other_launches_there_is_nothing_to_compare_with(case_with):
    case = case_with(host_calls=launches(30 * MS)[:1])
    (found,) = proved(case, detect(case))

    assert found.thread_seconds == pytest.approx(0.030)
    assert found.evidence[0].text == "1 first launches of a function took 30 ms"
    assert not any("other" in one.text for one in found.evidence)


def test_functions_with_and_without_other_launches_are_told_together(case_with):
    graph = call(400 * MS, 50 * MS, "cudaGraphLaunch", first_call=1)
    case = case_with(host_calls=[*launches(30 * MS), graph])
    (found,) = proved(case, detect(case))

    assert found.thread_seconds == pytest.approx(0.080, rel=0.001)
    assert found.evidence[0].text.endswith("longer than others, as far as there are any")


def test_a_short_window_makes_no_loading_severe(case_with):
    rows = [call(at * 2 * MS, 6 * US, "cudaLaunchKernel", first_call=0) for at in range(100)]
    rows.append(call(150 * MS, 30 * MS, "cudaLaunchKernel", first_call=1))
    (found,) = detect(case_with(host_calls=rows))

    assert found.severity is Severity.INFO
