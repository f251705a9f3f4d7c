from hypothesis import given
from hypothesis import strategies as st

from gnomon.recording.importers.spans import UNKNOWN, Spans

THREADS = st.tuples(st.integers(1, 2), st.integers(1, 2))


@st.composite
def calls(draw, begin=0, end=60, depth=0):
    """Draw properly nested intervals: (begin, end) of each, outer ones first."""
    found = []
    at = begin
    while at + 2 <= end and draw(st.booleans()):
        first = draw(st.integers(at, end - 2))
        last = draw(st.integers(first + 1, end - 1))
        found.append((first, last))
        if depth < 3 and last - first > 2:
            found += draw(calls(first, last + 1, depth + 1))
        at = last + 1
    return found


def added(listed):
    spans = Spans()
    for number, (thread, times) in enumerate(listed):
        spans.add(thread, times, f"call {number}", number)
    return spans


@given(st.dictionaries(THREADS, calls(), max_size=4), st.randoms())
def test_depth_is_how_many_of_the_same_thread_lie_around(by_thread, order):
    listed = [(thread, times) for thread, every in by_thread.items() for times in set(every)]
    order.shuffle(listed)

    found = list(added(listed).nested())

    assert sorted((one.thread, (one.begin_ns, one.end_ns)) for one in found) == sorted(listed)
    for one in found:
        around = [
            other
            for other in found
            if other.thread == one.thread
            and other is not one
            and other.begin_ns <= one.begin_ns < other.end_ns
            and one.end_ns <= other.end_ns
        ]
        assert one.depth == len(around)
        innermost = min(around, key=lambda each: each.end_ns - each.begin_ns, default=None)
        assert one.parent == (innermost.name if innermost else None)


@given(
    st.lists(st.tuples(THREADS, st.integers(0, 50), st.integers(UNKNOWN, 5)), max_size=30),
    st.integers(1, 3),
    st.integers(0, 5),
)
def test_a_label_began_with_its_first_call_of_the_process(listed, pid, label):
    spans = Spans()
    for thread, begin_ns, its_label in listed:
        spans.add(thread, (begin_ns, begin_ns + 1), "call", its_label)

    begins = [begin for thread, begin, its in listed if thread[0] == pid and its == label]

    assert spans.begins_by_label().of(pid, label) == min(begins, default=None)


def test_all_of_them_can_be_moved_in_time():
    spans = added([((1, 1), (5, 9))])
    spans.shift(100)

    (one,) = spans.nested()

    assert (one.begin_ns, one.end_ns) == (105, 109)


def test_ranges_that_overlap_are_not_inside_each_other():
    spans = added([((1, 1), (0, 10)), ((1, 1), (5, 15)), ((1, 1), (6, 9))])

    assert [one.depth for one in spans.nested()] == [0, 0, 2]
