from gnomon.tui.cursor import Cursor, ReplayCursor, cursor_for
from tests.tui.standins import END_NS, START_NS, Feed, Replay, S, snapshot


def test_a_plain_feed_follows_its_end_until_it_is_paused():
    cursor = Cursor()

    assert (cursor.frozen_ns, cursor.behind_ns, cursor.is_paused) == (None, 0, False)
    cursor.toggle_pause(snapshot())
    assert (cursor.frozen_ns, cursor.is_paused) == (END_NS, True)


def test_playing_on_after_a_pause_stays_as_far_behind():
    cursor = Cursor()
    cursor.toggle_pause(snapshot())

    cursor.toggle_pause(snapshot(end_ns=END_NS + 7 * S))

    assert (cursor.is_paused, cursor.behind_ns) == (False, 7 * S)


def test_scrubbing_adds_up_before_new_values_arrive():
    cursor = Cursor()

    cursor.move(-5 * S, snapshot())
    cursor.move(-5 * S, snapshot())

    assert cursor.frozen_ns == END_NS - 10 * S


def test_scrubbing_stops_at_the_first_full_window_and_goes_live_past_the_end():
    cursor = Cursor()

    cursor.move(-(10**18), snapshot())
    assert cursor.frozen_ns == START_NS + 5 * S
    cursor.move(10**18, snapshot())
    assert (cursor.is_paused, cursor.behind_ns) == (False, 0)


def test_end_is_live_from_anywhere():
    cursor = Cursor()
    cursor.move(-60 * S, snapshot())
    cursor.toggle_pause(snapshot())
    assert cursor.behind_ns == 60 * S

    cursor.live(snapshot())

    assert (cursor.frozen_ns, cursor.behind_ns) == (None, 0)


def test_before_anything_was_measured_keys_do_nothing():
    cursor = Cursor()

    cursor.toggle_pause(None)
    cursor.move(-S, None)

    assert not cursor.is_paused


def test_a_replay_is_driven_by_its_own_clock():
    replay = Replay()
    cursor = cursor_for(replay)

    cursor.move(-30 * S, snapshot())
    assert replay.at_ns == START_NS + 70 * S
    cursor.toggle_pause(snapshot())
    assert (replay.is_paused, cursor.is_paused) == (True, True)
    cursor.live(snapshot())
    assert (replay.is_paused, cursor.is_paused) == (False, False)
    cursor.move(-(10**18), snapshot())
    assert START_NS < replay.at_ns <= START_NS + S


def test_a_replay_that_came_to_its_end_says_so():
    replay = Replay()
    cursor = cursor_for(replay)
    assert not cursor.is_at_end

    replay.whole_bounds = lambda: (START_NS, replay.at_ns)

    assert cursor.is_at_end


def test_the_kind_of_cursor_follows_the_feed():
    assert isinstance(cursor_for(Replay()), ReplayCursor)
    assert isinstance(cursor_for(Feed()), Cursor)
