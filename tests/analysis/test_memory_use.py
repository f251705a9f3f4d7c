"""Memory in use: what is held, and whether it grows."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gnomon.analysis.memory_use import Memory, MemoryUse, allocated, growth, readings
from gnomon.analysis.questions import Span
from tests.analysis.recordings import BEGIN_NS, SECOND, asked, call

WINDOWS = 20


def held(path, rows):
    with asked(path, host_calls=rows) as told:
        return allocated(told.session, told.scope, told.operations, WINDOWS)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 1 << 40)), max_size=60))
@example([(0, 1)] * 60)
def test_what_is_held_is_what_brute_force_finds(tmp_path_factory, drawn):
    blocks, rows = {}, []
    total = np.zeros(len(drawn))
    for number, (address, nbytes) in enumerate(drawn):
        if address in blocks:
            rows.append(call(number * SECOND, 1000, "cudaFree", address=address))
            del blocks[address]
        else:
            rows.append(call(number * SECOND, 1000, "cudaMalloc", address=address, bytes=nbytes))
            blocks[address] = nbytes
        total[number] = sum(blocks.values())
    found = held(tmp_path_factory.mktemp("recording"), rows)

    if not drawn:
        assert found == ()
        return
    (one,) = found
    # Windows of 5 s and a ns at most; a call ends 1 us after its second begins.
    places = [min(len(drawn), 5 * (window + 1)) - 1 for window in range(WINDOWS)]
    assert one.bytes.tolist() == total[places].tolist()


def test_memory_of_the_host_failures_and_nested_calls_do_not_count(tmp_path):
    rows = [
        call(0, 5, "cudaMalloc", address=1, bytes=100),
        call(1, 5, "cudaMalloc", address=2, bytes=1000, return_code=2),
        call(2, 5, "cudaHostAlloc", address=3, bytes=1000),
        call(3, 5, "cuMemAlloc_v2", address=1, bytes=100, depth=1),
        call(4, 5, "cuMemFree_v2", address=9, bytes=7, depth=0, pid=2),
    ]
    one, other = sorted(held(tmp_path, rows), key=lambda use: use.pid)

    assert (one.bytes[-1], one.allocations, one.releases) == (100, 1, 0)
    assert other.bytes[-1] == -7


@pytest.mark.parametrize(
    "row",
    [
        call(0, 5, "cuMemAlloc_v2", bytes=100),
        call(0, 5, "cudaMalloc", bytes=100, selection="biased", weight=None),
        call(0, 5, "cudaMalloc", bytes=100, selection="uniform", weight=4.0),
    ],
    ids=["driver without releases", "biased", "sampled"],
)
def test_nothing_is_said_of_what_may_have_been_released_unseen(tmp_path, row):
    assert list(held(tmp_path, [row])) == []


def test_readings_count_with_the_lowest_in_a_window(tmp_path):
    rows = [
        {"ts_ns": BEGIN_NS + at * SECOND, "pid": 7, "rss_bytes": nbytes}
        for at, nbytes in ((1, 300), (2, 100), (8, 50))
    ]
    with asked(tmp_path, process_samples=rows) as told:
        (one,) = readings(told.session, told.span, Memory.RESIDENT, WINDOWS)

    assert one.pid == 7
    assert one.bytes[:2].tolist() == [100, 50]
    assert np.isnan(one.bytes[2:]).all()


def series(values):
    span = Span(0, len(values) * SECOND)
    return MemoryUse(Memory.GPU, span, np.array(values, dtype=np.float64), "")


def test_growth_is_the_median_slope():
    found = growth(series([100 + 7 * at for at in range(WINDOWS)]))

    assert found.is_steady
    assert (found.tau, found.bytes, found.bytes_per_s) == (1.0, 7 * 19, 7.0)


@pytest.mark.parametrize(
    "values",
    [
        [100] * WINDOWS,
        [min(100, 10 * at) for at in range(WINDOWS)],
        [100 + 50 * (at % 5) for at in range(WINDOWS)],
        [100 - at for at in range(WINDOWS)],
    ],
    ids=["flat", "a cache that fills", "a sawtooth", "shrinking"],
)
def test_what_does_not_keep_growing_is_no_growth(values):
    assert not growth(series(values)).is_steady


def test_too_few_windows_tell_nothing():
    assert growth(series([1, 2, 3, float("nan"), 5])) is None


def test_growth_that_ends_in_the_last_quarter_is_none():
    assert not growth(series([min(16, at) for at in range(WINDOWS)])).is_steady


def test_only_what_grew_in_chosen_windows_counts():
    is_at_work = np.array([True, False, True, True])
    found = series([10, 15, 17, 20]).while_at_work(is_at_work)

    assert found.bytes.tolist() == [10, 10, 12, 15]
