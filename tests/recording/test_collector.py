"""The collector keeps every healthy source going, and keeps honest books on the rest."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon._errors import RecordingError, SourceError
from gnomon.enums import SourceState
from gnomon.recording._worker import STAGGER_NS, Worker
from gnomon.recording.collector import Collector, CollectorSettings
from gnomon.sources.base import Batch, Capability, Description, Missing

FAST = CollectorSettings(tick_s=0.02, close_timeout_s=0.2)
PERIOD_NS = 10_000_000


class FakeSource:
    """Emits one numbered event a reading; ``behave`` may raise or block."""

    def __init__(self, name="fake", capability=None, behave=lambda n: None, period_ns=PERIOD_NS):
        self.name = name
        self.period_ns = period_ns
        self.reads = 0
        self.opened = 0
        self.closed = 0
        self._capability = capability or Capability(ready=True)
        self._behave = behave

    def check(self):
        return self._capability

    def open(self):
        self.opened += 1

    def describe(self):
        return Description(gpus={"GPU-1": {"name": self.name}}, host={"hostname": "h"})

    def warnings(self):
        return (f"{self.name} has a warning",)

    def read(self):
        self.reads += 1
        self._behave(self.reads)
        row = {"ts_ns": time.time_ns(), "duration_ns": self.period_ns, "pid": self.reads}
        return [Batch("phases", [row | {"name": self.name}])]

    def close(self):
        self.closed += 1


class ListSink:
    def __init__(self):
        self.rows = {}
        self.metas = []
        self.flushes = 0

    def append(self, table, batch):
        self.rows.setdefault(table, []).extend(batch.to_pylist())

    def flush(self):
        self.flushes += 1

    def update_meta(self, meta):
        self.metas.append(meta)

    def messages(self, kind):
        return [row["message"] for row in self.rows.get("events", []) if row["kind"] == kind]


def run_until(collector, condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    with collector:
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.005)
    assert condition()


def names(sink):
    return {row["name"] for row in sink.rows.get("phases", [])}


def test_rows_reach_every_sink_in_order_and_nothing_is_lost():
    source, sinks = FakeSource(), [ListSink(), ListSink()]

    run_until(Collector([source], sinks, FAST), lambda: source.reads >= 5)

    for sink in sinks:
        assert [row["pid"] for row in sink.rows["phases"]] == list(range(1, source.reads + 1))
        assert sink.rows["events"][0]["kind"] == "recording_started"
        assert sink.rows["events"][-1]["kind"] == "recording_stopped"
    assert source.closed == source.opened == 1


def test_a_source_that_blocks_holds_up_nobody_and_close_returns(monkeypatch):
    monkeypatch.setattr("gnomon.recording.collector.STALL_NS", 50_000_000)
    release = threading.Event()
    blocked = FakeSource("blocked", behave=lambda n: release.wait(30))
    healthy, sink = FakeSource("healthy"), ListSink()
    collector = Collector([blocked, healthy], [sink], FAST)

    run_until(collector, lambda: bool(sink.messages("source_stalled")) and healthy.reads >= 5)

    assert names(sink) == {"healthy"}
    assert "blocked has not answered" in sink.messages("source_stalled")[0]
    states = {health.name: health.state for health in collector.health()}
    assert states == {"blocked": SourceState.STALLED, "healthy": SourceState.READY}
    release.set()


def test_a_stalled_source_that_comes_back_is_told(monkeypatch):
    monkeypatch.setattr("gnomon.recording.collector.STALL_NS", 50_000_000)
    release = threading.Event()
    source, sink = FakeSource("slow", behave=lambda n: release.wait(30)), ListSink()

    def come_back():
        if sink.messages("source_stalled"):
            release.set()
        return bool(sink.messages("source_recovered"))

    run_until(Collector([source], [sink], FAST), come_back)


def test_a_source_that_fails_is_reopened_and_told_once(monkeypatch):
    monkeypatch.setattr("gnomon.recording._worker.FIRST_RETRY_S", 0.01)

    def behave(n):
        if n in (2, 3):
            raise SourceError("the cable fell out", "push it back")

    source, sink = FakeSource(behave=behave), ListSink()

    run_until(Collector([source], [sink], FAST), lambda: source.reads >= 6)

    assert source.opened == 3
    assert "fake: the cable fell out" in sink.messages("source_failed")
    assert sink.messages("source_recovered")
    assert {row["pid"] for row in sink.rows["phases"]}.isdisjoint({2, 3})


def test_a_bug_in_a_source_is_a_failure_not_a_crash():
    def behave(n):
        raise KeyError("oops")

    source, sink = FakeSource(behave=behave), ListSink()

    run_until(Collector([source], [sink], FAST), lambda: bool(sink.messages("source_failed")))

    assert "KeyError" in sink.messages("source_failed")[0]


def test_a_row_that_fits_no_table_fails_its_source_alone():
    sink = ListSink()

    class Typo(FakeSource):
        def read(self):
            return [Batch("phases", [{"ts_ns": 1, "nmae": "x"}])]

    class WrongType(FakeSource):
        def read(self):
            return [Batch("phases", [{"ts_ns": "now"}])]

    sources = [Typo("typo"), WrongType("wrong"), FakeSource("good")]
    collector = Collector(sources, [sink], FAST)
    run_until(
        collector,
        lambda: len(sink.rows.get("phases", [])) > 5 and len(sink.messages("source_failed")) > 1,
    )

    assert names(sink) == {"good"}
    told = sorted(sink.messages("source_failed"))
    assert told[0].startswith("typo: KeyError")
    assert told[1].startswith("wrong: Arrow")


def test_whatever_a_sink_raises_the_others_go_on():
    class Broken(ListSink):
        def append(self, table, batch):
            raise ZeroDivisionError("a bug")

        def update_meta(self, meta):
            raise KeyError("another")

    sink = ListSink()
    collector = Collector([FakeSource()], [Broken(), sink], FAST)
    run_until(collector, lambda: len(sink.rows.get("phases", [])) > 3)

    assert sink.metas
    assert [
        text.endswith("please report this error") for text in sink.messages("not_recorded")
    ] == [True]


def test_the_cost_of_the_whole_process_is_published():
    sink = ListSink()
    collector = Collector([FakeSource()], [sink], FAST)
    run_until(collector, lambda: len(sink.rows.get("phases", [])) > 3)

    own = [row for row in sink.rows["source_health"] if row["source"] == "gnomon"]
    assert own
    assert 0 < sum(row["cpu_ns"] for row in own) <= time.process_time_ns()


def test_health_is_shown_no_sooner_than_meta_tells_the_reason():
    shown = []

    class Looking(ListSink):
        def update_meta(self, meta):
            super().update_meta(meta)
            shown.append([one.reason for one in collector.health()])

    sink = Looking()
    collector = Collector([FakeSource(capability=Capability(False, "no driver"))], [sink], FAST)
    run_until(collector, lambda: [one.reason for one in collector.health()] == ["no driver"])

    telling = [meta.unavailable[0].reason for meta in sink.metas].index("no driver")
    assert shown[telling] == ["it has not answered yet"]


def test_what_is_missing_reaches_meta_with_reason_and_remedy():
    absent = FakeSource("gpm", Capability(ready=False, reason="no Hopper", remedy="buy one"))
    partial = FakeSource(
        "nvml", Capability(ready=True, missing=(Missing("fan_pct", "no fan", "", "GPU-1"),))
    )
    sink = ListSink()

    run_until(Collector([absent, partial], [sink], FAST), lambda: partial.reads >= 3)

    known = {(each.metric, each.reason, each.remedy) for each in sink.metas[-1].unavailable}
    assert ("gpm", "no Hopper", "buy one") in known
    assert ("fan_pct", "no fan", "") in known
    assert absent.reads == 0
    assert sink.metas[-1].gpus == {"GPU-1": {"name": "nvml"}}


def test_missed_periods_are_counted_not_made_up():
    source, sink = FakeSource(behave=lambda n: time.sleep(0.035) if n == 2 else None), ListSink()

    run_until(Collector([source], [sink], FAST), lambda: source.reads >= 4)

    lost = [row for row in sink.rows["losses"] if row["reason"] == "missed_period"]
    assert sum(row["rows"] for row in lost) >= 2
    assert {row["table"] for row in lost} == {"phases"}


def test_a_full_queue_is_a_loss():
    blocked = threading.Event()

    class SlowSink(ListSink):
        def append(self, table, batch):
            super().append(table, batch)
            if table == "phases" and not blocked.is_set():
                time.sleep(0.2)
                blocked.set()

    source, sink = FakeSource(period_ns=1_000_000), SlowSink()
    settings = CollectorSettings(tick_s=0.01, queue_batches=2)

    run_until(Collector([source], [sink], settings), lambda: source.reads > 50)

    reasons = {row["reason"] for row in sink.rows["losses"]}
    assert "queue_full" in reasons


def test_a_sink_that_cannot_write_does_not_stop_the_others():
    class FullSink(ListSink):
        def append(self, table, batch):
            raise RecordingError("no space left on device")

    source, healthy = FakeSource(), ListSink()

    run_until(Collector([source], [FullSink(), healthy], FAST), lambda: source.reads >= 5)

    assert len(healthy.rows["phases"]) == source.reads
    assert healthy.messages("not_recorded") == ["no space left on device"]


def test_the_books_say_what_each_source_did():
    source, sink = FakeSource(), ListSink()

    run_until(Collector([source], [sink], FAST), lambda: source.reads >= 5)

    health = [row for row in sink.rows["source_health"] if row["source"] == "fake"]
    assert sum(row["reads"] for row in health) == source.reads
    assert {row["state"] for row in health} == {"ready"}
    assert sink.rows["clock_sync"][-1]["monotonic_ns"] > 0
    assert "fake has a warning" in sink.messages("observer_effect")


def test_cost_beyond_the_promise_is_announced_with_the_measured_figure():
    from gnomon.recording._health import OBSERVER_WINDOW_NS, WorkerCounts

    counts = WorkerCounts()
    counts._first_ns -= OBSERVER_WINDOW_NS
    counts.read(10_000_000, 100_000_000)

    assert counts.observer_effect(gpus=1).startswith("costs 1.0")
    assert counts.observer_effect(gpus=1) == ""


@pytest.mark.parametrize("gpus", [0, 200])
def test_cost_within_the_promise_is_not(gpus):
    from gnomon.recording._health import OBSERVER_WINDOW_NS, WorkerCounts

    counts = WorkerCounts()
    counts._first_ns -= OBSERVER_WINDOW_NS
    counts.read(1_000_000, 1_000_000)

    assert counts.observer_effect(gpus) == ""


def test_meta_is_written_when_something_changed_and_at_no_other_time():
    source, sink = FakeSource(), ListSink()

    run_until(Collector([source], [sink], FAST), lambda: sink.flushes > 20)

    written = [meta.sources["fake"]["state"] for meta in sink.metas]
    assert written in (["unavailable", "ready"], ["ready"])


SECOND_NS = 1_000_000_000


@given(
    period_ns=st.integers(1_000_000, 3600 * SECOND_NS),
    place=st.integers(0, 9),
    begun_ns=st.integers(0, 10**18),
)
def test_turns_lie_on_whole_periods_whenever_a_source_was_begun(period_ns, place, begun_ns):
    worker = Worker(FakeSource(period_ns=period_ns), queue_batches=1, place=place)

    first_ns = worker._turn_after(begun_ns)

    assert (first_ns - place * STAGGER_NS) % period_ns == 0
    assert -1 <= 2 * (first_ns - begun_ns) - period_ns <= 2 * period_ns
    assert worker._turn_after(first_ns) == first_ns + period_ns


@pytest.mark.parametrize(
    ("due_s", "next_s"),
    [
        ([], 1.0),  # nobody will ever have anything: the books alone
        ([None, 0.94], 1.0),
        ([0.9], 0.96),  # after its reading
        ([0.92, 0.9], 0.96),
        ([0.1], 0.5),  # at 10 Hz not after each reading
        ([-0.1, 0.9], 0.5),  # one is at work: what it brings waits for no more than a tick
    ],
)
def test_queues_are_emptied_when_there_is_something_in_them(due_s, next_s):
    now_ns = 5 * SECOND_NS
    sources = [FakeSource(f"{number}") for number in range(len(due_s))]
    collector = Collector(sources, [])
    for worker, each_s in zip(collector._workers, due_s, strict=True):
        worker.due_ns = None if each_s is None else now_ns + round(each_s * SECOND_NS)

    assert collector._next_tick_ns(now_ns) == now_ns + round(next_s * SECOND_NS)


def test_what_comes_while_the_sinks_write_does_not_wait_for_the_next_reading():
    """A reading that ends during a write has missed it, and its next turn is far away."""
    collector = Collector([FakeSource(period_ns=SECOND_NS)], [], CollectorSettings())
    (worker,) = collector._workers
    planned = []

    def take():
        worker.due_ns = time.monotonic_ns() + SECOND_NS
        yield from ()

    def wait(seconds):
        planned.append(seconds)
        collector._stop.set()

    worker.due_ns = time.monotonic_ns() - 1  # at work
    worker.take = take
    collector._stop = type("Stop", (threading.Event,), {"wait": lambda _, seconds: wait(seconds)})()
    collector._run()

    assert 0 < planned[0] <= CollectorSettings().tick_s
