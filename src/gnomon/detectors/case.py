"""What detectors look at: one window of one or several recordings, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gnomon.analysis.activity import ThreadActivity, activities
from gnomon.analysis.copies import Copies, copies
from gnomon.analysis.gpu_idle import GpuIdle, gpu_idle
from gnomon.analysis.holding import holders
from gnomon.analysis.latency import Operation, latency
from gnomon.analysis.overlap import Circumstance, Waits, circumstances
from gnomon.analysis.producing import Chains, Producer, family
from gnomon.analysis.questions import Scope, Span, ThreadKey
from gnomon.analysis.summary import summarize
from gnomon.analysis.summary_types import GpuSummary
from gnomon.analysis.swap import swap_growth
from gnomon.detectors.finding import Evidence, RuledOut, Who
from gnomon.enums import Cause
from gnomon.recording.base import Measurements, Session

THREADS_SQL = """\
SELECT host, pid, tid, any_value(name) AS name, any_value(process_name) AS process_name,
  CASE WHEN bool_and(role IS NOT DISTINCT FROM 'observer') THEN 'observer' END AS role,
  any_value(rank) AS rank
FROM threads GROUP BY host, pid, tid ORDER BY host, pid, tid"""

# Which GPU a thread's calls went to, where they all went to one and the recorder knew it; else the
# one that its process used, by the driver's lists, where it used no other.
GPUS_OF_THREADS_SQL = """\
SELECT host, pid, tid, coalesce(min(gpu_uuid), any_value(only_gpu_uuid)) AS gpu_uuid
FROM host_calls LEFT JOIN (
  SELECT process_id, min(gpu_uuid) AS only_gpu_uuid FROM gpu_processes
  GROUP BY process_id HAVING min(gpu_uuid) = max(gpu_uuid)
) USING (process_id)
WHERE {where}
GROUP BY host, pid, tid HAVING min(gpu_uuid) IS NOT DISTINCT FROM max(gpu_uuid)"""

# Of how many threads the stays off the CPU are looked into, the busiest ones.
MOST_WORKERS = 32
# Of how many such stays the circumstances are kept at hand: about 0.5 GB.
MOST_KEPT_WAITS = 5_000_000


@dataclass(frozen=True, slots=True)
class KnownThread:
    """What `threads` says of a thread."""

    key: ThreadKey
    name: str | None
    process_name: str | None
    role: str | None
    rank: int | None


class Case:
    """Measurements in a span, and what several detectors ask of them, asked once.

    Everything is read lazily: a detector that needs nothing of a table costs nothing.
    """

    def __init__(self, measurements: Measurements, session: Session, span: Span) -> None:
        self.measurements = measurements
        self.session = session
        self.span = span
        self._idle: dict[str, GpuIdle | None] = {}

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
    def activities(self) -> Sequence[ThreadActivity]:
        """Every thread that made CUDA calls or was followed, the ones with most calls first."""
        return activities(self.session, self.scope, self.operations)

    @cached_property
    def dispatch_threads(self) -> Sequence[ThreadActivity]:
        """The threads that feed a GPU, the busiest first."""
        return [one for one in self.activities if one.feeds_gpu]

    @cached_property
    def workers(self) -> Sequence[ThreadActivity]:
        """The threads whose waits matter, the busiest first, ``MOST_WORKERS`` at most.

        On each host those that feed a GPU; where none does, those that make CUDA calls at all;
        where none does, those that were followed.
        """
        best: dict[str | None, int] = {}
        for one in self.activities:
            best[one.thread.host] = max(best.get(one.thread.host, 0), _closeness(one))
        chosen = [one for one in self.activities if _closeness(one) == best[one.thread.host]]
        return chosen[:MOST_WORKERS]

    @cached_property
    def copies(self) -> Sequence[Copies]:
        """Every thread's copies by function, direction and size."""
        return copies(self.session, self.scope, self.operations)

    @cached_property
    def circumstances(self) -> Mapping[ThreadKey, Sequence[Circumstance]]:
        """Why each worker was off the CPU, as far as that was followed."""
        found: dict[ThreadKey, Sequence[Circumstance]] = {}
        for by_calls in (False, True):
            followed = [
                one
                for one in self.workers
                if one.is_followed and waits_of(one).by_calls == by_calls
            ]
            waits = sum(one.calls if by_calls else one.stays for one in followed)
            found |= circumstances(
                self.session,
                {one.thread: one.span for one in followed},
                by_calls=by_calls,
                is_kept=waits <= MOST_KEPT_WAITS,
            )
        return found

    @cached_property
    def lock_holders(self) -> Mapping[ThreadKey, Sequence[ThreadKey]]:
        """Threads that ran while a worker waited for them, for each worker."""
        known = {one.thread: one for one in self.activities}
        return {
            one.thread: holders(
                self.session, waits_of(one), one, self.circumstances.get(one.thread, ()), known
            )
            for one in self.workers
        }

    @cached_property
    def chains(self) -> Chains:
        """The threads whose stays are known, and who started whom."""
        known = {one.thread: one for one in self.activities}
        return Chains(self.session, known, family(self.session))

    @cached_property
    def producers(self) -> Mapping[ThreadKey, Sequence[Producer]]:
        """Threads that made what a worker waited for, for each worker."""
        return {
            one.thread: self.chains.producers(
                waits_of(one),
                one,
                self.circumstances.get(one.thread, ()),
                self.lock_holders[one.thread],
            )
            for one in self.workers
        }

    @cached_property
    def swap_growth(self) -> Sequence[Span]:
        """When the host's swap in use grew, the longest stretches first."""
        return swap_growth(self.session, self.span)

    @cached_property
    def has_stacks(self) -> bool:
        """Whether any stack was recorded."""
        return bool(self.value("SELECT EXISTS (SELECT 1 FROM stacks) AS has_stacks"))

    @cached_property
    def gpus(self) -> Sequence[GpuSummary]:
        """Where each GPU's peak went in the span; none where no counters were recorded."""
        return list(
            summarize(self.measurements, from_ns=self.span.from_ns, to_ns=self.span.to_ns, by=None)
        )

    def gpu_of(self, thread: ThreadKey) -> str | None:
        """Return the uuid of the GPU that a thread feeds: of its calls, or the only one there is.

        None where that is not known, or where no counters were recorded.
        """
        measured = {one.uuid for one in self.gpus}
        if len(measured) == 1:
            return next(iter(measured))
        found = self._gpus_of_threads.get(thread) if measured else None
        return found if found in measured else None

    def idle_of(self, thread: ThreadKey) -> GpuIdle | None:
        """Return when a thread's GPU was idle; None where no counters tell it."""
        gpu = self.gpu_of(thread)
        if gpu is None:
            return None
        if gpu not in self._idle:
            self._idle[gpu] = gpu_idle(self.measurements, gpu, self.span)
        return self._idle[gpu]

    @cached_property
    def _gpus_of_threads(self) -> Mapping[ThreadKey, str]:
        rows = self.session.rows(GPUS_OF_THREADS_SQL.format(where=self.scope.condition))
        return {ThreadKey(row["host"], row["pid"], row["tid"]): row["gpu_uuid"] for row in rows}

    def name_of(self, thread: ThreadKey) -> str | None:
        """Return what a thread is called: its own name, else its process's."""
        known = self.threads.get(thread)
        return None if known is None else known.name or known.process_name

    def rank_of(self, thread: ThreadKey) -> int | None:
        known = self.threads.get(thread)
        return None if known is None else known.rank

    def who(self, thread: ThreadKey) -> Who:
        """Return what a finding says of a thread."""
        return Who(
            host=thread.host,
            pid=thread.pid,
            tid=thread.tid,
            thread=self.name_of(thread),
            rank=self.rank_of(thread),
        )

    def value(self, sql: str) -> Any:
        """Return the one value of a SELECT of one row and one column."""
        (row,) = self.session.rows(sql)
        (value,) = row.values()
        return value

    def evidence(self, text: str, sql: str, unit: str) -> Evidence:
        """Return a sentence with its value, as its query gives it just now.

        ``{value}`` in the sentence is replaced by the value with its unit.
        """
        return proven(text, self.value(sql), sql, unit)

    def ruled_out(self, cause: Cause, text: str, sql: str, unit: str) -> RuledOut:
        """Return a cause that a query excludes, as ``evidence`` does."""
        return self.evidence(text, sql, unit).excludes(cause)


def proven(text: str, value: float | str | None, sql: str, unit: str) -> Evidence:
    """Return evidence whose value was found along with others, by the same SELECT as ``sql``.

    A scan of millions of rows for each sentence would take longer than anybody waits.
    """
    return Evidence(text.replace("{value}", said(value, unit)), value, unit, sql)


def waits_of(worker: ThreadActivity) -> Waits:
    """Return a thread's waits: its stays off the CPU, or what its calls say where it has none."""
    return Waits(worker.thread, worker.span, by_calls=not worker.stays)


def _closeness(one: ThreadActivity) -> int:
    """Return how near a thread is to a GPU: it feeds it, makes CUDA calls, or was only followed."""
    return 2 if one.feeds_gpu else int(bool(one.operations))


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
