"""The tracer as a source: a helper that is real, refused, or dies."""

import os
import signal
import sys
import time

import pytest

from gnomon import tables
from gnomon._errors import SourceError
from gnomon.configuration import Settings, TraceRequest
from gnomon.sources import _trace_helper, trace
from gnomon.sources.base import Finishing
from gnomon.sources.trace import TraceSource, create
from gnomon.tracing.plan import Plan
from tests.tracing.programs.tracer import NEEDS_PROGRAMS


def pretending(monkeypatch, program):
    """Put a program in the helper's place; it has its pipe as ``fd``."""
    begin = "import os, sys; fd = int(sys.argv[2]); sys.stdin.readline();"
    monkeypatch.setattr(_trace_helper, "COMMAND", (sys.executable, "-c", begin + program))


def message(document):
    return f"d = {document!r}.encode(); os.write(fd, bytes([0]*4 + [len(d), 0, 0, 0]) + d);"


READY = message('{"lacking": []}')


def read_on(source):
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        source.read()
        time.sleep(0.02)


def test_a_plan_survives_its_way_to_the_helper():
    plan = Plan(pids=(1, 2), names=("a b",), command=("x", "--y"), observers=(3,), launch_share=0.5)

    assert Plan.from_json(plan.to_json()) == plan
    with pytest.raises(ValueError, match="no plan"):
        Plan.from_json('{"what": 1}')


def test_nothing_is_traced_unless_it_is_asked_for():
    source = create(Settings())

    with pytest.raises(SourceError, match="nobody is to be traced"):
        source.open()
    source.close()


def test_what_the_kernel_refuses_is_told_with_its_remedy(monkeypatch):
    pretending(monkeypatch, message('{"refused": "no way", "remedy": "be root"}'))
    source = TraceSource(TraceRequest(pids=(1,)))

    with pytest.raises(SourceError, match="no way") as error:
        source.open()
    assert error.value.remedy == "be root"
    source.close()


def test_what_this_kernel_lacks_is_missing(monkeypatch):
    lack = '{"lacking": [{"family": "block", "what": "disks", "reason": "r", "remedy": "m"}]}'
    pretending(monkeypatch, message(lack) + "sys.stdin.read()")
    source = TraceSource(TraceRequest(pids=(1,)))
    source.open()
    (missing,) = source.describe().missing
    source.close()

    assert (missing.metric, missing.reason, missing.remedy) == ("disks", "r", "m")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("os.kill(os.getpid(), 9)", "signal 9"),
        ("raise SystemExit('it broke')", "status 1: it broke"),
        ("1 / 0", "status 1: ZeroDivisionError"),
    ],
)
def test_a_helper_that_dies_is_told_with_its_last_words(monkeypatch, program, words):
    pretending(monkeypatch, READY + program)
    source = TraceSource(TraceRequest(pids=(1,)))
    source.open()

    with pytest.raises(SourceError, match=words):
        read_on(source)
    source.close()


def test_a_helper_that_does_not_begin_is_not_waited_for_long(monkeypatch):
    pretending(monkeypatch, "sys.stdin.read()")
    monkeypatch.setattr(trace, "START_TIMEOUT_S", 0.2)
    source = TraceSource(TraceRequest(pids=(1,)))

    with pytest.raises(SourceError, match="did not begin"):
        source.open()
    source.close()


def test_a_helper_that_falls_silent_is_told(monkeypatch):
    pretending(monkeypatch, READY + "sys.stdin.read()")
    monkeypatch.setattr(trace, "SILENT_S", 0.3)
    source = TraceSource(TraceRequest(pids=(1,)))
    source.open()

    with pytest.raises(SourceError, match="has said nothing"):
        read_on(source)
    source.close()


LONG = "n = 3_000_000; os.write(fd, bytes([0]*4) + n.to_bytes(4, 'little'));"


def test_a_helper_in_the_middle_of_a_long_message_is_not_silent(monkeypatch):
    slowly = "import time; [(os.write(fd, b' ' * 1000), time.sleep(0.05)) for _ in range(40)];"
    pretending(monkeypatch, READY + LONG + slowly + "sys.exit('enough')")
    monkeypatch.setattr(trace, "SILENT_S", 0.5)
    source = TraceSource(TraceRequest(pids=(1,)))
    source.open()

    with pytest.raises(SourceError, match="enough"):
        read_on(source)
    source.close()


def test_much_comes_through_in_few_readings(monkeypatch):
    """A pipe of 64 KiB once a reading would take 46 of them."""
    body = "left = b'1'.ljust(n);\nwhile left: left = left[os.write(fd, left):]\nsys.stdin.read()"
    pretending(monkeypatch, READY + LONG + body)
    source = TraceSource(TraceRequest(pids=(1,)))
    source.open()
    helper = source._helper
    readings = 0
    while not any(document == 1 for _, document in helper.read()[0]):
        readings += 1
        time.sleep(0.05)
    source.close()

    assert readings < 20


def test_rows_right_behind_the_first_words_are_kept(monkeypatch):
    batch = tables.batch("losses", [{"ts_ns": 1, "duration_ns": 0, "rows": 7}])
    body = bytes(batch.serialize())
    head = len(b"losses").to_bytes(4, "little") + len(body).to_bytes(4, "little")
    words = b'{"lacking": []}'
    data = bytes(4) + len(words).to_bytes(4, "little") + words + head + b"losses" + body
    pretending(monkeypatch, f"os.write(fd, {data!r}); sys.stdin.read()")
    source = TraceSource(TraceRequest(pids=(1,)))
    source.open()
    (told,) = source.read()
    source.close()

    assert told.arrow.equals(batch)


def test_a_helper_that_does_not_end_is_killed(monkeypatch):
    pretending(monkeypatch, READY + "import time; time.sleep(100)")
    monkeypatch.setattr(_trace_helper, "CLOSE_TIMEOUT_S", 0.2)
    source = TraceSource(TraceRequest(pids=(1,)))
    source.open()
    pid = source._helper.pid
    source.close()

    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def test_a_helper_that_does_not_answer_at_the_end_is_killed_and_the_loss_told(monkeypatch):
    pretending(monkeypatch, READY + "import time; time.sleep(100)")
    monkeypatch.setattr(trace, "FINISH_TIMEOUT_S", 0.2)
    source = TraceSource(TraceRequest(pids=(1,)))
    source.open()
    pid = source._helper.pid
    (told,) = source.finish()
    source.close()

    assert told.table == "events"
    assert "did not answer at the end" in told.rows[0]["message"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


class TestOnThisKernel:
    pytestmark = NEEDS_PROGRAMS

    def test_a_check_finds_it_ready_and_leaves_nothing(self):
        assert TraceSource(None).check().ready

    def test_it_has_more_to_tell_when_it_is_stopped(self):
        source = TraceSource(TraceRequest(pids=(os.getppid(),)))
        assert isinstance(source, Finishing)
        source.open()
        told = {batch.table: batch.arrow for batch in (*source.read(), *source.finish())}
        source.close()

        assert os.getppid() in told["threads"].column("pid").to_pylist()
