import sys
import time
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest
from benchmarks.observers import ObserverError, PmSwitch, StoppedProcess
from benchmarks.paired_ratios import Interval

from benchmarks import observers, overhead, pm_switch, workload
from gnomon._errors import GnomonError
from gnomon.sources.base import Batch, Description

COUNT = "import sys,time\nwhile True:\n print(1, flush=True); time.sleep(0.01)"


@pytest.fixture
def log(tmp_path):
    with (tmp_path / "log").open("wb") as file:
        yield file


def test_a_held_tree_stands_still_and_goes_on(tmp_path):
    log = tmp_path / "log"
    with (
        log.open("wb") as file,
        observers.running_quietly([sys.executable, "-c", COUNT], file) as process,
    ):
        held = StoppedProcess(process)
        while log.stat().st_size == 0:
            time.sleep(0.01)
        held.off()
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)
        size = log.stat().st_size
        time.sleep(0.1)
        assert log.stat().st_size == size

        held.on()
        while log.stat().st_size == size:
            time.sleep(0.01)
    assert process.returncode is not None


def test_a_program_that_is_held_is_ended_all_the_same(tmp_path):
    with (tmp_path / "log").open("wb") as file:
        with observers.running_quietly([sys.executable, "-c", COUNT], file) as process:
            StoppedProcess(process).off()
        assert process.returncode is not None


def test_an_observer_that_ended_is_not_taken_for_one_that_costs_nothing(log):
    with observers.running_quietly([sys.executable, "-c", ""], log) as process:
        process.wait()
        with pytest.raises(ObserverError, match="ended with status 0"):
            StoppedProcess(process).off()
        with pytest.raises(ObserverError, match="ended at once"):
            observers.measure(process, 0, 0.1)


def test_usage_counts_children_and_what_they_burn(tmp_path):
    parent = "import subprocess,sys\nsubprocess.run([sys.executable, '-c', 'while True: pass'])"
    with (tmp_path / "log").open("wb") as file:
        command = [sys.executable, "-c", parent]
        with observers.running_quietly(command, file) as process:
            while not psutil.Process(process.pid).children():
                time.sleep(0.01)
            usage = observers.measure(process, 0.1, 0.5)

    assert usage.processes == 2
    assert usage.cpu_pct > 5  # a core, or what a loaded machine leaves of it
    assert usage.rss_bytes > 5e6


def test_a_full_screen_program_finds_a_terminal():
    check = (
        "import os,sys; sys.exit(0 if os.isatty(1) and os.get_terminal_size() == (80, 24) else 3)"
    )
    with observers.running_in_terminal([sys.executable, "-c", check]) as process:
        assert process.wait(timeout=10) == 0


def test_the_pm_switch_tells_what_went_wrong(log):
    program = "input(); print('error: the counters are held by ncu', flush=True)"
    with (
        observers.running([sys.executable, "-c", program], log) as process,
        pytest.raises(ObserverError, match="held by ncu"),
    ):
        PmSwitch(process).on()


def test_the_pm_switch_waits_for_the_answer(log):
    program = "while True: print(input(), flush=True)"
    with observers.running([sys.executable, "-c", program], log) as process:
        switch = PmSwitch(process)
        switch.on()
        switch.off()


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="a GPU is here")
def test_pm_switch_without_a_gpu_says_so(log):
    command = [sys.executable, "-m", "benchmarks.pm_switch"]
    with (
        observers.running(command, log) as process,
        pytest.raises(ObserverError, match=r"PM sampling: error: \w+"),
    ):
        PmSwitch(process).on()


class Sampler:
    """A PM source that is told when to bring a row, and when that row ended."""

    ends_ns = ()

    def __init__(self):
        self.did = []

    def read(self):
        rows, self.ends_ns = [{"ts_ns": ts_ns} for ts_ns in self.ends_ns], ()
        return [Batch("gpu_counters", rows)]

    def describe(self):
        return Description()

    def __getattr__(self, name):
        return lambda: self.did.append(name)


@pytest.mark.parametrize(("late_s", "is_told"), [(-1, False), (1, True)])
def test_off_is_said_only_after_rows_of_the_time_since_on(monkeypatch, capsys, late_s, is_told):
    source = Sampler()
    source.ends_ns = (1,)

    def commands(_timeout_s):
        yield from ("off", "on")
        source.ends_ns = (time.time_ns() + late_s * 10**9,)
        yield from ("off", "")

    script = commands(0)
    monkeypatch.setattr(pm_switch, "_command", lambda _timeout_s: next(script))
    monkeypatch.setattr(pm_switch, "SWITCH_S", 0.0)
    monkeypatch.setattr(pm_switch, "ROW_WITHIN_S", 0.05)

    with nullcontext() if is_told else pytest.raises(GnomonError, match="no PM row"):
        pm_switch.switch(source)

    assert capsys.readouterr().out.split() == ["off", "on", "off"][: 3 if is_told else 2]
    assert source.did == ["open", "pause", "resume", *["pause"] * is_told, "close"]


class Recorder:
    """Notes when it was on."""

    def __init__(self):
        self.is_on = False
        self.edges = []

    def on(self):
        self.is_on = True
        self.edges.append((time.time_ns(), True))

    def off(self):
        self.is_on = False
        self.edges.append((time.time_ns(), False))


def test_windows_lie_within_the_right_state(monkeypatch):
    monkeypatch.setattr(overhead, "GUARD_S", 0.001)
    observer = Recorder()

    for window_on, window_off in overhead.alternate(observer, pairs=6, window_s=0.002):
        for (begin_ns, end_ns), expected in ((window_on, True), (window_off, False)):
            state = [is_on for ts_ns, is_on in observer.edges if ts_ns <= begin_ns][-1]
            changes = [is_on for ts, is_on in observer.edges if begin_ns < ts < end_ns]
            assert state == expected
            assert changes == []
    assert observer.is_on
    first_of_pairs = [is_on for _, is_on in observer.edges[:-1:2]]
    assert len(set(first_of_pairs)) == 2  # neither side always comes first


def test_progress_survives_a_torn_last_point(tmp_path):
    path = tmp_path / "progress"
    points = [(10, 1), (20, 2), (30, 3)]
    path.write_bytes(b"".join(workload.POINT.pack(*point) for point in points) + b"\x01\x02")

    assert workload.read_progress(path).rate_per_s(10, 30) == pytest.approx(1e8)


def test_unknown_words_are_refused(capsys):
    with pytest.raises(SystemExit):
        overhead.parse(["--observers", "counters,gpm"])
    assert "'gpm' is none of counters, pm" in capsys.readouterr().err


def test_rows_of_a_recording_are_waited_for(tmp_path):
    with (tmp_path / "log").open("wb") as file:
        command = [sys.executable, "-c", "import time; time.sleep(60)"]
        with observers.running_quietly(command, file) as process:
            with pytest.raises(ObserverError, match="no rows of gpu_counters"):
                observers.wait_for_rows(tmp_path, process, 0.2)
            segment = tmp_path / "gpu_counters" / "date=2026-01-01" / "host=x" / "w-0.arrow"
            segment.parent.mkdir(parents=True)
            segment.write_bytes(b"x")
            observers.wait_for_rows(tmp_path, process, 5)


def test_a_window_holds_one_turn_of_the_length_that_gnomon_takes(monkeypatch, log):
    asked = []
    monkeypatch.setattr(overhead.observers, "running", lambda command, _log: asked.append(command))

    with pytest.raises((AttributeError, TypeError)):  # nothing runs: the command is what counts
        overhead.watch("turns", overhead.parse(["--window", "2"]), log).__enter__()

    assert asked[0][2:] == ["benchmarks.pm_switch", "--turns", "1.0", "2.0"]


def test_what_a_turn_costs_is_spread_over_the_cycle():
    measured = Interval(0.99, 0.98, 1.0)

    assert overhead.over_cycle(measured, 2.0) == pytest.approx((0.998, 0.996, 1.0))
    assert overhead.over_cycle(measured, 10.0) == pytest.approx(measured)


def test_a_window_must_hold_a_turn(capsys):
    with pytest.raises(SystemExit):
        overhead.parse(["--window", "1", "--observers", "turns"])
    assert "a turn lasts 1 s" in capsys.readouterr().err
