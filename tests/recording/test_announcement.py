"""A living recorder is found, a dead one is not."""

import json
import os

import pytest

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


def test_a_user_finds_the_recorder_of_root(tmp_path):
    user, system, recording = (tmp_path / name for name in ("user", "system", "recording"))
    recording.mkdir()

    with announce(system, recording):
        assert find_current(user, system) == recording
        assert (system / "current").stat().st_mode & 0o004
    assert find_current(user, system) is None


def test_what_may_not_be_read_is_not_found(tmp_path, monkeypatch):
    recording = tmp_path / "recording"
    recording.mkdir()

    with announce(tmp_path, recording):
        monkeypatch.setattr(os, "access", lambda *arguments: False)
        assert find_current(tmp_path, tmp_path) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's file")
def test_an_announcement_of_another_user_is_not_believed(tmp_path):
    recording = tmp_path / "recording"
    recording.mkdir()

    with announce(tmp_path, recording):
        os.chown(tmp_path / "current", 12345, 12345)
        assert find_current(tmp_path, tmp_path) is None
