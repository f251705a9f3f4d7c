import os
import signal
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from gnomon import __version__
from gnomon._errors import CommandError, GnomonError, SourceError
from gnomon.cli import commands, main

HEAVY = ("pyarrow", "duckdb", "textual", "rich", "pynvml", "numpy", "psutil")


def gnomon(*arguments, **environment):
    """Run the real program, as a user's shell would."""
    return subprocess.run(
        [sys.executable, "-m", "gnomon", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
        timeout=60,
    )


def failing(error):
    @click.command("fail")
    def command():
        raise error

    return command


@pytest.fixture
def add_command(monkeypatch):
    """Give the program one more command, the way another package would: by entry point."""

    def add(command, name="fail"):
        point = metadata.EntryPoint(name, "nowhere:nothing", main.ENTRY_POINT_GROUP)
        monkeypatch.setattr(main, "_entry_points", lambda: {name: point})
        monkeypatch.setattr(main, "_load", lambda _: command)

    return add


def test_help_imports_nothing_heavy():
    program = (
        "import sys\n"
        "from gnomon.cli.main import run\n"
        "assert run(['--help']) == 0\n"
        f"print('heavy:', [name for name in {HEAVY} if name in sys.modules])\n"
        "print('commands:', [n for n in sys.modules if n.startswith('gnomon.cli.commands.')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert "heavy: []" in done.stdout
    assert "commands: []" in done.stdout


def test_every_command_has_its_line_of_help_and_no_line_lacks_a_command():
    files = {
        path.stem.rstrip("_")
        for path in Path(commands.__path__[0]).glob("*.py")
        if path.stem != "__init__"
    }

    assert files == set(commands.SHORT_HELP)


@pytest.mark.parametrize("name", sorted(commands.SHORT_HELP))
def test_command_help(name):
    """The line in the list is the first line of the command's help; examples are real."""
    command = main.cli.get_command(click.Context(main.cli), name)

    first_paragraph = " ".join((command.help or "").split("\n\n")[0].split())
    examples = getattr(command, "examples", ())

    assert first_paragraph == commands.SHORT_HELP[name]
    assert command.name == name
    for example in list(examples) or _examples_of_group(command):
        assert f"gnomon {name}" in example[0]


def _examples_of_group(command):
    assert isinstance(command, click.Group), f"{command.name} has no examples"
    found = [example for sub in command.commands.values() for example in sub.examples]
    assert found
    return found


def test_help_of_the_program_lists_every_command():
    done = gnomon("--help")

    assert done.returncode == 0
    for name, line in commands.SHORT_HELP.items():
        assert name in done.stdout
        assert line[:40] in done.stdout


def test_version():
    assert gnomon("--version").stdout == f"gnomon {__version__}\n"


def test_unknown_command_is_a_usage_error():
    done = gnomon("smmary")

    assert done.returncode == 2
    assert "No such command 'smmary'" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (GnomonError("cannot do it"), 1),
        (CommandError("cannot do it", exit_code=7), 7),
        (SourceError("cannot do it", remedy="load the driver"), 1),
        (OSError(13, "cannot do it", "/some/file"), 1),
    ],
)
def test_errors_are_one_message_and_a_status(add_command, capsys, error, status):
    add_command(failing(error))

    assert main.run(["fail"]) == status

    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("gnomon: ")
    assert "cannot do it" in told.err
    assert "Traceback" not in told.err


def test_remedy_and_file_are_told(add_command, capsys):
    add_command(failing(SourceError("no driver", remedy="load nvidia.ko")))
    main.run(["fail"])

    assert capsys.readouterr().err == "gnomon: no driver\nTry: load nvidia.ko\n"

    add_command(failing(OSError(13, "Permission denied", "/some/file")))
    main.run(["fail"])

    assert capsys.readouterr().err == "gnomon: /some/file: Permission denied\n"


@pytest.mark.parametrize("how", ["option", "environment"])
def test_debug_shows_the_traceback(add_command, capsys, monkeypatch, how):
    monkeypatch.setenv("GNOMON_DEBUG", "1" if how == "environment" else "")
    add_command(failing(GnomonError("cannot do it")))

    assert main.run(["--debug", "fail"] if how == "option" else ["fail"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_is_not_hidden(add_command):
    """An error that we did not raise on purpose keeps its traceback."""
    add_command(failing(ZeroDivisionError()))

    with pytest.raises(ZeroDivisionError):
        main.run(["fail"])


def test_interrupt_is_quiet(add_command, capsys):
    add_command(failing(KeyboardInterrupt()))

    assert main.run(["fail"]) == 130
    assert capsys.readouterr().err.strip() == ""


def test_closed_pipe_is_quiet():
    """`gnomon ... | head -0`: no complaint from us, nor from the interpreter at its exit."""
    shell = f"{sys.executable} -m gnomon completion bash | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stderr == ""
    assert done.stdout.strip() in {"141", "0"}  # 0 where it wrote before `true` had ended


@pytest.mark.parametrize("write", [click.echo, lambda text: Console().print(text)])
def test_a_closed_pipe_is_told_as_a_shell_tells_it(monkeypatch, add_command, write):
    reading, writing = os.pipe()
    os.close(reading)
    add_command(click.command("much")(lambda: write("x" * 100_000)), "much")
    with os.fdopen(writing, "w") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)

        assert main.run(["much"]) == 128 + signal.SIGPIPE


def test_a_command_that_exits_by_itself_keeps_its_status(add_command):
    add_command(click.command("leaves")(lambda: sys.exit(1)), "leaves")

    with pytest.raises(SystemExit, match="1"):
        main.run(["leaves"])


def test_another_package_adds_a_command(add_command):
    @click.command("extra")
    def extra():
        click.echo("here")

    add_command(extra, "extra")

    assert CliRunner().invoke(main.cli, ["extra"]).output == "here\n"
    assert "extra" in CliRunner().invoke(main.cli, ["--help"]).output


def test_a_broken_command_of_another_package_is_named(monkeypatch, capsys):
    point = metadata.EntryPoint("broken", "no_such_module:command", main.ENTRY_POINT_GROUP)
    monkeypatch.setattr(main, "_entry_points", lambda: {"broken": point})

    assert main.run(["broken"]) == 1
    assert "'broken'" in capsys.readouterr().err
    assert main.run(["--version"]) == 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell):
    done = gnomon("completion", shell)

    assert done.returncode == 0
    assert "_GNOMON_COMPLETE" in done.stdout


def test_completion_completes_our_commands():
    done = gnomon("sum", _GNOMON_COMPLETE="bash_complete", COMP_WORDS="gnomon su", COMP_CWORD="1")

    assert "plain,summary" in done.stdout


def test_module_of_each_command_has_the_command():
    for name, module in main._modules().items():
        assert isinstance(import_module(module).command, click.Command), name
