"""A living recorder is found, a dead one is not."""

import json
import os

from gnomon.recording.announcement import FILE_NAME, announce, find_current


def test_a_recorder_is_found_while_it_lives(tmp_path):
    recording = tmp_path / "r"
    recording.mkdir()

    with announce(tmp_path / "run", recording) as announced:
        assert announced
        assert find_current(tmp_path / "run") == recording.resolve()
    assert find_current(tmp_path / "run") is None


def test_a_dead_process_is_not_believed_even_when_its_pid_lives_again(tmp_path):
    stale = {"pid": os.getpid(), "start_ticks": 1, "directory": str(tmp_path)}
    (tmp_path / FILE_NAME).write_text(json.dumps(stale))

    assert find_current(tmp_path) is None
    assert not (tmp_path / FILE_NAME).exists()


def test_a_second_recorder_leaves_the_first_announced(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()

    with (
        announce(tmp_path / "run", tmp_path / "a"),
        announce(tmp_path / "run", tmp_path / "b") as second,
    ):
        assert not second
        assert find_current(tmp_path / "run") == (tmp_path / "a").resolve()


def test_garbage_is_no_announcement(tmp_path):
    (tmp_path / FILE_NAME).write_text('{"pid": "x"')

    assert find_current(tmp_path) is None
