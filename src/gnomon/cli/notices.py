"""What a running collection has to tell its user: events, and what cannot be measured."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from gnomon.enums import Severity
from gnomon.recording.base import Meta, Unavailable

WORTH_TELLING = (Severity.WARNING.value, Severity.CRITICAL.value)


class EventTeller:
    """A sink that keeps the messages of events worth telling until somebody tells them."""

    def __init__(self) -> None:
        self._messages: deque[str] = deque()

    def news(self) -> Iterator[str]:
        """Yield messages that have come since the last call, from whatever thread."""
        while self._messages:
            yield self._messages.popleft()

    def append(self, table: str, batch: Any) -> None:
        if table != "events":
            return
        for row in batch.select(["severity", "message"]).to_pylist():
            if row["severity"] in WORTH_TELLING:
                self._messages.append(str(row["message"]))

    def flush(self) -> None:
        """Nothing to do: nothing is kept back."""

    def update_meta(self, meta: Meta) -> None:
        """Nothing to do: what is unavailable is asked of the collector."""


def unavailable_sources(unavailable: Sequence[Unavailable]) -> Iterator[str]:
    """Yield a line for each reason for which whole sources are missing; metrics are doctor's."""
    sources: dict[tuple[str, str], list[str]] = {}
    for each in unavailable:
        if each.metric == each.source:
            sources.setdefault((each.reason, each.remedy), []).append(each.source)
    for (reason, remedy), names in sources.items():
        tail = f"; try: {remedy}" if remedy else ""
        yield f"not measured: {', '.join(names)}: {reason}{tail}"
