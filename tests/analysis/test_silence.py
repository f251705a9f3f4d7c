"""Silence, told by counters and by calls, against worlds and by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon import tables
from gnomon.analysis.questions import Scope, Span, ThreadKey
from gnomon.analysis.silence import SHORTEST_NS, meanwhile, silences
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter
from tests.detectors.worlds import World

BEGIN_NS = 1_795_202_080_000_000_000
MS = 1_000_000


def told(recording):
    with recording.session() as session:
        return silences(recording, session, Scope(Span(*recording.bounds())))


def with_calls(path, calls, **more):
    """A recording of CUDA calls, given as (begin, end) in ms."""
    rows = [
        {
            "ts_ns": BEGIN_NS + int(end * MS),
            "duration_ns": int((end - begin) * MS),
            "layer": "cuda_runtime",
            "operation": "cudaLaunchKernel",
        }
        | more
        for begin, end in calls
    ]
    with RecordingWriter(path, "host") as writer:
        writer.append("host_calls", tables.batch("host_calls", rows))
    return Recording.open(path)


def test_silence_by_calls_lasts_from_the_last_end_to_the_next_begin(tmp_path):
    calls = [(0, 1), (5, 400), (30, 31), (450, 451), (458, 459), (500, 501)]
    found = told(with_calls(tmp_path, calls))

    assert not found.by_counters
    assert [((one.from_ns - BEGIN_NS) / MS, one.seconds * 1e3) for one in found.stretches] == [
        (400, 50),
        (459, 41),
    ]


@pytest.mark.parametrize(
    ("kept", "are_all_kept"),
    [
        ({}, True),
        ({"selection": "all", "weight": 1.0}, True),
        ({"selection": "uniform", "weight": 4.0}, False),
        ({"selection": "biased", "weight": None}, False),
    ],
)
def test_calls_that_were_kept_in_part_are_told_so(tmp_path, kept, are_all_kept):
    assert told(with_calls(tmp_path, [(0, 1), (90, 91)], **kept)).are_all_kept is are_all_kept


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 200)), min_size=2, max_size=30))
@settings(max_examples=30, deadline=None)
def test_silence_by_calls_is_what_brute_force_finds(tmp_path_factory, spans):
    calls = [(begin, begin + length) for begin, length in spans]
    found = told(with_calls(tmp_path_factory.mktemp("calls") / "r", calls))
    covered = {ms for begin, end in calls for ms in range(begin, end)}
    first, last = min(covered), max(covered)
    silent = [ms for ms in range(first, last) if ms not in covered]
    # Only pauses of SHORTEST_NS and more count.
    runs = []
    for ms in silent:
        if runs and runs[-1][-1] == ms - 1:
            runs[-1].append(ms)
        else:
            runs.append([ms])
    expected = [run for run in runs if len(run) * MS >= SHORTEST_NS]

    assert [(one.from_ns - BEGIN_NS) // MS for one in found.stretches] == [
        run[0] for run in expected
    ]
    assert found.total_ns == sum(map(len, expected)) * MS


@pytest.mark.parametrize("counters", [True, False])
def test_a_stall_shows_as_silence_in_which_the_thread_did_what_stalled_it(tmp_path, counters):
    world = World(
        3, "training", 10, step_ns=800 * MS, ranks=1, follow="all", classes=True, counters=counters
    ).with_fault("io_wait", share=0.4)
    recording = world.record(tmp_path)
    (truth,) = world.truth
    with recording.session() as session:
        scope = Scope(Span(*recording.bounds()))
        found = silences(recording, session, scope)
        thread = next(
            one for one in session.rows("SELECT * FROM threads") if one["tid"] == truth.tid
        )
        key = (thread["host"], thread["pid"], thread["tid"])
        (did,) = meanwhile(session, scope, found.stretches, [ThreadKey(*key)])

    assert found.by_counters is counters
    # Bins at the edges of a stall are silent in part.
    assert found.total_ns / 1e9 == pytest.approx(truth.lost_seconds, rel=0.25)
    assert did.off_cpu_ns["io"] > 0.9 * found.total_ns
    assert did.running_ns + sum(did.off_cpu_ns.values()) == pytest.approx(found.total_ns, rel=1e-6)


def test_an_idle_server_is_silent_most_of_the_time(tmp_path):
    found = told(World(1, "idle_server", 10, counters=True).record(tmp_path))

    assert found.total_ns > 0.6 * 10e9
    assert found.length_ns(0.5) <= found.length_ns(0.99)
    assert len(found.longest(3)) == 3


def test_nothing_recorded_says_nothing(tmp_path):
    with RecordingWriter(tmp_path, "host") as writer:
        row = {"ts_ns": BEGIN_NS, "duration_ns": 0, "kind": "xid"}
        writer.append("events", tables.batch("events", [row]))
    recording = Recording.open(tmp_path)

    assert told(recording) is None
    with recording.session() as session:
        assert meanwhile(session, Scope(Span(0, 1)), [], []) == ()


def test_rows_that_leave_out_what_they_may_are_no_obstacle(tmp_path):
    rows = [
        {"ts_ns": BEGIN_NS + at * MS, "layer": "cuda_runtime", "duration_ns": length}
        for at, length in ((0, None), (100, 0), (200, MS), (300, None), (400, 0))
    ]
    with RecordingWriter(tmp_path, "host") as writer:
        writer.append("host_calls", tables.batch("host_calls", rows))
        writer.append("off_cpu", tables.batch("off_cpu", [{"ts_ns": BEGIN_NS + 250 * MS}]))
    recording = Recording.open(tmp_path)
    found = told(recording)
    with recording.session() as session:
        scope = Scope(Span(*recording.bounds()))
        (did,) = meanwhile(session, scope, found.stretches, [ThreadKey(None, None, None)])

    assert [one.seconds for one in found.stretches] == [0.099, 0.2]
    assert did.running_ns is None
