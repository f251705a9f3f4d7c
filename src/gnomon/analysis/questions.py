"""SELECT statements that stand alone: every value in them is written out.

The text that is run is the text that a finding shows, so that ``gnomon query`` gives the same
number again.
"""

from __future__ import annotations

from dataclasses import dataclass


def literal(value: str | float | None) -> str:
    """Return a value as SQL. Text is quoted; booleans and NaN have no business here."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(value)


def _is(name: str, value: str | float | None) -> str:
    return f"{name} IS NULL" if value is None else f"{name} = {literal(value)}"


@dataclass(frozen=True, slots=True)
class ThreadKey:
    """A thread of a recording. ``host`` is None where an import did not name it."""

    host: str | None
    pid: int | None
    tid: int | None

    @property
    def condition(self) -> str:
        """As it stands in a WHERE."""
        return f"{self.process_condition} AND {_is('tid', self.tid)}"

    @property
    def process_condition(self) -> str:
        """As it stands in a WHERE, for all threads of its process."""
        return f"{_is('host', self.host)} AND {_is('pid', self.pid)}"


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, Unix ns; rows belong to it by their ends: from_ns < ts_ns <= to_ns."""

    from_ns: int
    to_ns: int

    @property
    def condition(self) -> str:
        """As it stands in a WHERE."""
        return f"ts_ns > {self.from_ns} AND ts_ns <= {self.to_ns}"

    @property
    def seconds(self) -> float:
        return (self.to_ns - self.from_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Scope:
    """What is asked about: a span, without the rows of the recorder's own threads."""

    span: Span
    observers: tuple[ThreadKey, ...] = ()

    @property
    def condition(self) -> str:
        """As it stands in a WHERE of a table that has threads."""
        # A comparison with null is null: such a row is not an observer's.
        excluded = "".join(f" AND ({one.condition}) IS NOT TRUE" for one in self.observers)
        return f"{self.span.condition}{excluded}"
