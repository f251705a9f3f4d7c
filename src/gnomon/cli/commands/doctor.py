"""``gnomon doctor``: what can be measured here, what not, why, and what would change that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from gnomon.cli.base import Command, json_option, print_json
from gnomon.sources.base import Capability, Missing

GPU_SOURCES = ("nvml", "gpm", "pm")


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
    from gnomon import configuration  # noqa: PLC0415
    from gnomon.cli import environment, source_loading  # noqa: PLC0415

    settings = configuration.load()
    sources, broken = source_loading.create_sources(settings)
    capabilities = source_loading.check_all(sources) | broken
    facts = environment.facts(settings.state_directory)
    if as_json:
        print_json(_document(capabilities, facts))
    else:
        _print_text(capabilities, facts)
    complete = all(each.ready and not each.missing for each in capabilities.values())
    if strict and not (complete and all(fact.ok for fact in facts)):
        ctx.exit(1)


def _document(capabilities: Mapping[str, Capability], facts: Sequence[Any]) -> dict[str, Any]:
    return {
        "schema": 1,
        "sources": {name: asdict(capability) for name, capability in capabilities.items()},
        "environment": [fact.to_json() for fact in facts],
    }


def _print_text(capabilities: Mapping[str, Capability], facts: Sequence[Any]) -> None:
    click.secho("Sources", bold=True)
    for name, capability in capabilities.items():
        _print_source(name, capability)
    click.echo()
    click.secho("This machine", bold=True)
    for fact in facts:
        _print_line(fact.ok, fact.name, fact.value, fact.remedy)
    if not any(capabilities[name].ready for name in ("nvml", "gpm", "pm") if name in capabilities):
        click.echo(
            "\nNo GPU can be measured here. `gnomon demo` shows what it looks like with one."
        )


def _print_source(name: str, capability: Capability) -> None:
    if not capability.ready:
        _print_line(False, name, capability.reason, capability.remedy)
        return
    missing = f"ready, without {len(capability.missing)} metrics" if capability.missing else "ready"
    _print_line(True, name, missing)
    for (reason, remedy), metrics in _by_reason(capability.missing).items():
        _print_line(False, "", f"{', '.join(metrics)}: {reason}", remedy)


def _by_reason(missing: Sequence[Missing]) -> dict[tuple[str, str], list[str]]:
    grouped: dict[tuple[str, str], list[str]] = {}
    for each in missing:
        metrics = grouped.setdefault((each.reason, each.remedy), [])
        if each.metric not in metrics:
            metrics.append(each.metric)
    return grouped


def _print_line(ok: bool, name: str, value: str, remedy: str = "") -> None:  # noqa: FBT001
    mark = click.style("ok ", fg="green") if ok else click.style("no ", fg="yellow")
    click.echo(click.wrap_text(f"{name:<20}{value}", 80, f"  {mark} ", " " * 26))
    if remedy:
        click.echo(click.wrap_text(f"try: {remedy}", 80, " " * 26, " " * 31))
