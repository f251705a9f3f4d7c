import io
from dataclasses import replace

from gnomon.cli.status_line import StatusLine, status_text

from . import summaries as s


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_one_gpu():
    assert status_text(61 * 10**9, [s.PREFILL]) == (
        "recording 1 min 01 s | GPU busy 100, SOL compute <=55 memory 27 %, 691 W | CPU 12 %"
    )


def test_many_gpus_are_ranges():
    eight = [replace(s.PREFILL, busy_pct=float(busy)) for busy in range(10, 90, 10)]

    assert "8 GPUs busy 10-80, SOL compute 55 memory 27 %" in status_text(10**9, eight)


def test_unknown_is_a_dash_and_a_problem_comes_first():
    assert status_text(10**9, [s.UNKNOWN], "disk full: not recorded") == (
        "recording 1.0 s | disk full: not recorded | GPU busy -, SOL compute - memory - %"
    )


def test_without_gpus():
    assert status_text(10**9, []) == "recording 1.0 s"


def test_the_line_is_drawn_over_and_never_wraps():
    terminal = Terminal()
    line = StatusLine(terminal)
    line.show("x" * 200, 80)
    line.say("a message")

    drawn, message = terminal.getvalue().split("\r\x1b[K")[1:]

    assert drawn == "x" * 79
    assert message == "a message\n"


def test_without_a_terminal_there_is_no_line_but_messages_come():
    stream = io.StringIO()
    line = StatusLine(stream)
    line.show("status", 80)
    line.say("a message")
    line.clear()

    assert stream.getvalue() == "a message\n"
