"""The sources of this machine: made from their modules, asked what they can, none waited for."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any, TypeVar

from gnomon._errors import GnomonError
from gnomon.sources import SOURCES
from gnomon.sources.base import Capability, Description, Source

T = TypeVar("T")

ENTRY_POINT_GROUP = "gnomon.sources"
CHECK_TIMEOUT_S = 5.0


def create_sources(settings: Any) -> tuple[list[Source], dict[str, Capability]]:
    """Return all sources, and those that cannot even be made, with the reason.

    ``settings`` is handed to each module's ``create``. Nothing is opened.
    """
    made: list[Source] = []
    broken: dict[str, Capability] = {}
    for name, load in _factories().items():
        try:
            made.append(load()(settings))
        except Exception as error:  # noqa: BLE001  one source must never take the others along
            broken[name] = Capability(
                ready=False,
                reason=f"cannot be loaded: {type(error).__name__}: {error}",
                remedy="reinstall gnomon with its dependencies"
                if isinstance(error, ImportError)
                else "",
            )
    return made, broken


def _factories() -> Mapping[str, Callable[[], Callable[[Any], Source]]]:
    def of_module(name: str) -> Callable[[], Callable[[Any], Source]]:
        return lambda: importlib.import_module(f"gnomon.sources.{name}").create

    others = {point.name: point.load for point in metadata.entry_points(group=ENTRY_POINT_GROUP)}
    return {name: of_module(name) for name in SOURCES} | others


def check_all(
    sources: Sequence[Source], timeout_s: float = CHECK_TIMEOUT_S
) -> dict[str, Capability]:
    """Ask every source what it can measure, all at once; one that hangs is told as such."""
    silent = Capability(
        ready=False,
        reason=f"did not answer within {timeout_s:g} s",
        remedy="see whether the driver hangs (dmesg | grep -i nvrm)",
    )
    return _ask_all(sources, _check, silent, timeout_s)


def describe(source: Source, timeout_s: float = CHECK_TIMEOUT_S) -> Description:
    """Open a source for a moment and return what it knows; empty where that fails or hangs."""
    return _ask_all([source], _describe, Description(), timeout_s)[source.name]


def _check(source: Source) -> Capability:
    try:
        return source.check()
    except Exception as error:  # noqa: BLE001  the protocol forbids it; the user is told
        return Capability(ready=False, reason=f"its check failed: {type(error).__name__}: {error}")


def _describe(source: Source) -> Description:
    try:
        source.open()
    except GnomonError:
        return Description()
    try:
        return source.describe()
    finally:
        source.close()


def _ask_all(
    sources: Sequence[Source], question: Callable[[Source], T], otherwise: T, timeout_s: float
) -> dict[str, T]:
    """Ask on a thread each; ``otherwise`` is the answer of those that do not come back in time."""
    answers: dict[str, T] = {}

    def ask(source: Source) -> None:
        answers[source.name] = question(source)

    # Daemons: a source that hangs must not keep the program from ending.
    threads = [threading.Thread(target=ask, args=(each,), daemon=True) for each in sources]
    for thread in threads:
        thread.start()
    deadline_s = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return {each.name: answers.get(each.name, otherwise) for each in sources}
