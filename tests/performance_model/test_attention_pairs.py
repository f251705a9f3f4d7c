"""Closed forms of pairs and keys against counting one by one."""

from hypothesis import given
from hypothesis import strategies as st

from gnomon.performance_model.attention_pairs import keys, pairs

lengths = st.integers(1, 60)
windows = st.none() | st.integers(1, 80)


def _seen(new, cached, window):
    """Return the keys of every query, as sets of positions."""
    return [
        set(range(max(0, last + 1 - (window or 10**9)), last + 1))
        for last in range(cached, cached + new)
    ]


@given(lengths, st.integers(0, 60), windows)
def test_causal_pairs_and_keys_are_those_of_a_brute_force_count(new, cached, window):
    seen = _seen(new, cached, window)

    assert pairs(new, cached, window) == sum(len(one) for one in seen)
    assert keys(new, cached, window) == len(set().union(*seen))


@given(lengths, st.integers(0, 60), windows)
def test_the_full_rectangle_gives_every_query_the_keys_of_the_last(new, cached, window):
    last = _seen(new, cached, window)[-1]

    assert pairs(new, cached, window, "full") == new * len(last)


@given(lengths, lengths, st.integers(0, 60), windows)
def test_pairs_of_two_chunks_add_up_to_those_of_the_whole(first, second, cached, window):
    parts = pairs(first, cached, window) + pairs(second, cached + first, window)

    assert parts == pairs(first + second, cached, window)
