import pytest

from gnomon.tui import figures, frame
from tests.tui.standins import END_NS, S, plain, snapshot


@pytest.mark.parametrize("width", [20, 80, 120, 200])
@pytest.mark.parametrize("view", [name for name, _ in frame.VIEWS])
def test_header_status_and_footer_are_one_line_of_the_width(width, view):
    state = frame.state(snapshot(), paused=False, is_replay=False)

    assert frame.header(snapshot(), view, state, "a title", width).cell_len == width
    assert frame.status(snapshot(), "", width).cell_len == width
    assert frame.footer("VRAM", width).cell_len == width


@pytest.mark.parametrize(
    ("age_s", "how", "window"),
    [
        (1, {}, True),
        (1, {"behind_ns": 119 * S}, True),
        (1, {"is_replay": True, "at_end": True}, False),
        (599, {}, False),
        (47 * 3600, {}, False),
        (999 * 86_400, {}, False),
    ],
)
def test_at_80_columns_tabs_state_and_clock_are_whole(age_s, how, window):
    shown = snapshot(window_ns=60 * S, wall_ns=END_NS + age_s * S)
    state = frame.state(shown, **({"paused": False, "is_replay": False} | how))
    header = frame.header(shown, "overview", state, "a title", 80).plain

    assert "4 health" in header
    assert f"{state.plain} {figures.clock_time(END_NS)} " in header
    assert header.rstrip().endswith("last 60 s") == window


def test_at_80_columns_no_key_of_the_footer_is_cut():
    assert frame.footer("VRAM", 80).plain.rstrip().endswith("q quit")


@pytest.mark.parametrize(
    ("changes", "how", "words"),
    [
        ({}, {}, "live"),
        ({}, {"paused": True}, "paused"),
        ({}, {"is_replay": True}, "replay"),
        ({}, {"is_replay": True, "at_end": True}, "end, home replays"),
        ({}, {"behind_ns": 35 * S}, "-35 s"),
        ({"wall_ns": END_NS + 20 * S}, {}, "no data for 20 s"),
        ({"wall_ns": END_NS + 3 * 86_400 * S}, {}, "ended 3 d ago"),
        ({"at_ns": None}, {}, "waiting"),
    ],
)
def test_the_state_of_time_in_words(changes, how, words):
    options = {"paused": False, "is_replay": False} | how

    assert words in frame.state(snapshot(**changes), **options).plain


def test_tabs_are_where_the_header_draws_them():
    state = frame.state(None, paused=False, is_replay=False)
    header = frame.header(None, "overview", state, "", 120).plain

    for name, label in frame.VIEWS:
        assert frame.tab_at(header.index(label)) == name
    assert frame.tab_at(0) is None
    assert frame.tab_at(119) is None


def test_status_tells_phase_and_last_event_or_the_problem():
    event = {"ts_ns": END_NS, "message": "power limit changed", "severity": "warning"}
    calm = frame.status(snapshot(last_event=event), "", 120).plain
    broken = frame.status(snapshot(errors=["summary: disk\ngone", "meta: no"]), "", 120).plain

    assert "phase prefill b8 for 10 s" in calm
    assert "power limit changed" in calm
    assert "summary: disk gone (and 1 more)" in broken
    assert "last good values" in broken
    assert "phase —" in frame.status(snapshot(phases=[]), "", 120).plain


def test_help_names_every_key_of_the_footer():
    text = plain(frame.help_lines(120))

    for word in ("space", "end", "quit", "sort", "scrub", "window", "busy (smi)", "≤"):
        assert word in text
