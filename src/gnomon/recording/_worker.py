"""One source on one thread: checked, opened, read at its period, retried when it fails."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gnomon import tables
from gnomon._errors import SourceError
from gnomon.enums import EventKind, Severity, SourceState
from gnomon.recording._health import SourceHealth, WorkerCounts
from gnomon.recording.base import NOT_YET
from gnomon.sources.base import Batch, Capability, Description, Finishing, Missing, Source

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0
# A user who has just started us should not wait a whole period for the first number; hardware
# counters need 100 ms between two samples.
FIRST_READ_NS = 120_000_000
# A processor that has just slept runs the first lines many times slower than the next ones, so
# sources read in one go, yet not at the same moment: they would wait for each other.
STAGGER_NS = 10_000_000


@dataclass(frozen=True, slots=True)
class WorkerNotice:
    """Something a user should hear of; becomes a row of ``events``."""

    kind: EventKind
    severity: Severity
    message: str
    ts_ns: int = field(default_factory=time.time_ns)


class Worker:
    """Runs a source; everything public may be called from another thread."""

    def __init__(self, source: Source, queue_batches: int, place: int = 0) -> None:
        """``place``: which turn it has among the workers of a collector."""
        self.name = source.name
        self.period_ns = source.period_ns
        self.state = SourceState.UNAVAILABLE
        self.has_answered = False
        self.reason = NOT_YET
        self.remedy = ""
        self.description = Description()
        self.counts = WorkerCounts()
        self._source = source
        self._checked: tuple[Missing, ...] = ()
        # One thread puts in, one takes out: a deque needs no lock for that.
        self._batches: deque[tuple[str, Any]] = deque()
        self._most_batches = queue_batches
        self._notices: deque[WorkerNotice] = deque()
        self._stop = threading.Event()
        self._reading_since_ns: int | None = None
        self._offset_ns = place * STAGGER_NS
        # When it acts next, on the monotonic clock: in the past while it does, None at its end.
        self.due_ns: int | None = 0
        self._table = ""
        # A daemon: a source that never comes back must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name=f"gnomon-{source.name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def take(self) -> Iterator[tuple[str, Any]]:
        """Yield the tables and Arrow batches that have come since the last call."""
        while self._batches:
            yield self._batches.popleft()

    def take_notices(self) -> Iterator[WorkerNotice]:
        while self._notices:
            yield self._notices.popleft()

    def reading_for_ns(self) -> int:
        """How long the reading under way has taken; 0 where none is."""
        since_ns = self._reading_since_ns
        return 0 if since_ns is None else time.monotonic_ns() - since_ns

    def mark_stalled(self, reason: str) -> None:
        self.state, self.reason = SourceState.STALLED, reason

    def missing(self) -> Sequence[Missing]:
        """What this source cannot measure: by its last description, else by its check."""
        return self.description.missing or self._checked

    def standing(self) -> tuple[object, ...]:
        """Return all that ``meta`` is made of: equal to an earlier one where nothing changed."""
        return self.state, self.reason, self.remedy, self._checked, self.description

    def facts(self) -> dict[str, Any]:
        """What ``meta`` says of this source."""
        return {
            "state": self.state.value,
            "reason": self.reason,
            "remedy": self.remedy,
            "period_ns": self.period_ns,
        }

    def health(self) -> SourceHealth:
        return SourceHealth(self.name, self.state, self.reason, self.period_ns, self.counts)

    def _run(self) -> None:
        capability = self._guarded_check()
        self._checked = capability.missing
        if not capability.ready:
            self._become(SourceState.UNAVAILABLE, capability.reason, capability.remedy)
            self.due_ns = None
            return
        retry_s = FIRST_RETRY_S
        while not self._stop.is_set():
            try:
                self._open()
                retry_s = FIRST_RETRY_S
                self._read_until_stopped()
            except SourceError as error:
                self._fail(error.reason, error.remedy)
            except Exception as error:  # noqa: BLE001  one source must not take the rest along
                self._fail(f"{type(error).__name__}: {error}", "please report this error")
            finally:
                self._close()
            self.due_ns = time.monotonic_ns() + round(retry_s * 1e9)
            self._stop.wait(retry_s)
            retry_s = min(2 * retry_s, LONGEST_RETRY_S)

    def _guarded_check(self) -> Capability:
        self._reading_since_ns = time.monotonic_ns()
        try:
            return self._source.check()
        except Exception as error:  # noqa: BLE001  the protocol forbids it; the user is told
            return Capability(ready=False, reason=f"its check failed: {error}")
        finally:
            self._reading_since_ns = None

    def _open(self) -> None:
        self._reading_since_ns = time.monotonic_ns()
        try:
            self._source.open()
            self.description = self._source.describe()
        finally:
            self._reading_since_ns = None
        recovered = self.state is SourceState.FAILED
        self._become(SourceState.READY, "", "")
        if recovered:
            self._tell(EventKind.SOURCE_RECOVERED, Severity.INFO, f"{self.name} answers again")
        for warning in self._source.warnings():
            self._tell(EventKind.OBSERVER_EFFECT, Severity.WARNING, warning)

    def _read_until_stopped(self) -> None:
        due_ns = self.due_ns = time.monotonic_ns() + min(self.period_ns, FIRST_READ_NS)
        while not self._stop.wait(max(0, due_ns - time.monotonic_ns()) / 1e9):
            self._read_once(self._source.read)
            due_ns = self._turn_after(due_ns)
            late_ns = time.monotonic_ns() - due_ns
            if late_ns > 0:
                missed = late_ns // self.period_ns + 1
                self.counts.lost(self._table, missed, "missed_period")
                due_ns += missed * self.period_ns
            self.due_ns = due_ns
        if isinstance(self._source, Finishing):
            self._read_once(self._source.finish)

    def _turn_after(self, turn_ns: int) -> int:
        """Return the turn nearest to a period later.

        Turns lie on whole periods of the monotonic clock, the workers' shortly one after another.
        """
        periods = (turn_ns - self._offset_ns + self.period_ns // 2) // self.period_ns + 1
        return periods * self.period_ns + self._offset_ns

    def _read_once(self, read: Callable[[], Sequence[Batch]]) -> None:
        cpu_ns = time.thread_time_ns()
        started_ns = self._reading_since_ns = time.monotonic_ns()
        try:
            # Rows become Arrow here, so that a row that fits no table fails this source alone.
            batches = list(_as_arrow(read()))
        finally:
            self._reading_since_ns = None
            wall_ns = time.monotonic_ns() - started_ns
            self.counts.read(wall_ns, time.thread_time_ns() - cpu_ns)
        if self.state is SourceState.STALLED:
            self._become(SourceState.READY, "", "")
        for table, batch in batches:
            self._table = self._table or table
            if len(self._batches) < self._most_batches:
                self._batches.append((table, batch))
            else:
                self.counts.lost(table, batch.num_rows, "queue_full")
        self._describe_again()
        warning = self.counts.observer_effect(len(self.description.gpus))
        if warning:
            text = f"{self.name} at a period of {self.period_ns / 1e6:g} ms {warning}"
            self._tell(EventKind.OBSERVER_EFFECT, Severity.INFO, text)

    def _describe_again(self) -> None:
        """Follow what changes rarely: GPUs that come and go, metrics that drop out."""
        if self.counts.description_is_due():
            described = self._source.describe()
            # The same object while it says the same: ``standing`` then compares in no time.
            if described != self.description:
                self.description = described

    def _fail(self, reason: str, remedy: str) -> None:
        self.counts.failed()
        if self.state is not SourceState.FAILED or self.reason != reason:
            self._tell(EventKind.SOURCE_FAILED, Severity.WARNING, f"{self.name}: {reason}")
        self._become(SourceState.FAILED, reason, remedy)

    def _close(self) -> None:
        try:
            self._source.close()
        except Exception as error:  # noqa: BLE001  it is over anyway, but it is told
            text = f"{self.name} did not close cleanly: {error}"
            self._tell(EventKind.SOURCE_FAILED, Severity.INFO, text)

    def _become(self, state: SourceState, reason: str, remedy: str) -> None:
        self.reason, self.remedy = reason, remedy
        self.state = state
        self.has_answered = True

    def _tell(self, kind: EventKind, severity: Severity, message: str) -> None:
        self._notices.append(WorkerNotice(kind, severity, message))


def _as_arrow(batches: Iterable[Batch]) -> Iterator[tuple[str, Any]]:
    """Yield what has rows, as Arrow."""
    for one in batches:
        if one.arrow is not None and one.arrow.num_rows:
            yield one.table, one.arrow
        elif one.rows:
            yield one.table, tables.batch(one.table, one.rows)
