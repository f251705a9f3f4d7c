"""Who was at work while a thread waited for what they make: its input, by the chain of wakers.

A waiting thread is woken by the one that hands it what it waited for, and that one may have waited
for another one itself: a thread that pins batches for the process that reads them. Followed from
waker to waker, as far as ``LONGEST_CHAIN``, they are at work for as much of the wait as they were
not off the CPU of their own will: on the CPU, waiting for one, or waiting for a disk. A link counts
where it is a thread of the waiting process, or of a process that this one started (directly or by
another one); of others it is said that they may be: nobody recorded who started them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.overlap import Circumstance, Reason, Waits
from gnomon.analysis.questions import ThreadKey
from gnomon.recording.base import Session

LONGEST_CHAIN = 3
# Of the waits: less, and whoever ended them did not keep the other one waiting.
WORKED_SHARE = 0.5
# Of the waiting thread's active time: who ended less of its waits is not worth a question.
SMALLEST_SHARE = 0.01
# Of the wait of a link: for whom it waited less is not followed, and so many are at most.
SMALLEST_LINK = 0.05
MOST_LINKS = 16
# Each step along the chain has it once.
IDLE_MARK = "idle_from_ns,"
# A lock is held and a sleep is over: what ends these waits makes nothing.
MADE_FOR = (Reason.LOADER, Reason.REQUEST, Reason.UNKNOWN)

PARENTS_SQL = """\
SELECT DISTINCT host, pid, parent_tid FROM threads WHERE tid = pid AND parent_tid IS NOT NULL"""
PROCESSES_SQL = "SELECT DISTINCT host, pid, tid FROM threads"

# When a thread was off the CPU of its own will in some waits, and who ended that. A stay without
# classes was, as far as is known. Of a stay the wait for a disk comes first, that for a CPU last.
IDLE_SQL = """\
SELECT waker_pid, waker_tid, greatest(idle_from_ns, from_ns) AS from_ns,
  least(idle_to_ns, until_ns) AS until_ns
FROM (
  SELECT waker_pid, waker_tid, ts_ns - duration_ns + coalesce(io_ns, 0) AS idle_from_ns,
    ts_ns - coalesce(run_queue_ns, 0) AS idle_to_ns
  FROM off_cpu WHERE {link}
) JOIN ({waits}) ON idle_from_ns < until_ns AND idle_to_ns > from_ns"""
BY_WAKER_SQL = """\
SELECT waker_pid AS pid, waker_tid AS tid, sum(until_ns - from_ns)::BIGINT AS ns
FROM ({idle}) GROUP BY ALL ORDER BY ns DESC, pid, tid"""
SUM_SQL = "SELECT coalesce(sum(until_ns - from_ns), 0)::BIGINT AS ns FROM ({waits})"
WAITS_SQL = """\
SELECT from_ns, ts_ns - coalesce(run_queue_ns, 0) AS until_ns FROM ({waits}) WHERE {where}"""


class Relation(StrEnum):
    """What a thread is to the process that waits for it."""

    THREAD = "thread"
    CHILD = "child"
    UNKNOWN = "unknown"
    STRANGER = "stranger"


@dataclass(frozen=True, slots=True)
class Family:
    """Who started whom: (host, pid) -> the pid of its parent; and of whom that is known."""

    parents: Mapping[tuple[str | None, int | None], int]

    def relation(self, of: ThreadKey, to: ThreadKey) -> Relation:
        """Return what one thread is to another one's process."""
        if of.host != to.host:
            return Relation.STRANGER
        if of.pid == to.pid:
            return Relation.THREAD
        pid, seen = of.pid, set[int | None]()
        while pid not in seen:
            seen.add(pid)
            parent = self.parents.get((of.host, pid))
            if parent == to.pid:
                return Relation.CHILD
            if parent is None:
                return Relation.UNKNOWN if pid == of.pid else Relation.STRANGER
            pid = parent
        return Relation.STRANGER


@dataclass(frozen=True, slots=True)
class Link:
    """A thread of a chain: it was at work for ``worked_ns`` of some waits, as ``sql`` gives it."""

    key: ThreadKey
    worked_ns: int
    sql: str


@dataclass(frozen=True, slots=True)
class Producer:
    """A thread that ended waits in which it, or who it waited for itself, was at work.

    ``relation``: to the waiting process, of whoever worked most. ``reasons``: of these waits.
    """

    key: ThreadKey
    relation: Relation
    reasons: Sequence[Reason]

    @property
    def condition(self) -> str:
        """As it stands in a WHERE of waits: those that this thread ended."""
        reasons = ", ".join(f"'{reason.value}'" for reason in self.reasons)
        return (
            f"reason IN ({reasons}) AND waker_pid = {self.key.pid or 0} "
            f"AND waker_tid = {self.key.tid or 0}"
        )

    def ended(self, one: Circumstance) -> bool:
        """Tell of a circumstance what ``condition`` tells of a stay."""
        waker = (self.key.pid or 0, self.key.tid or 0)
        return one.reason in self.reasons and (one.waker_pid, one.waker_tid) == waker


def family(session: Session) -> Family:
    """Return who started whom, as far as that was recorded."""
    of_thread = {(row["host"], row["tid"]): row["pid"] for row in session.rows(PROCESSES_SQL)}
    found: dict[tuple[str | None, int | None], int] = {}
    for row in session.rows(PARENTS_SQL):
        # A thread that nobody followed may be the first of its process.
        parent = of_thread.get((row["host"], row["parent_tid"]), row["parent_tid"])
        found[row["host"], row["pid"]] = parent
    return Family(found)


@dataclass(frozen=True, slots=True)
class Chains:
    """What is asked of wakers: the threads whose stays are known, and who started whom."""

    session: Session
    activities: Mapping[ThreadKey, ThreadActivity]
    family: Family

    def producers(
        self,
        waits: Waits,
        worker: ThreadActivity,
        circumstances: Sequence[Circumstance],
        holders: Collection[ThreadKey],
    ) -> Sequence[Producer]:
        """Return who made what a worker waited for, by the chain of wakers.

        ``holders``: threads that may have held a lock. Of the waits that these ended, those count
        whose stack is in a data loader.
        """
        waited_ns: dict[ThreadKey, int] = {}
        for one in circumstances:
            if one.reason in MADE_FOR and one.waker_tid:
                key = ThreadKey(worker.thread.host, one.waker_pid, one.waker_tid)
                waited_ns[key] = waited_ns.get(key, 0) + one.waiting_ns
        found = []
        for key, ns in waited_ns.items():
            if key == worker.thread or ns < SMALLEST_SHARE * worker.active_ns:
                continue
            reasons = (Reason.LOADER,) if key in holders else MADE_FOR
            maker = Producer(key, self.family.relation(key, worker.thread), reasons)
            links = self.links(waits, maker, maker.condition)
            worked_ns = sum(one.worked_ns for one in links)
            if links and worked_ns >= WORKED_SHARE * ns:
                found.append(replace(maker, relation=self._of_most(links, worker.thread)))
        return found

    def links(self, waits: Waits, maker: Producer, where: str) -> Sequence[Link]:
        """Return who was at work in waits that a producer ended, who worked most first."""
        found: dict[ThreadKey, Link] = {}
        asked = WAITS_SQL.format(waits=waits.sql, where=where)
        self._follow(waits.thread, maker.key, asked, found)
        return sorted(found.values(), key=lambda one: -one.worked_ns)

    def _follow(
        self, waiting: ThreadKey, key: ThreadKey, waits: str, found: dict[ThreadKey, Link]
    ) -> None:
        """Add a link that was at work in some waits, and those that it waited for meanwhile."""
        known = self.activities.get(key)
        is_related = self.family.relation(key, waiting) is not Relation.STRANGER
        # Who was not followed may have slept.
        if known is None or not known.stays or known.is_off_cpu_biased:
            return
        if not is_related or key in found or key == waiting:
            return
        idle = IDLE_SQL.format(link=key.condition, waits=waits)
        total_sql, idle_sql = SUM_SQL.format(waits=waits), SUM_SQL.format(waits=idle)
        (total,) = self.session.rows(total_sql)
        by_waker = self.session.rows(BY_WAKER_SQL.format(idle=idle))
        worked_ns = total["ns"] - sum(row["ns"] for row in by_waker)
        # Who launches takes turns with the waiting thread, which is no input.
        made_ns = 0 if known.feeds_gpu else worked_ns
        found[key] = Link(key, made_ns, f"SELECT ({total_sql}) - ({idle_sql}) AS ns")
        if len(found) > MOST_LINKS or waits.count(IDLE_MARK) >= LONGEST_CHAIN - 1:
            return
        for row in by_waker:
            if row["tid"] and row["ns"] >= SMALLEST_LINK * total["ns"]:
                of_waker = (
                    f"SELECT from_ns, until_ns FROM ({idle}) WHERE waker_pid = {row['pid']} "
                    f"AND waker_tid = {row['tid']}"
                )
                self._follow(waiting, ThreadKey(key.host, row["pid"], row["tid"]), of_waker, found)

    def _of_most(self, links: Sequence[Link], waiting: ThreadKey) -> Relation:
        return self.family.relation(links[0].key, waiting)
