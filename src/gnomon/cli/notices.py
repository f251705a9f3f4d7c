"""What a running collection has to tell its user: events, and what cannot be measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gnomon.enums import Severity
from gnomon.recording.base import Measurements, Unavailable

WORTH_TELLING = (Severity.WARNING.value, Severity.CRITICAL.value)


class EventTeller:
    """Yields the message of each event worth telling, once."""

    def __init__(self, measurements: Measurements) -> None:
        self._measurements = measurements
        self._told: set[tuple[int, str]] = set()

    def news(self) -> Iterator[str]:
        """Yield messages that have come since the last call."""
        table = self._measurements.read("events", columns=["ts_ns", "severity", "message"])
        for row in table.to_pylist():
            key = (row["ts_ns"], row["message"])
            if row["severity"] in WORTH_TELLING and key not in self._told:
                self._told.add(key)
                yield str(row["message"])


def unavailable_sources(unavailable: Sequence[Unavailable]) -> Iterator[str]:
    """Yield a line for each reason for which whole sources are missing; metrics are doctor's."""
    sources: dict[tuple[str, str], list[str]] = {}
    for each in unavailable:
        if each.metric == each.source:
            sources.setdefault((each.reason, each.remedy), []).append(each.source)
    for (reason, remedy), names in sources.items():
        tail = f"; try: {remedy}" if remedy else ""
        yield f"not measured: {', '.join(names)}: {reason}{tail}"
