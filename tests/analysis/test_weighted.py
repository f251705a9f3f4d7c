"""Percentiles of weighted rows: those of a list in which each row stands as often as it counts."""

import math

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.analysis.copies import copies
from gnomon.analysis.weighted import percentile_sql
from tests.analysis.recordings import SECOND, asked, call

NAMES = ("cudaMalloc", "cudaMemcpy")
ROWS = st.lists(st.tuples(st.sampled_from(NAMES), st.integers(1, 10**9), st.integers(1, 9)))


@settings(max_examples=20, deadline=None)
@given(ROWS)
def test_percentiles_count_a_row_as_often_as_it_stands_for(tmp_path_factory, drawn):
    rows = [
        call(at * SECOND // 10, ns, name, bytes=8, off_cpu_ns=ns)
        | {"weight": float(weight), "selection": "weighted"}
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
        assert (one.made, one.made_ns) == (len(every), sum(every))
        assert one.is_sampled == (one.calls != len(every))
        assert (one.bytes, one.off_cpu_ns, one.io_ns) == (8 * len(every), sum(every), None)
        assert one.made_off_cpu == len(every)
        assert not one.biased
        if name == "cudaMemcpy":
            (of_copies,) = copied
            assert [of_copies.p50_ns, of_copies.p95_ns, of_copies.p99_ns] == ranks


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 9)), min_size=1), st.integers(1, 20))
def test_one_percentile_of_any_rows_is_that_of_the_list_they_stand_for(drawn, twentieths):
    rows = ", ".join(f"({value}, {weight})" for value, weight in drawn)
    listed = f"SELECT * FROM (VALUES {rows}) AS listed(value, weight)"
    query = percentile_sql(listed, "value", twentieths / 20)
    every = sorted(value for value, weight in drawn for _ in range(weight))

    [(found,)] = duckdb.sql(query).fetchall()
    assert found == every[-(-twentieths * len(every) // 20) - 1]
