"""``gnomon doctor``: what can be measured here, what not, why, and what would change that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from gnomon.cli.base import Command, json_option, print_json
from gnomon.sources.base import Capability, Missing

if TYPE_CHECKING:
    from gnomon.cli.checkup import Checkup

NAME_WIDTH = 20
HANG = " " * (NAME_WIDTH + 6)


@click.command(
    "doctor",
    cls=Command,
    examples=[
        ("gnomon doctor", "what works on this machine, and what to do about the rest"),
        ("gnomon doctor --json", "the same for a program"),
        ("gnomon doctor --strict", "fail where anything is missing: for provisioning scripts"),
    ],
)
@json_option()
@click.option("--strict", is_flag=True, help="Exit with 1 where anything cannot be measured.")
@click.pass_context
def command(ctx: click.Context, *, as_json: bool, strict: bool) -> None:
    """Say what can be measured here, what not, and what to do about it."""
    from gnomon.cli import checkup  # noqa: PLC0415  only doctor pays for it

    found = checkup.examine()
    if as_json:
        print_json({"schema": 1} | found.to_json())
    else:
        _print_text(found)
    if strict and not found.complete:
        ctx.exit(1)


def _print_text(found: Checkup) -> None:
    click.secho("GPUs", bold=True)
    for gpu in found.gpus:
        _print_line(gpu.ok, gpu.name, gpu.value, gpu.remedy)
    if not found.gpus:
        click.echo("  none can be measured here; `gnomon demo` shows what it looks like with one")
    click.secho("\nSources", bold=True)
    for name, capability in found.capabilities.items():
        _print_source(name, capability, len(found.gpus))
    click.secho("\nTracing (gnomon trace)", bold=True)
    for fact in found.tracing:
        _print_line(fact.ok, fact.name, fact.value, fact.remedy)
    click.secho("\nThis machine", bold=True)
    for fact in found.facts:
        _print_line(fact.ok, fact.name, fact.value, fact.remedy)


def _print_source(name: str, capability: Capability, gpus: int) -> None:
    if not capability.ready:
        _print_line(False, name, capability.reason, capability.remedy)
        return
    _print_line(True, name, "ready, without:" if capability.missing else "ready")
    for (reason, remedy, uuids), metrics in _by_reason(capability.missing).items():
        where = f" (on {', '.join(sorted(uuids))})" if 0 < len(uuids) < gpus else ""
        _print_line(False, "", f"{', '.join(metrics)}{where}: {reason}", remedy)


def _by_reason(missing: Sequence[Missing]) -> dict[tuple[str, str, frozenset[str]], list[str]]:
    """Group metrics that are missing for the same reason on the same GPUs."""
    where: dict[tuple[str, str, str], set[str]] = {}
    for each in missing:
        uuids = where.setdefault((each.metric, each.reason, each.remedy), set())
        uuids |= {each.gpu_uuid} if each.gpu_uuid else set()
    grouped: dict[tuple[str, str, frozenset[str]], list[str]] = {}
    for (metric, reason, remedy), uuids in where.items():
        grouped.setdefault((reason, remedy, frozenset(uuids)), []).append(metric)
    return grouped


def _print_line(ok: bool, name: str, value: str, remedy: str = "") -> None:  # noqa: FBT001
    mark = click.style("ok ", fg="green") if ok else click.style("no ", fg="yellow")
    click.echo(click.wrap_text(f"{name:<{NAME_WIDTH}}{value}", 80, f"  {mark} ", HANG))
    if remedy:
        click.echo(click.wrap_text(f"try: {remedy}", 80, HANG, HANG + " " * 5))
