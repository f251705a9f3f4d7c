"""The sources of this machine: made from their modules, asked what they can, none waited for."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

from gnomon.sources import SOURCES
from gnomon.sources.base import Capability, Source

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
    return others | {name: of_module(name) for name in SOURCES}


def check_all(sources: list[Source], timeout_s: float = CHECK_TIMEOUT_S) -> dict[str, Capability]:
    """Ask every source what it can measure, all at once; one that hangs is told as such."""
    answers: dict[str, Capability] = {}

    def ask(source: Source) -> None:
        try:
            answers[source.name] = source.check()
        except Exception as error:  # noqa: BLE001  the protocol forbids it; the user is told
            answers[source.name] = Capability(
                ready=False, reason=f"its check failed: {type(error).__name__}: {error}"
            )

    threads = [threading.Thread(target=ask, args=(each,), daemon=True) for each in sources]
    for thread in threads:
        thread.start()
    deadline_s = time.monotonic() + timeout_s
    for thread in threads:
        thread.join(max(0.0, deadline_s - time.monotonic()))
    return {each.name: answers.get(each.name, _no_answer(each, timeout_s)) for each in sources}


def _no_answer(source: Source, timeout_s: float) -> Capability:
    return Capability(
        ready=False,
        reason=f"did not answer within {timeout_s:g} s",
        remedy=f"see whether the driver hangs (dmesg | grep -i nvrm); {source.name} is left out",
    )
