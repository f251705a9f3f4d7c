import os
import signal
import sys
import time

import pytest

from gnomon._errors import CommandError
from gnomon.cli.workload import Workload, stop_on_signals


def python(program, **environment):
    return Workload([sys.executable, "-c", program], environment)


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("pass", 0),
        ("raise SystemExit(7)", 7),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 143),
    ],
)
def test_status_is_what_a_shell_would_say(program, status):
    assert python(program).wait(30) == status


def test_it_runs_with_our_environment_and_its_own():
    program = "import os; raise SystemExit(os.environ['MARK'] != 'yes' or 'PATH' not in os.environ)"

    assert python(program, MARK="yes").wait(30) == 0


def test_wait_comes_back_after_its_time():
    sleeping = python("import time; time.sleep(60)")

    assert sleeping.wait(0.05) is None
    assert sleeping.exit_status() is None

    sleeping.terminate()

    assert sleeping.wait(30) == 143
    sleeping.terminate()  # of a dead one: nothing


def test_no_such_command():
    with pytest.raises(CommandError, match="no-such-thing: no such command") as error:
        Workload(["no-such-thing"], {})

    assert error.value.exit_code == 127


def test_no_program(tmp_path):
    with pytest.raises(CommandError) as error:
        Workload([str(tmp_path)], {})

    assert error.value.exit_code == 126


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait(number):
    former = signal.getsignal(number)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        started = time.monotonic()

        assert stop.wait(60)
        assert stop.signal == number
        assert time.monotonic() - started < 30
        # The next one of its kind is not caught: a user who insists gets out.
        assert signal.getsignal(number) == signal.SIG_DFL

    assert signal.getsignal(number) == former


def test_without_a_signal_the_wait_is_the_timeout():
    with stop_on_signals() as stop:
        assert not stop.wait(0.01)
        assert stop.signal is None
