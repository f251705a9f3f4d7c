"""Durations by thread and operation, against brute force and published numbers."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.analysis.latency import among
from gnomon.analysis.operations import Kind
from tests.analysis.recordings import SECOND, asked, call


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["cudaMalloc", "cudaFree"]), st.integers(0, 10**9))))
def test_percentiles_are_nearest_rank(tmp_path_factory, drawn):
    rows = [call(at * SECOND // 10, ns, name) for at, (name, ns) in enumerate(drawn)]
    with asked(tmp_path_factory.mktemp("recording"), host_calls=rows) as told:
        found = {one.operation: one for one in told.operations}

    for name in {name for name, _ in drawn}:
        durations = sorted(ns for other, ns in drawn if other == name)
        ranks = [durations[math.ceil(share * len(durations)) - 1] for share in (0.5, 0.95, 0.99)]
        one = found[name]
        assert [one.p50_ns, one.p95_ns, one.p99_ns] == ranks
        assert (one.calls, one.total_ns) == (len(durations), sum(durations))


def test_rows_without_name_or_length_or_depth_do_no_harm(tmp_path):
    rows = [
        call(0, 5, "cudaMalloc") | {"operation": None},
        call(10, 5, "cudaMalloc") | {"duration_ns": None},
        call(20, 5, "cudaMalloc", depth=None),
        call(30, 7, "cudaMalloc"),
    ]
    with asked(tmp_path, host_calls=rows) as told:
        (one,) = told.operations

    assert (one.calls, one.total_ns, one.nested) == (2, 12, False)


def test_only_names_that_occur_are_asked_for(tmp_path):
    with asked(tmp_path, host_calls=[call(0, 5, "cudaMalloc")]) as told:
        assert among(told.operations, Kind.ALLOCATION) == "operation IN ('cudaMalloc')"
        assert among(told.operations, Kind.RELEASE) == "FALSE"
