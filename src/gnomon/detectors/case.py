"""What detectors look at: one window of one or several recordings, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gnomon.analysis.dispatch import DispatchThread, dispatch_threads
from gnomon.analysis.latency import Operation, latency
from gnomon.analysis.questions import Scope, Span, ThreadKey
from gnomon.analysis.summary import summarize
from gnomon.analysis.summary_types import GpuSummary
from gnomon.detectors.finding import Evidence, RuledOut
from gnomon.enums import Cause
from gnomon.recording.base import Measurements, Session

THREADS_SQL = """\
SELECT host, pid, tid, any_value(name) AS name, any_value(process_name) AS process_name,
  any_value(role) AS role, any_value(rank) AS rank, any_value(parent_tid) AS parent_tid,
  any_value(off_cpu_selection) AS off_cpu_selection
FROM threads GROUP BY host, pid, tid ORDER BY host, pid, tid"""


@dataclass(frozen=True, slots=True)
class KnownThread:
    """What `threads` says of a thread."""

    key: ThreadKey
    name: str | None
    process_name: str | None
    role: str | None
    rank: int | None
    parent_tid: int | None
    off_cpu_selection: str | None


class Case:
    """Measurements in a span, and what several detectors ask of them, asked once.

    Everything is read lazily: a detector that needs nothing of a table costs nothing.
    """

    def __init__(self, measurements: Measurements, session: Session, span: Span) -> None:
        self.measurements = measurements
        self.session = session
        self.span = span

    @cached_property
    def threads(self) -> Mapping[ThreadKey, KnownThread]:
        """All threads that were seen, at any time of the recording."""
        found = {}
        for row in self.session.rows(THREADS_SQL):
            key = ThreadKey(row.pop("host"), row.pop("pid"), row.pop("tid"))
            found[key] = KnownThread(key, **row)
        return found

    @cached_property
    def scope(self) -> Scope:
        """The span without the recorder's own threads."""
        observers = (one.key for one in self.threads.values() if one.role == "observer")
        return Scope(self.span, tuple(observers))

    @cached_property
    def operations(self) -> Sequence[Operation]:
        """Every operation of every thread."""
        return latency(self.session, self.scope)

    @cached_property
    def dispatch_threads(self) -> Sequence[DispatchThread]:
        """The threads that feed a GPU, the busiest first."""
        return dispatch_threads(self.session, self.scope, self.operations)

    @cached_property
    def gpus(self) -> Sequence[GpuSummary]:
        """Where each GPU's peak went in the span; none where no counters were recorded."""
        return list(
            summarize(self.measurements, from_ns=self.span.from_ns, to_ns=self.span.to_ns, by=None)
        )

    def name_of(self, thread: ThreadKey) -> str | None:
        """Return what a thread is called: its own name, else its process's."""
        known = self.threads.get(thread)
        return None if known is None else known.name or known.process_name

    def rank_of(self, thread: ThreadKey) -> int | None:
        known = self.threads.get(thread)
        return None if known is None else known.rank

    def value(self, sql: str) -> Any:
        """Return the one value of a SELECT of one row and one column."""
        (row,) = self.session.rows(sql)
        (value,) = row.values()
        return value

    def evidence(self, text: str, sql: str, unit: str) -> Evidence:
        """Return a sentence with its value, as its query gives it just now.

        ``{value}`` in the sentence is replaced by the value with its unit.
        """
        value = self.value(sql)
        return Evidence(text.replace("{value}", said(value, unit)), value, unit, sql)

    def ruled_out(self, cause: Cause, text: str, sql: str, unit: str) -> RuledOut:
        """Return a cause that a query excludes, as ``evidence`` does."""
        found = self.evidence(text, sql, unit)
        return RuledOut(cause, found.text, found.value, found.unit, found.sql)


def said(value: object, unit: str) -> str:
    """Return a value as a sentence has it: 3 to 4 digits, nanoseconds in a readable unit."""
    if value is None:
        return "not known"
    if isinstance(value, str):
        return value
    number = float(value)  # type: ignore[arg-type]
    if unit == "ns":
        for scale, name in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
            if abs(number) >= scale:
                return f"{number / scale:.4g} {name}"
    if unit == "bytes":
        for scale, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
            if abs(number) >= scale:
                return f"{number / scale:.4g} {name}"
    shown = f"{number:,.0f}" if number.is_integer() or abs(number) >= 1000 else f"{number:.3g}"
    return f"{shown} {unit}".rstrip() if unit != "count" else shown
