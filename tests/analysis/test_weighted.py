"""Percentiles of weighted rows: those of a list in which each row stands as often as it counts."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.analysis.copies import copies
from tests.analysis.recordings import SECOND, asked, call

NAMES = ("cudaMalloc", "cudaMemcpy")
ROWS = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 10**9), st.integers(1, 9)))


@settings(max_examples=20, deadline=None)
@given(ROWS)
def test_percentiles_count_a_row_as_often_as_it_stands_for(tmp_path_factory, drawn):
    rows = [
        call(at * SECOND // 10, ns, name) | {"weight": float(weight), "selection": "weighted"}
        for at, (name, ns, weight) in enumerate(drawn)
    ]
    with asked(tmp_path_factory.mktemp("recording"), host_calls=rows) as told:
        found = {one.operation: one for one in told.operations}
        copied = copies(told.session, told.scope, told.operations)

    for name in {name for name, *_ in drawn}:
        every = sorted(ns for other, ns, weight in drawn if other == name for _ in range(weight))
        ranks = [every[math.ceil(share * len(every)) - 1] for share in (0.5, 0.95, 0.99)]
        one = found[name]
        assert [one.p50_ns, one.p95_ns, one.p99_ns] == ranks
        assert (one.stood_for_calls, one.stood_for_ns) == (len(every), sum(every))
        assert not one.biased
        if name == "cudaMemcpy":
            (of_copies,) = copied
            assert [of_copies.p50_ns, of_copies.p95_ns, of_copies.p99_ns] == ranks
