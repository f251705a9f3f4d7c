"""Memory that ran out."""

import pytest

from gnomon.detectors.causes.oom import detect
from gnomon.enums import Severity
from tests.analysis.recordings import SECOND, call
from tests.detectors.causes.proving import proved
from tests.detectors.worlds import World


@pytest.mark.parametrize("kind", ["training", "decode_server"])
def test_every_failed_allocation_is_counted(tmp_path, case_of, kind):
    world = World(2, kind, 8, ranks=1).with_fault("oom")
    case = case_of(world.record(tmp_path))
    (found,) = proved(case, detect(case))

    assert found.severity is Severity.WARNING
    assert (found.pid, found.operation) == (world.truth[0].pid, "cudaMalloc")
    count, largest, *_ = found.evidence
    assert (count.value, largest.value) == (world.truth[0].count, 80 << 30)


def test_the_kernels_word_is_critical(tmp_path, case_of):
    world = World(2, "training", 8, ranks=1).with_fault("oom", mode="host")
    case = case_of(world.record(tmp_path))
    killed = [one for one in proved(case, detect(case)) if one.pid is None]

    assert [one.severity for one in killed] == [Severity.CRITICAL]
    assert "out of memory" in killed[0].evidence[1].text


def test_a_process_that_does_nothing_any_more_died_of_it(case_with):
    failed = call(0, 5, "cudaMalloc", return_code=2, bytes=100)
    case = case_with(host_calls=[failed, call(9 * SECOND, 5, "cudaMalloc", pid=2)])
    (found,) = proved(case, detect(case))

    assert found.severity is Severity.CRITICAL


@pytest.mark.parametrize("more", [{"return_code": 1}, {"return_code": 2, "depth": 1}])
def test_other_errors_and_nested_calls_are_not_out_of_memory(case_with, more):
    assert list(detect(case_with(host_calls=[call(0, 5, "cudaMalloc", **more)]))) == []


def test_the_published_recordings_had_memory(imported, case_of):
    for recording in imported.values():
        assert list(detect(case_of(recording))) == []
