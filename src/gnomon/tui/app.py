"""The way into the screen. Importing this costs nothing: Textual is imported by ``run``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from gnomon._errors import CommandError
from gnomon.recording.base import Measurements

if TYPE_CHECKING:
    from gnomon.analysis.budget import CeilingOf


class NamedSpan(Protocol):
    """A phase: its name and when it ran, Unix ns."""

    @property
    def name(self) -> str: ...
    @property
    def from_ns(self) -> int: ...
    @property
    def to_ns(self) -> int: ...


def run(
    feed: Measurements,
    *,
    refresh_s: float = 1.0,
    title: str = "",
    phases: Iterable[NamedSpan] | None = None,
    ceiling_of: CeilingOf | None = None,
) -> None:
    """Show ``feed`` until the user quits.

    The feed may be live, being written by another process, finished, or a replay: one with
    ``now_ns``, ``seek``, ``pause`` and ``resume`` is driven through them. ``phases`` stand in
    for the phases that the feed itself holds, ``ceiling_of`` gives GPUs a ceiling to be shown
    beside. The first answer is worked out while Textual is still being imported.

    Raises CommandError where there is no terminal, or where the screen broke.
    """
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise CommandError(
            "the screen needs a terminal on stdin, stdout and stderr; "
            "`gnomon top --once` prints one reading, `--json` for programs"
        )
    from gnomon.tui.cursor import cursor_for  # noqa: PLC0415  see the module docstring
    from gnomon.tui.gather import Gatherer  # noqa: PLC0415
    from gnomon.tui.refresher import Refresher  # noqa: PLC0415
    from gnomon.tui.snapshot import Request, Span  # noqa: PLC0415

    spans = None if phases is None else [Span(one.name, one.from_ns, one.to_ns) for one in phases]
    refresher = Refresher(Gatherer(feed, phases=spans, ceiling_of=ceiling_of).gather)
    refresher.request(Request(charts=False))

    from gnomon.tui.application import GnomonApp  # noqa: PLC0415

    application = GnomonApp(refresher, cursor_for(feed), refresh_s=refresh_s, title=title)
    try:
        application.run()
    finally:
        refresher.stop()
    if application.failure is not None:
        error = application.failure
        raise CommandError(
            f"the screen stopped: {type(error).__name__}: {error}; "
            "`gnomon top --once` shows the same numbers as text"
        ) from error
