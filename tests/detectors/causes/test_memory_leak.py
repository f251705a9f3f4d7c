"""Memory that keeps growing."""

import re

import pytest

from gnomon.detectors.causes.memory_leak import detect
from gnomon.enums import Severity
from tests.analysis.recordings import BEGIN_NS, SECOND, call
from tests.detectors.causes.proving import proved
from tests.detectors.worlds import World

GIB = 1 << 30


@pytest.mark.parametrize("kind", ["training", "decode_server", "batch_inference", "eager_small"])
def test_a_leak_is_told_of_with_its_size(tmp_path, case_of, kind):
    world = World(2, kind, 10, ranks=1).with_fault("memory_leak", 0.2)
    case = case_of(world.record(tmp_path))
    (found,) = proved(case, detect(case))

    assert (found.severity, found.pid) == (Severity.WARNING, world.truth[0].pid)
    # The first quarter is left out.
    assert found.evidence[0].value == pytest.approx(0.75 * world.truth[0].count, rel=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_a_growing_cache_is_no_leak(tmp_path, case_of, seed):
    world = World(seed, "training", 20, from_start=bool(seed % 2))

    assert list(detect(case_of(world.record(tmp_path)))) == []


def test_lost_rows_may_have_been_releases(tmp_path, case_of):
    world = World(2, "training", 10, counters=False).with_fault("memory_leak", 0.2)
    world = world.with_fault("data_loss", 0.2)

    assert list(detect(case_of(world.record(tmp_path)))) == []


def resident(seconds, bytes_of):
    return [
        {"ts_ns": BEGIN_NS + at * SECOND, "pid": 1, "rss_bytes": bytes_of(at)}
        for at in range(seconds)
    ]


def launches(seconds):
    return [call(at * SECOND // 4, 5_000, "cudaLaunchKernel") for at in range(4 * seconds)]


def host(seconds):
    return [
        {"ts_ns": BEGIN_NS + at * SECOND, "memory_total_bytes": 64 * GIB} for at in range(seconds)
    ]


@pytest.mark.parametrize(("seconds", "severity"), [(100, Severity.INFO), (900, Severity.CRITICAL)])
def test_resident_memory_says_when_it_will_be_full(case_with, seconds, severity):
    case = case_with(
        process_samples=resident(seconds, lambda at: 8 * GIB + at * (GIB // 20)),
        host_samples=host(seconds),
        host_calls=launches(seconds),
    )
    (found,) = proved(case, detect(case))

    assert (found.severity, found.pid) == (severity, 1)
    pace = found.evidence[1]
    assert pace.value == pytest.approx(GIB / 20, rel=0.01)
    # From 8 to 64 GiB at a twentieth of a GiB a second; a window counts with its lowest.
    told_s = float(re.search(r"after ([\d,]+) s", pace.text)[1].replace(",", ""))
    assert told_s == pytest.approx(56 * 20 - seconds, abs=seconds / 10)


def test_memory_that_grows_while_nothing_is_launched_may_be_a_start(case_with):
    case = case_with(process_samples=resident(900, lambda at: 8 * GIB + at * (GIB // 20)))
    (found,) = proved(case, detect(case))

    assert found.severity is Severity.INFO


def test_the_published_recordings_leak_nothing_that_is_known(imported, case_of):
    """In one of them 40 allocations have no release: its recorder does not see releases."""
    for recording in imported.values():
        assert list(detect(case_of(recording))) == []


def loading(seconds=30, *, launch_until_s=0):
    """64 MiB allocated and copied ten times a second, and launches for some of it."""
    rows = [call(at * SECOND // 50, 5_000, "cudaLaunchKernel") for at in range(50 * launch_until_s)]
    for at in range(10 * seconds):
        begin_ns = at * SECOND // 10
        rows.append(call(begin_ns, 200_000, "cudaMalloc", bytes=64 << 20, address=1000 + at))
        rows.append(call(begin_ns + 1_000_000, 80_000_000, "cudaMemcpy", bytes=64 << 20))
    return rows


@pytest.mark.parametrize(("launch_until_s", "speaks"), [(0, False), (10, False), (30, True)])
def test_what_is_allocated_without_work_is_being_loaded(case_with, launch_until_s, speaks):
    case = case_with(host_calls=loading(launch_until_s=launch_until_s))

    assert bool(list(detect(case))) == speaks


def test_growth_that_stops_before_the_work_does_is_no_leak(case_with):
    case = case_with(host_calls=loading(20, launch_until_s=30))

    assert list(detect(case)) == []
