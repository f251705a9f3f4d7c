"""``gnomon completion``: the script that teaches a shell our commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from gnomon.cli.base import Command

SHELLS = ("bash", "zsh", "fish")


@click.command(
    "completion",
    cls=Command,
    examples=[
        ('eval "$(gnomon completion bash)"', "in ~/.bashrc"),
        ('eval "$(gnomon completion zsh)"', "in ~/.zshrc"),
        ("gnomon completion fish | source", "in ~/.config/fish/config.fish"),
    ],
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    complete = get_completion_class(shell)
    assert complete is not None, shell  # the three that click brings
    click.echo(complete(ctx.find_root().command, {}, "gnomon", "_GNOMON_COMPLETE").source())
