"""A timeline against a world in which is known what happened when."""

import json

import pytest

from gnomon.analysis.questions import Scope, Span
from gnomon.analysis.timeline import timeline, waited
from gnomon.detectors.case import Case
from tests.detectors.worlds import World

SECOND_NS = 1_000_000_000


def told(recording, span=None, period_ns=SECOND_NS):
    with recording.session() as session:
        case = Case(recording, session, span or Span(*recording.bounds()))
        threads = [one.thread for one in case.dispatch_threads]
        return timeline(recording, session, case.scope, period_ns, threads)


@pytest.fixture
def world():
    known = {"step_ns": 40_000_000, "ranks": 1, "counters": True, "follow": "all", "classes": True}
    return World(5, "training", 12, **known).with_fault("io_wait", 0.5, from_s=4, to_s=8)


def test_each_second_says_what_was_reached_and_what_the_gpu_waited_for(tmp_path, world):
    periods = told(world.record(tmp_path), Span(world.begin_ns, world.end_ns)).periods

    assert [(one.from_ns - world.begin_ns) // SECOND_NS for one in periods] == list(range(12))
    for number, one in enumerate(periods):
        stalled = 4 <= number < 8
        assert one.busy_pct == pytest.approx(50 if stalled else 98, abs=6)
        assert (one.waited_for == "io") is stalled
        assert (one.waited_pct or 0) == pytest.approx(50 if stalled else 0, abs=6)
        assert one.launches_per_s == sum(
            row[19]
            for row in world.rows.calls
            if one.from_ns < row[0] <= one.to_ns and row[4] == "cudaLaunchKernel"
        )


def test_the_last_period_counts_for_its_part_alone(tmp_path, world):
    recording = world.record(tmp_path)
    span = Span(world.begin_ns, world.begin_ns + 2_500_000_000)
    periods = told(recording, span).periods

    assert periods[-1].to_ns == span.to_ns
    assert periods[-1].launches_per_s == pytest.approx(periods[0].launches_per_s, rel=0.35)
    assert periods[-1].waited_for is None


def test_tokens_of_a_phase_are_spread_over_it(tmp_path):
    world = World(5, "training", 8, marks=True, counters=False)
    periods = told(world.record(tmp_path), Span(world.begin_ns, world.end_ns)).periods

    total = sum(one.tokens_per_s * (one.to_ns - one.from_ns) / 1e9 for one in periods)
    assert total == pytest.approx(len(world.jobs[0].steps) * 4096, rel=0.01)


def test_it_is_plain_data_for_json(tmp_path, world):
    span = Span(world.begin_ns, world.end_ns)
    found = told(world.record(tmp_path), span, period_ns=3 * SECOND_NS)
    document = json.loads(json.dumps(found.to_json()))

    assert document["schema"] == 1
    assert len(document["periods"]) == 4
    assert document["silence"]["by_counters"] is True
    assert document["threads"][0]["tid"] == 4000


def test_nothing_recorded_in_the_span_gives_empty_periods(tmp_path):
    recording = World(1, "training", 3).record(tmp_path)
    with recording.session() as session:
        scope = Scope(Span(0, 2 * SECOND_NS))
        found = timeline(recording, session, scope, SECOND_NS, [])

    assert [(one.busy_pct, one.launches_per_s, one.waited_for) for one in found.periods] == [
        (None, None, None)
    ] * 2


@pytest.mark.parametrize(
    ("did", "idle_pct", "expected"),
    [
        ({"io": 0.5, "waiting": 0.5}, 40.0, ("io", 40.0)),
        ({"io": 0.2, "own_code": 0.3}, 90.0, ("own_code", 30.0)),
        ({"io": 0.5, "waiting": 0.5}, None, ("io", 50.0)),
        ({"own_code": 0.9}, 0.2, (None, None)),
        ({"waiting": 1.0}, 50.0, (None, None)),
        ({}, 50.0, (None, None)),
    ],
)
def test_a_wait_is_what_the_host_did_most_and_no_longer_than_the_gpu_idled(did, idle_pct, expected):
    assert waited(did, idle_pct) == expected
