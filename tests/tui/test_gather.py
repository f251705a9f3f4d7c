import pytest

from gnomon.tui.gather import Gatherer
from gnomon.tui.snapshot import Request, Span
from tests.tui.standins import END_NS, START_NS, Feed, Replay, S


def gatherer(feed, **more):
    return Gatherer(feed, feed.questions(), wall_ns=lambda: END_NS, **more)


def test_a_snapshot_is_of_the_window_before_the_end():
    feed = Feed(gpus=2)

    shown = gatherer(feed).gather(Request(window_ns=5 * S))

    assert feed.asked == [(END_NS - 5 * S, END_NS)]
    assert (shown.at_ns, shown.errors) == (END_NS, ())
    assert [view.label for view in shown.gpus] == ["0", "1"]
    assert shown.phase == Span("prefill_b8", END_NS - 10 * S, END_NS + 10 * S)
    assert shown.gpus[0].thread_name == "python3"
    assert all(view.series is not None for view in shown.gpus)


@pytest.mark.parametrize(
    ("request_", "at_ns"),
    [
        (Request(at_ns=START_NS + 20 * S), START_NS + 20 * S),
        (Request(behind_ns=30 * S), END_NS - 30 * S),
        (Request(behind_ns=10**18), START_NS),
    ],
)
def test_the_moment_asked_for(request_, at_ns):
    assert gatherer(Feed()).gather(request_).at_ns == at_ns


def test_a_replay_is_asked_for_its_own_time():
    assert gatherer(Replay()).gather(Request()).at_ns == START_NS + 100 * S


def test_an_empty_feed_is_no_error():
    shown = gatherer(Feed(end_ns=0)).gather(Request())

    assert (shown.at_ns, shown.gpus, shown.errors) == (None, (), ())


@pytest.mark.parametrize("part", ["summary", "series", "events", "source_health", "meta", "bounds"])
def test_a_part_that_fails_is_named_and_keeps_its_last_good_answer(part):
    feed = Feed()
    asker = gatherer(feed)
    good = asker.gather(Request(health=True))
    feed.fail = {part}
    feed.end_ns += S

    shown = asker.gather(Request(health=True))

    assert len(shown.errors) == 1
    assert f"{part} cannot be read" in shown.errors[0]
    assert shown.gpus[0].summary.compute_sol_pct == good.gpus[0].summary.compute_sol_pct
    assert shown.meta is not None


def test_values_that_could_not_be_renewed_are_marked_stale():
    feed = Feed()
    asker = gatherer(feed)
    asker.gather(Request())
    feed.fail = {"summary"}
    feed.end_ns = END_NS + 12 * S

    shown = asker.gather(Request())

    assert shown.gpus[0].stale == "stale: last values are from 12 s ago"


def test_a_lost_gpu_stays_on_screen_as_stale_and_the_others_as_fresh():
    feed = Feed(gpus=2)
    asker = gatherer(feed)
    asker.gather(Request())
    feed.missing = {"GPU-1"}
    feed.end_ns = END_NS + 3 * S

    fresh, lost = asker.gather(Request()).gpus

    assert (fresh.stale, lost.label) == ("", "1")
    assert lost.stale == "stale: last values are from 3 s ago"


def test_a_gpu_without_any_sample_is_shown_with_nothing_known():
    feed = Feed()
    feed.missing = {"GPU-0"}

    (lone,) = gatherer(feed).gather(Request()).gpus

    assert lone.summary.busy_pct is None
    assert lone.stale == "no sample in the last 5 s"


def test_phases_handed_in_stand_in_for_the_recorded_ones():
    mine = [Span("warm-up", START_NS, END_NS)]

    assert gatherer(Feed(), phases=mine).gather(Request()).phases == mine


def test_charts_are_left_out_when_not_asked_for():
    feed = Feed()
    feed.fail = {"series"}

    shown = gatherer(feed).gather(Request(charts=False))

    assert shown.errors == ()
    assert shown.gpus[0].series is None


def test_a_chart_is_drawn_anew_only_when_it_would_look_different():
    feed = Feed()
    asker = gatherer(feed)
    hour = Request(chart_ns=3600 * S, chart_bins=240)  # 15 s a bin
    first = asker.gather(hour).gpus[0].series

    feed.end_ns = END_NS + 7 * S
    assert asker.gather(hour).gpus[0].series is first
    feed.end_ns = END_NS + 8 * S
    assert asker.gather(hour).gpus[0].series.to_ns == END_NS + 8 * S
    zoomed = asker.gather(Request(chart_ns=60 * S)).gpus[0].series
    assert zoomed.to_ns - zoomed.from_ns == 60 * S


def test_charts_beyond_the_budget_come_with_the_next_answers(monkeypatch):
    monkeypatch.setattr("gnomon.tui.gather.CHART_BUDGET_S", -1.0)
    asker = gatherer(Feed(gpus=3))
    request = Request(chart_first=("GPU-1", None))

    drawn = [[one.series is not None for one in asker.gather(request).gpus] for _ in range(3)]

    assert drawn == [[False, True, False], [True, True, False], [True, True, True]]


def test_health_holds_the_newest_row_of_each_source():
    feed = Feed()
    feed.rows["source_health"] = [
        {"source": "nvml", "state": "ready"},
        {"source": "gpm", "state": "ready"},
        {"source": "nvml", "state": "stalled"},
    ]

    sources = gatherer(feed).gather(Request(health=True)).health.sources

    assert [(row["source"], row["state"]) for row in sources] == [
        ("gpm", "ready"),
        ("nvml", "stalled"),
    ]
