"""The screen as a user drives it, through Textual's pilot."""

import asyncio
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest
from textual.widgets import Static

from gnomon._errors import CommandError
from gnomon.tui import app
from gnomon.tui.application import GnomonApp
from gnomon.tui.cursor import cursor_for
from gnomon.tui.gather import Gatherer
from gnomon.tui.pane import Pane
from gnomon.tui.refresher import Refresher
from tests.tui.standins import END_NS, START_NS, Feed, Replay, S, held

SIZES = [(80, 24), (120, 40), (200, 60)]


def text_of(screen, part="lines"):
    """The text of one part of the screen."""
    return str(screen.query_one(f"#{part}", Static).content)


@asynccontextmanager
async def running(feed, size=(80, 24)):
    refresher = Refresher(Gatherer(feed, feed.questions(), wall_ns=lambda: END_NS).gather)
    # The timer never fires: Pilot waits for a quiet application before each key.
    screen = GnomonApp(refresher, cursor_for(feed), refresh_s=3600, title="a title")
    async with screen.run_test(size=size) as pilot:
        await until(pilot, lambda: screen.snapshot is not None)
        yield screen, pilot
    refresher.stop()


async def until(pilot, condition):
    for _ in range(500):
        if condition():
            return
        pilot.app.ask()
        await pilot.pause(0.01)
    raise AssertionError("it did not come to pass")


def drive(feed, scenario, size=(80, 24)):
    async def main():
        async with running(feed, size) as (screen, pilot):
            await scenario(screen, pilot)

    asyncio.run(main())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("gpus", [1, 8])
def test_every_size_shows_every_gpu_with_verdict_header_and_keys(size, gpus):
    async def scenario(screen, pilot):
        await until(pilot, lambda: text_of(screen).count("compute-bound:") >= gpus)
        assert "live" in text_of(screen, "header")
        assert "phase prefill b8" in text_of(screen, "status")
        assert "q quit" in text_of(screen, "footer")
        assert screen.query_one(Pane).max_scroll_y == 0
        for view in "234":
            await pilot.press(view)
            assert text_of(screen).strip()
        assert screen.problem == ""

    drive(Feed(gpus), scenario, size)


def test_keys_switch_views_and_tab_goes_round():
    async def scenario(screen, pilot):
        for key, view in (("2", "detail"), ("3", "processes"), ("4", "health"), ("1", "overview")):
            await pilot.press(key)
            assert screen.view == view
        await pilot.press("shift+tab")
        assert screen.view == "health"
        await pilot.press("tab")
        assert screen.view == "overview"
        await pilot.press("question_mark")
        assert "Keys" in text_of(screen)
        await pilot.press("escape")
        assert "GPU 0" in text_of(screen)

    drive(Feed(), scenario)


def test_a_click_on_a_tab_opens_it():
    async def scenario(screen, pilot):
        await pilot.click("#header", offset=(text_of(screen, "header").index("processes"), 0))
        assert screen.view == "processes"

    drive(Feed(), scenario)


def test_pause_scrub_and_live_on_a_recording():
    feed = Feed()

    async def scenario(screen, pilot):
        await pilot.press("left", "left")
        await until(pilot, lambda: screen.snapshot.at_ns == END_NS - 10 * S)
        assert "paused" in text_of(screen, "header")
        assert feed.asked[-1][1] == END_NS - 10 * S
        await pilot.press("shift+left")
        await until(pilot, lambda: screen.snapshot.at_ns == END_NS - 40 * S)
        await pilot.press("space")
        assert "-40 s" in text_of(screen, "header")
        await pilot.press("end")
        await until(pilot, lambda: screen.snapshot.at_ns == END_NS)
        assert "live" in text_of(screen, "header")
        await pilot.press("space")
        feed.end_ns = END_NS + 60 * S
        await until(pilot, lambda: screen.snapshot.end_ns == END_NS + 60 * S)
        assert screen.snapshot.at_ns == END_NS

    drive(feed, scenario)


def test_a_replay_is_paused_and_wound_through_its_own_controls():
    replay = Replay()

    async def scenario(screen, pilot):
        assert "replay" in text_of(screen, "header")
        await pilot.press("right", "shift+left")
        assert replay.at_ns == START_NS + 75 * S
        await until(pilot, lambda: screen.snapshot.at_ns == START_NS + 75 * S)
        await pilot.press("space")
        assert replay.is_paused
        await pilot.press("end")
        assert not replay.is_paused

    drive(replay, scenario)


def test_gpus_are_selected_and_shown_in_detail():
    async def scenario(screen, pilot):
        await pilot.press("down", "down", "enter")
        assert screen.view == "detail"
        assert "GPU 2" in text_of(screen)
        await pilot.press("G")
        assert "GPU 1" in text_of(screen)

    drive(Feed(8), scenario)


def test_more_gpus_than_fit_scroll_to_the_selected_one():
    async def scenario(screen, pilot):
        await until(pilot, lambda: screen.query_one(Pane).max_scroll_y > 0)
        await pilot.press("up")
        await pilot.pause()
        assert screen.selected == 39
        assert screen.query_one(Pane).scroll_offset.y > 10

    drive(Feed(40), scenario)


def test_sort_window_and_zoom_keys():
    async def scenario(screen, pilot):
        await pilot.press("3", "s")
        assert "▼SM %" in text_of(screen)
        assert "sort SM" in text_of(screen, "footer")
        await pilot.press("w")
        await until(pilot, lambda: screen.snapshot.window_ns == 15 * S)
        await pilot.press("1", "z")
        await until(
            pilot,
            lambda: (one := screen.snapshot.gpus[0].series) and one.to_ns - one.from_ns == 600 * S,
        )

    drive(Feed(), scenario)


def test_an_analysis_error_is_told_in_the_status_line_beside_the_last_values():
    feed = Feed()

    async def scenario(screen, pilot):
        await until(pilot, lambda: "≤55.5 %" in text_of(screen))
        feed.fail = {"summary"}
        feed.end_ns = END_NS + 12 * S
        await until(pilot, lambda: "summary cannot be read" in text_of(screen, "status"))
        assert "≤55.5 %" in text_of(screen)
        assert "stale: last values are from 12 s ago" in text_of(screen)
        feed.fail = set()
        await until(pilot, lambda: "summary" not in text_of(screen, "status"))
        assert "stale" not in text_of(screen)

    drive(feed, scenario)


def test_a_mistake_in_drawing_is_told_and_keeps_the_screen(monkeypatch):
    async def scenario(screen, pilot):
        monkeypatch.setattr("gnomon.tui.health.lines", lambda *_: 1 / 0)
        await pilot.press("4")
        assert "could not draw this view: division by zero" in text_of(screen, "status")
        await pilot.press("1")
        assert "could not draw" not in text_of(screen, "status")

    drive(Feed(), scenario)


def test_keys_work_while_the_analysis_is_slow_and_requests_do_not_pile_up():
    feed = Feed()

    async def scenario(screen, pilot):
        feed.hold = held()
        before = len(feed.asked)
        for key in "2341" * 5:
            await pilot.press(key)
        assert screen.view == "overview"
        assert len(feed.asked) - before <= 1
        feed.hold.set()

    drive(feed, scenario)


@pytest.mark.parametrize("size", [(20, 5), (40, 10), (300, 100)])
def test_odd_sizes_and_resizing_do_not_break_it(size):
    async def scenario(screen, pilot):
        for key in "1234":
            await pilot.press(key)
            await pilot.resize_terminal(*size)
            await pilot.pause()
            await pilot.resize_terminal(80, 24)
            await pilot.pause()
            assert screen.problem == ""

    drive(Feed(3), scenario)


def test_before_the_first_sample_every_key_is_harmless():
    async def scenario(screen, pilot):
        assert "Waiting for the first sample" in text_of(screen)
        assert "waiting" in text_of(screen, "header")
        await pilot.press("2", "3", "4", "down", "g", "space", "left", "end", "1")
        assert screen.problem == ""

    drive(Feed(0, end_ns=0), scenario)


def test_run_needs_a_terminal_and_says_what_to_use_instead(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: False, raising=False)

    with pytest.raises(CommandError, match="--once"):
        app.run(Feed())


def test_importing_the_way_in_does_not_import_textual():
    script = "import sys, gnomon.tui.app; sys.exit('textual' in sys.modules)"

    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
