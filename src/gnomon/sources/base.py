"""What every source is: a name, a period, and four verbs.

A source measures; it knows nothing of recordings, analysis or screens. The collector
(``recording/collector.py``) gives each source a thread of its own, calls ``check`` once,
``open`` once, ``read`` every period, and ``close`` at the end. A source that blocks holds
up nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Missing:
    """A metric that cannot be measured here, why, and what would change that."""

    metric: str
    reason: str
    remedy: str = ""
    gpu_uuid: str | None = None


@dataclass(frozen=True, slots=True)
class Capability:
    """The answer to "what could you measure on this machine?".

    ``ready`` false means the source as a whole cannot run, for ``reason``; a ready source may
    still miss single metrics (``missing``).
    """

    ready: bool
    reason: str = ""
    remedy: str = ""
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one table, as read. ``rows`` are dictionaries of the table's columns.

    Or they are Arrow already, where rows are many: ``arrow`` is a batch of the table's schema.
    """

    table: str
    rows: Sequence[Mapping[str, object]] = ()
    arrow: Any = None


@dataclass(frozen=True, slots=True)
class Description:
    """What a source knows about the machine and that does not change by the second.

    ``gpus`` (uuid -> facts) and ``host`` go into the recording's ``meta``.
    """

    gpus: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[Missing, ...] = ()


class Source(Protocol):
    """One place where measurements come from. Implementations live one a file.

    ``check`` never raises and leaves nothing open. ``open``, ``read`` raise ``SourceError``
    when the source as a whole fails; a single metric that fails drops out alone and is listed
    by ``describe().missing``. ``read`` returns what has come since the last call.
    """

    name: str
    period_ns: int

    def check(self) -> Capability: ...

    def open(self) -> None: ...

    def describe(self) -> Description: ...

    def warnings(self) -> Sequence[str]:
        """What the user should know of the period chosen; asked after each ``open``."""
        ...

    def read(self) -> Sequence[Batch]: ...

    def close(self) -> None: ...


@runtime_checkable
class Finishing(Protocol):
    """A source that has more to tell when it is stopped: asked once, before ``close``."""

    def finish(self) -> Sequence[Batch]: ...
