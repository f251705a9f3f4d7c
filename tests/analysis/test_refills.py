"""Refills: which waits leave a thread's streams empty, and until when."""

import pytest

from gnomon.analysis import refills
from tests.analysis.recordings import BEGIN_NS, THREAD, US, asked, call


def found(path, rows):
    with asked(path, host_calls=rows) as told:
        query = refills.sql(told.span, THREAD, told.operations)
        return [
            (row["begin_ns"] - BEGIN_NS, row["end_ns"] - BEGIN_NS, row["launches"], row["graphs"])
            for row in told.session.rows(f"SELECT * FROM ({query}) ORDER BY begin_ns")
        ]


LAUNCH, SYNC = "cudaLaunchKernel", "cudaStreamSynchronize"


def test_from_a_wait_to_the_end_of_the_next_launch(tmp_path):
    rows = [
        call(0, 5 * US, LAUNCH),
        call(10 * US, 5 * US, LAUNCH),
        call(20 * US, 40 * US, SYNC),
        call(80 * US, 5 * US, LAUNCH),
        call(85 * US, 40 * US, SYNC),
    ]

    assert found(tmp_path, rows) == [(60 * US, 85 * US, 2, 0)]


def test_a_copy_ends_a_refill_where_it_begins(tmp_path):
    rows = [call(0, 5, LAUNCH), call(10, 5, SYNC), call(50, 30, "cudaMemcpyAsync")]

    assert found(tmp_path, rows) == [(15, 50, 1, 0)]


@pytest.mark.parametrize(
    ("wait", "more", "drains"),
    [
        ("cudaDeviceSynchronize", {}, True),
        ("cuCtxSynchronize", {}, True),
        ("cudaEventSynchronize", {}, False),
        ("cudaStreamSynchronize", {"stream": 7}, True),
        ("cudaStreamSynchronize", {"stream": 9}, False),
        ("cudaMemcpy", {"direction": "d2h"}, True),
        ("cudaMemcpy", {"direction": "h2d"}, False),
        ("cuMemcpyDtoH_v2", {}, True),
    ],
)
def test_not_every_wait_leaves_the_streams_empty(tmp_path, wait, more, drains):
    rows = [call(0, 5, LAUNCH, stream=7), call(10, 5, wait, **more), call(20, 5, LAUNCH, stream=7)]

    assert bool(found(tmp_path, rows)) == drains


def test_what_the_allocator_takes_is_no_refill(tmp_path):
    rows = [call(0, 5, LAUNCH), call(10, 5, SYNC), call(20, 5, "cudaMalloc"), call(30, 5, LAUNCH)]

    assert found(tmp_path, rows) == []
