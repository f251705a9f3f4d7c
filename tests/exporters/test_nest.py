"""Slices that touch, contain and overlap each other, as programs make them."""

import io
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gnomon.exporters.nest import Nest
from gnomon.exporters.perfetto_file import PerfettoFile
from tests.exporters.traces import Trace

SPANS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), max_size=30).map(
    lambda pairs: sorted(((begin, begin + length) for begin, length in pairs), key=_longest_first)
)


def _longest_first(span):
    return span[0], -span[1]


def _written(spans, *, may_nest):
    out = io.BytesIO()
    file = PerfettoFile(out, 0)
    nest = Nest(file, lambda: file.track("place"), may_nest=may_nest)
    for number, (begin, end) in enumerate(spans):
        nest.add(begin, end, str(number), {})
    nest.close()
    file.flush()
    return Trace(out.getvalue())


@given(SPANS, st.booleans())
def test_every_slice_ends_when_it_ended_whatever_lies_around_it(spans, may_nest):
    found = _written(spans, may_nest=may_nest).slices

    assert {int(one.name): (one.begin_ns, one.end_ns) for one in found} == dict(enumerate(spans))
    assert may_nest or not any(one.depth for one in found)


@st.composite
def _nested(draw, begin=0, end=64, depth=0):
    """Draw slices that lie inside each other or apart, the longest of each begin first."""
    cuts = sorted(draw(st.sets(st.integers(begin, end), max_size=5)))
    spans = []
    for inner, outer in pairwise(cuts):
        spans.append((inner, outer))
        if depth < 3:
            spans += draw(_nested(inner, outer, depth + 1))
    return spans


@given(_nested())
def test_what_is_well_nested_needs_one_track(spans):
    assert len({one.track for one in _written(spans, may_nest=True).slices}) <= 1
