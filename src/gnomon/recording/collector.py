"""From sources to sinks: a thread a source, one thread that writes, and a watch on both.

A source that blocks, fails or is slow holds up nobody: each has its own thread
(``_worker.Worker``) and its own bounded queue. The writing thread empties all queues once a
tick and hands the batches to every sink (a recording, a memory window).
It also keeps the books on the observer itself: ``source_health``, ``losses``, ``clock_sync``,
and an event for whatever a user should know.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

from gnomon import __version__, tables
from gnomon._errors import GnomonError
from gnomon.enums import EventKind, Severity, SourceState
from gnomon.recording import _health
from gnomon.recording._worker import Worker, WorkerNotice
from gnomon.recording.base import Meta, Unavailable
from gnomon.sources.base import Source

SECOND_NS = 1_000_000_000
# A reading that takes longer than this, and than three periods, is stalled.
STALL_NS = 2 * SECOND_NS
STALL_PERIODS = 3

# From the turn of the first source until most have read.
READING_NS = 60_000_000

Row = Mapping[str, object]


class Sink(Protocol):
    """Where batches go. None of the three may block for long; a GnomonError is survived."""

    def append(self, table: str, batch: Any) -> None: ...

    def flush(self) -> None: ...

    def update_meta(self, meta: Meta) -> None: ...


# A crash loses the last second at most, and reading and flushing take time of their own. The
# books of ``_health`` are closed once a second.
DEFAULT_TICK_S = 0.5


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """``tick_s``: how long a row waits at most, once it is read, for a flush of the sinks."""

    tick_s: float = DEFAULT_TICK_S
    queue_batches: int = 256
    close_timeout_s: float = 2.0


class Collector:
    """Runs sources into sinks between ``start`` and ``close``; a context manager."""

    def __init__(
        self,
        sources: Sequence[Source],
        sinks: Sequence[Sink],
        settings: CollectorSettings | None = None,
        unavailable: Sequence[Unavailable] = (),
    ) -> None:
        """``unavailable``: what is known to be missing before any source was asked."""
        self._settings = settings or CollectorSettings()
        self._sinks = list(sinks)
        self._workers = [
            Worker(source, self._settings.queue_batches, place)
            for place, source in enumerate(sources)
        ]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gnomon-writer", daemon=True)
        self._known_missing = tuple(unavailable)
        self._meta = Meta(tables.SCHEMA_VERSION, versions={"gnomon": __version__})
        self._books = _health.Books()
        self._health = [worker.health() for worker in self._workers]
        self._standing: list[tuple[object, ...]] = []
        self._stalled: set[str] = set()
        self._broken_sinks: set[int] = set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def start(self) -> None:
        """Start all threads; returns at once, whatever the sources do."""
        for worker in self._workers:
            worker.start()
        self._thread.start()

    def close(self) -> None:
        """Stop, keep what has been read, and return within ``close_timeout_s`` and a tick.

        A source that blocks is left behind: its thread ends with the process.
        """
        for worker in self._workers:
            worker.stop()
        deadline_s = time.monotonic() + self._settings.close_timeout_s
        for worker in self._workers:
            worker.join(max(0.0, deadline_s - time.monotonic()))
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def meta(self) -> Meta:
        """Return what is known of the machine and of what cannot be measured on it."""
        return self._meta

    def health(self) -> list[_health.SourceHealth]:
        """Return how each source was doing at the last tick; ``meta`` knows at least as much."""
        return list(self._health)

    def has_answered(self, name: str) -> bool:
        """Whether a source has been opened, or has said that it cannot be; so has one unknown."""
        return all(worker.has_answered for worker in self._workers if worker.name == name)

    def _run(self) -> None:
        self._write(
            _batches({"events": [_event(EventKind.RECORDING_STARTED, "recording started")]})
        )
        while True:
            # Before the queues are emptied: whoever puts something in from now on is at work now.
            next_ns = self._next_tick_ns(time.monotonic_ns())
            stopping = self._stop.is_set()
            measured = [batch for worker in self._workers for batch in worker.take()]
            events = self._events()
            if stopping:
                events.append(_event(EventKind.RECORDING_STOPPED, "recording stopped"))
            rows = {"events": events}
            if self._books.second_has_passed() or stopping:
                rows |= self._books.rows(self._workers)
            self._publish_meta()
            self._write([*measured, *_batches(rows)])
            if stopping:
                return
            self._stop.wait(max(0, next_ns - time.monotonic_ns()) / 1e9)

    def _next_tick_ns(self, last_ns: int) -> int:
        """Return when to empty the queues again: after the next readings, in a second at most.

        While a reading is under way its turn lies in the past, and a tick takes ``tick_s``:
        nothing that has been read waits for longer.
        """
        due_ns = [worker.due_ns for worker in self._workers if worker.due_ns is not None]
        through_ns = min(due_ns, default=last_ns + SECOND_NS) + READING_NS
        soonest_ns = last_ns + round(self._settings.tick_s * 1e9)
        return max(soonest_ns, min(through_ns, last_ns + SECOND_NS))

    def _events(self) -> list[Row]:
        return [
            _event_of(worker.name, notice)
            for worker in self._workers
            for notice in (*worker.take_notices(), *self._watch(worker))
        ]

    def _watch(self, worker: Worker) -> list[WorkerNotice]:
        """Tell of a source whose reading has begun to take too long, and of its return."""
        limit_ns = max(STALL_NS, STALL_PERIODS * worker.period_ns)
        reading_ns = worker.reading_for_ns()
        name = worker.name
        if reading_ns > limit_ns and name not in self._stalled:
            self._stalled.add(name)
            worker.mark_stalled(f"a reading has been under way for {reading_ns / 1e9:.1f} s")
            text = f"{name} has not answered for {reading_ns / 1e9:.1f} s; the others go on"
            return [WorkerNotice(EventKind.SOURCE_STALLED, Severity.WARNING, text)]
        if name in self._stalled and reading_ns <= limit_ns:
            self._stalled.discard(name)
            text = f"{name} answers again"
            return [WorkerNotice(EventKind.SOURCE_RECOVERED, Severity.INFO, text)]
        return []

    def _publish_meta(self) -> None:
        standing = [worker.standing() for worker in self._workers]
        if standing == self._standing:
            return
        self._standing = standing
        # Taken first and shown last: whoever sees a source's health finds its reason in meta.
        health = [worker.health() for worker in self._workers]
        meta = replace(
            self._meta,
            host={k: v for worker in self._workers for k, v in worker.description.host.items()},
            gpus=_merge_gpus(self._workers),
            sources={worker.name: worker.facts() for worker in self._workers},
            unavailable=(*self._known_missing, *_unavailable(self._workers)),
        )
        self._meta = meta
        for index, sink in enumerate(self._sinks):
            with self._guarded(index):
                sink.update_meta(meta)
        self._health = health

    def _write(self, batches: Sequence[tuple[str, Any]]) -> None:
        for index, sink in enumerate(self._sinks):
            with self._guarded(index):
                for table, batch in batches:
                    sink.append(table, batch)
                sink.flush()
                self._broken_sinks.discard(index)

    @contextlib.contextmanager
    def _guarded(self, index: int) -> Iterator[None]:
        """Let one sink fail without the others; whatever it raises, writing must go on."""
        try:
            yield
        except GnomonError as error:
            self._tell_broken(index, str(error))
        except Exception as error:  # noqa: BLE001  the writing thread is everybody's
            text = f"{type(self._sinks[index]).__name__}: {type(error).__name__}: {error}"
            self._tell_broken(index, f"{text}; please report this error")

    def _tell_broken(self, index: int, reason: str) -> None:
        if index in self._broken_sinks:
            return
        self._broken_sinks.add(index)
        event = _event(EventKind.NOT_RECORDED, reason, Severity.CRITICAL)
        for other, sink in enumerate(self._sinks):
            if other not in self._broken_sinks:
                with self._guarded(other):
                    sink.append("events", tables.batch("events", [event]))


def _batches(rows: Mapping[str, Sequence[Row]]) -> list[tuple[str, Any]]:
    return [(table, tables.batch(table, some)) for table, some in rows.items() if some]


def _event(kind: EventKind, message: str, severity: Severity = Severity.INFO) -> Row:
    return _event_of("collector", WorkerNotice(kind, severity, message))


def _event_of(source: str, notice: WorkerNotice) -> Row:
    return {
        "ts_ns": notice.ts_ns,
        "duration_ns": 0,
        "kind": notice.kind.value,
        "severity": notice.severity.value,
        "source": source,
        "message": notice.message,
    }


def _merge_gpus(workers: Sequence[Worker]) -> dict[str, dict[str, Any]]:
    gpus: dict[str, dict[str, Any]] = {}
    for worker in workers:
        for uuid, facts in worker.description.gpus.items():
            gpus.setdefault(uuid, {}).update(facts)
    return gpus


def _unavailable(workers: Sequence[Worker]) -> list[Unavailable]:
    return [
        Unavailable(
            metric=missing.metric,
            reason=missing.reason,
            remedy=missing.remedy,
            source=worker.name,
            gpu_uuid=missing.gpu_uuid,
        )
        for worker in workers
        for missing in worker.missing()
    ] + [
        Unavailable(worker.name, worker.reason, worker.remedy, worker.name)
        for worker in workers
        if worker.state is not SourceState.READY and worker.reason
    ]
