"""One NVML session for all sources of a process."""

import pytest

from gnomon._errors import SourceError
from gnomon.sources._nvml_session import Session


def users(nvml_standin):
    """Shut the library down until it refuses: how many had it open."""
    import ctypes

    library, count = ctypes.CDLL(str(nvml_standin)), 0
    while library.nvmlShutdown() == 0:
        count += 1
    return count


def test_the_library_is_started_once_and_shut_with_the_last_user(nvml, nvml_standin):
    session = Session()
    session.acquire()
    session.acquire()
    session.release()
    assert users(nvml_standin) == 1

    session = Session()
    session.acquire()
    session.release()
    assert users(nvml_standin) == 0


def test_a_restart_waits_until_nobody_reads(nvml):
    session = Session()
    session.acquire()
    with session.reading() as before:
        assert not session.restart("driver")
    assert session.restart("driver")
    with session.reading() as after:
        assert after == before + 1
    session.release()


def test_restarts_keep_their_distance(nvml):
    session = Session()
    session.acquire()
    assert session.restart("gpu")
    assert not session.restart("gpu")
    session.restart_interval_ns = 0
    assert session.restart("gpu")
    session.release()


def test_a_start_that_fails_leaves_no_user_behind(nvml, nvml_standin):
    session = Session()
    directive = nvml.fail("nvmlInitWithFlags", 9)
    with pytest.raises(SourceError, match="kernel module is not loaded"):
        session.acquire()
    nvml.remove(directive)
    session.acquire()
    session.release()

    assert users(nvml_standin) == 0
