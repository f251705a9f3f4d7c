"""The ``gnomon`` program: finds the command, runs it, and words what went wrong."""

from __future__ import annotations

import importlib
import io
import os
import pkgutil
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from gnomon import __version__
from gnomon._errors import CommandError, GnomonError, SourceError
from gnomon.cli import commands, footprint

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "gnomon.commands"
# What a shell reports for a program that ended by SIGINT: 128 + the signal's number.
EXIT_INTERRUPTED = 130
# And for one that wrote into a closed pipe (`| head`), which others end of by SIGPIPE: 128 + 13.
EXIT_BROKEN_PIPE = 141


class LazyGroup(click.Group):
    """A group that knows its commands by file name and imports one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        return sorted({*_modules(), *_entry_points()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name in (modules := _modules()):
            found = importlib.import_module(modules[cmd_name]).command
        elif cmd_name in (entry_points := _entry_points()):
            found = _load(entry_points[cmd_name])
        else:
            return None
        if not isinstance(found, click.Command):
            raise CommandError(f"command {cmd_name!r} is {type(found).__name__}, not click.Command")
        return found

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        with _closed_pipe_is_no_failure():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _closed_pipe_is_no_failure():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        lines = [
            (name, commands.SHORT_HELP.get(name, "(added by another package)"))
            for name in self.list_commands(ctx)
        ]
        with formatter.section("Commands"):
            formatter.write_dl(lines)


@contextmanager
def _closed_pipe_is_no_failure() -> Iterator[None]:
    """End with the status of a closed pipe; click and rich would exit with 1, that of failure."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(EXIT_BROKEN_PIPE) from None
    except SystemExit as error:
        if isinstance(error.__context__, BrokenPipeError):
            raise click.exceptions.Exit(EXIT_BROKEN_PIPE) from None
        raise


def _modules() -> Mapping[str, str]:
    """Return command name -> module, from the files of the package."""
    return {
        module.name.rstrip("_"): f"{commands.__name__}.{module.name}"
        for module in pkgutil.iter_modules(commands.__path__)
    }


def _entry_points() -> Mapping[str, EntryPoint]:
    from importlib import metadata  # noqa: PLC0415  30 ms that none of our own commands needs

    return {point.name: point for point in metadata.entry_points(group=ENTRY_POINT_GROUP)}


def _load(point: EntryPoint) -> object:
    try:
        return point.load()
    except Exception as error:
        package = point.dist.name if point.dist else "unknown package"
        raise CommandError(
            f"command {point.name!r} of {package} cannot be loaded: {error}"
        ) from error


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="gnomon", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error (GNOMON_DEBUG=1).")
@click.pass_context
def cli(ctx: click.Context, *, debug: bool) -> None:
    """Tell how close NVIDIA GPUs run to the speed of light, and where the rest went.

    Start with "gnomon demo" (needs no GPU), then "gnomon top" on a GPU machine.
    "gnomon COMMAND --help" gives examples.
    """
    if debug:
        os.environ["GNOMON_DEBUG"] = "1"
    ctx.ensure_object(dict)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit: 0 good, 1 it failed, 2 wrong usage; a command may say otherwise."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status; errors are told on stderr."""
    _never_fail_on_a_character()
    footprint.use_one_thread()
    try:
        # Without standalone mode click hands back the status of ctx.exit() and raises the rest.
        status = cli.main(arguments, prog_name="gnomon", standalone_mode=False)
        sys.stdout.flush()
    except click.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        return _leave_broken_pipe()
    except (GnomonError, OSError) as error:
        return _tell(error)
    return status if isinstance(status, int) else 0


def _never_fail_on_a_character() -> None:
    """A terminal without UTF-8, or a process name that is none, must not end the program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _tell(error: Exception) -> int:
    if os.environ.get("GNOMON_DEBUG", "") not in {"", "0"}:
        traceback.print_exc()
    click.echo(f"gnomon: {_words(error)}", err=True)
    return error.exit_code if isinstance(error, CommandError) else 1


def _words(error: Exception) -> str:
    if isinstance(error, SourceError) and error.remedy:
        return f"{error.reason}\nTry: {error.remedy}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _leave_broken_pipe() -> int:
    """Make stdout harmless: the interpreter would flush it again at exit and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_BROKEN_PIPE
