"""Overlap and nesting of one thread, against a count of every nanosecond."""

from hypothesis import given
from hypothesis import strategies as st

from gnomon.recording.importers.ingero_threads import Call, Thread

LENGTHS = st.tuples(*[st.integers(1, 60)] * 3)


@st.composite
def histories(draw):
    """Calls (begin, end) of one thread, nested or apart; stays off the CPU, disjoint; reads."""
    edges = sorted(draw(st.lists(st.integers(0, 400), max_size=24, unique=True)))
    reads = draw(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 90)), max_size=6))
    calls = []
    at_ns = 0
    for gap_ns, length_ns, inner_ns in draw(st.lists(LENGTHS, max_size=8)):
        at_ns += gap_ns
        calls.append((at_ns, at_ns + length_ns))
        if inner_ns < length_ns:
            calls.append((at_ns, at_ns + inner_ns))
        at_ns += length_ns
    return calls, list(zip(edges[::2], edges[1::2], strict=False)), reads


def stream(calls, stays, reads):
    """Put a history in the order of the file: calls at their begin, all else at its end."""
    rows = [
        *((end - 1e-3, "read", begin, end) for begin, end in ((b, b + n) for b, n in reads)),
        *((end, "stay", begin, end) for begin, end in stays),
        *((begin, "call", begin, end) for begin, end in calls),
    ]
    return [row[1:] for row in sorted(rows, key=lambda row: row[0])]


@given(histories())
def test_overlap_and_nesting_are_those_of_a_count_of_every_nanosecond(history):
    calls, stays, reads = history
    thread = Thread("", 1)
    rows, io_ns = [], 0
    for what, begin, end in stream(*history):
        if what == "read":
            thread.read(begin, end)
        elif what == "stay":
            about, done = thread.back_on_cpu(begin, end)
            io_ns += about.get("io_ns", 0)
            rows += done
        else:
            depth, _ = thread.nest(begin, end, "call")
            thread.wait(Call(begin, end, {"span": (begin, end), "depth": depth}))
    rows += thread.complete(1 << 62)

    def inside(spans):
        return {ns for begin, end in spans for ns in range(begin, end)}

    # A read that goes on when the thread runs again is not what it waited for.
    seen = [
        set(range(begin, end)) & inside([(b, b + n) for b, n in reads if begin <= b + n <= end])
        for begin, end in stays
    ]
    assert io_ns == sum(map(len, seen))
    assert thread.contradictions == 0
    assert sorted((row["span"], row["off_cpu_ns"], row["depth"]) for row in rows) == sorted(
        ((begin, end), len(inside(stays) & set(range(begin, end))),
         sum(b <= begin and end < e for b, e in calls))
        for begin, end in calls
    )  # fmt: skip


def test_calls_that_cross_are_told():
    thread = Thread("", 1)

    assert thread.nest(0, 100, "a") == (0, None)
    assert thread.nest(50, 150, "b") == (0, None)
    assert thread.contradictions == 1
