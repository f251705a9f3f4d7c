"""``gnomon mcp``: a recording as tools for an AI agent."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gnomon._errors import CommandError
from gnomon.cli import base, opening
from gnomon.cli.budgets import ceilings
from gnomon.cli.model_options import Asked, model_options
from gnomon.cli.quantities import parse_duration_ns, parse_moment

if TYPE_CHECKING:
    from gnomon.analysis.budget import CeilingOf
    from gnomon.mcp.desk import Grammar
    from gnomon.recording.reader import Recording

TOKEN_VARIABLE = "GNOMON_MCP_TOKEN"  # noqa: S105  the variable's name
LOCAL_HOST = "127.0.0.1"
PORT = 8674
SHORTEST_TOKEN = 16


@click.command(
    "mcp",
    cls=base.Command,
    examples=[
        ("gnomon mcp run1", "a recording, to the client that starts this command"),
        ("gnomon mcp", "what is being recorded on this host"),
        (
            "gnomon mcp run1 --model Llama-3.1-8B --phase decode --batch 64",
            "with the ceiling of this workload beside what was reached",
        ),
        ("gnomon mcp run1 --http", "over HTTP on 127.0.0.1; the token is told on stderr"),
        (f"{TOKEN_VARIABLE}=... gnomon mcp --http --host 0.0.0.0", "for other hosts too"),
    ],
)
@click.argument("directory", metavar="[DIR]", type=base.RECORDING_DIRECTORY, required=False)
@click.option("--http", "is_http", is_flag=True, help="Serve streamable HTTP, with a token.")
@click.option("--host", help=f"--http: the address to listen on. [default: {LOCAL_HOST}]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"--http: the port; 0 is any that is free. [default: {PORT}]",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"--http: the token is the text of this file. [default: ${TOKEN_VARIABLE}, or a new one "
    "that is told on stderr]",
)
@model_options
def command(
    *,
    asked: Asked,
    directory: Path | None,
    is_http: bool,
    host: str | None,
    port: int | None,
    token_file: Path | None,
) -> None:
    """Answer an AI agent's questions about a recording.

    By the Model Context Protocol. Without DIR it is the recording that runs on this host.
    Nothing can be changed by the tools.
    """
    if not is_http and (host, port, token_file) != (None, None, None):
        raise click.UsageError("--host, --port and --token-file are for --http")
    recording = opening.open_recording(directory or _current())
    ceilings(asked, recording.meta)  # what is wrong with them is told now, not to the agent
    try:
        from gnomon.mcp import server, serving  # noqa: PLC0415  the SDK: 0.6 s, and optional
        from gnomon.mcp.desk import Desk  # noqa: PLC0415
    except ImportError as error:
        if (error.name or "").startswith("gnomon"):
            raise
        raise CommandError(
            f"gnomon mcp needs the MCP SDK, version 2 ({error}): pip install 'gnomon[mcp]'"
        ) from error

    made = server.create(Desk(recording, _grammar(recording, asked)))
    if not is_http:
        serving.over_stdio(made)
        return
    host = host or LOCAL_HOST
    if not serving.is_local(host):
        click.echo(
            f"{host}: the token and the answers travel unencrypted; put TLS before it", err=True
        )
    token = _token(token_file)
    serving.over_http(
        made,
        host,
        PORT if port is None else port,
        token,
        lambda url: click.echo(f"serving {recording.path} at {url}", err=True),
    )


def _current() -> Path:
    from gnomon import configuration  # noqa: PLC0415
    from gnomon.recording.announcement import find_current  # noqa: PLC0415

    found = find_current(configuration.load().runtime_directory)
    if found is None:
        raise CommandError(
            "nothing is being recorded on this host; `gnomon record -o DIR` starts, or name a "
            "recording: gnomon mcp DIR"
        )
    return found


def _token(file: Path | None) -> str:
    """Return the token that was given, or a new one, which is told."""
    import os  # noqa: PLC0415

    if file is not None:
        token, where = file.read_text(encoding="utf-8").strip(), str(file)
    else:
        token, where = os.environ.get(TOKEN_VARIABLE, "").strip(), TOKEN_VARIABLE
        if not token:
            token = secrets.token_urlsafe(32)
            click.echo(f"token: {token}", err=True)
    if len(token) < SHORTEST_TOKEN or not (
        token.isascii() and token.isprintable() and " " not in token
    ):
        raise CommandError(
            f"{where}: a token is at least {SHORTEST_TOKEN} ASCII characters without spaces; "
            "`openssl rand -hex 32` makes one"
        )
    return token


def _grammar(recording: Recording, asked: Asked) -> Grammar:
    """Return how questions are understood: as this program's own options."""
    from gnomon.mcp.desk import Grammar  # noqa: PLC0415
    from gnomon.performance_model import known  # noqa: PLC0415

    def ceilings_of(model: str | None, traffic: Mapping[str, Any]) -> CeilingOf | None:
        if model is not None:
            # A known one only: an agent must not make us read files.
            return ceilings(
                Asked(known.find(model), asked.constants, dict(traffic)), recording.meta
            )
        if traffic:
            return ceilings(Asked(asked.model, asked.constants, dict(traffic)), recording.meta)
        return ceilings(asked, recording.meta)

    return Grammar(
        moment_ns=lambda text, bounds: parse_moment(text).resolve(bounds),
        period_ns=parse_duration_ns,
        ceilings=ceilings_of,
    )
