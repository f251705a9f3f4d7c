"""A trace from beginning to end: programs loaded, processes probed, records and totals told.

One thread empties the ring (`RingThread`); all else happens in `Session.turn`, which its owner
calls again and again. What comes out are batches of Arrow, one table each, for ``emit``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from gnomon._errors import TracingError
from gnomon.enums import EventKind, Severity
from gnomon.tracing import layouts
from gnomon.tracing.attachment import Attachment
from gnomon.tracing.beforehand import likely_libraries
from gnomon.tracing.btf import Btf, read_kernel_btf
from gnomon.tracing.budget import FLOOR_NS, PAIR_NS, LaunchBudget
from gnomon.tracing.calibration import CallCost, measure_call_cost
from gnomon.tracing.call_totals import CallTotals, Counted, Spans, joined
from gnomon.tracing.chances import Chances
from gnomon.tracing.clock import Clock
from gnomon.tracing.launch_windows import LaunchWindows, Mode
from gnomon.tracing.limits import Limits
from gnomon.tracing.loss_book import SOURCE, LossBook
from gnomon.tracing.namers import kernel_namer, native_namer
from gnomon.tracing.notices import Notice
from gnomon.tracing.plan import Plan
from gnomon.tracing.process_table import ProcessTable
from gnomon.tracing.processes import Wanted
from gnomon.tracing.programs import Programs
from gnomon.tracing.record_teller import BEGINNINGS, Emit, RecordTeller
from gnomon.tracing.ring_thread import RingThread
from gnomon.tracing.route import Route, probe_route
from gnomon.tracing.sampler import Sampler
from gnomon.tracing.slots import Slots
from gnomon.tracing.stack_book import StackBook

Records = npt.NDArray[np.void]
Flags = npt.NDArray[np.bool_]
Row = Mapping[str, object]

SECOND_NS = 1_000_000_000
FLUSH_NS = 250_000_000
# Limits are set for the first time after this: until then everything is kept.
FIRST_TICK_NS = 250_000_000
NEVER_NS = (1 << 63) - 1
# Calls that a window's edge cuts are not lost: they lie outside of it.
AT_EDGES = ("returns_unmatched", "calls_cut")


class Session:
    """Use in a ``with`` statement: entering loads and attaches, leaving tells the rest.

    Raises TracingError where the kernel refuses what nothing can be traced without.
    """

    def __init__(self, plan: Plan, emit: Emit) -> None:
        self._plan = plan
        self._clock = Clock()
        self._chances = Chances()
        self._processes = ProcessTable(self._clock)
        self._observers = (os.getpid(), *plan.observers)
        self._said: dict[tuple[str, str], str] = {}
        with ExitStack() as owned:
            self._load(owned, emit)
            self._begin()
            self._owned = owned.pop_all()

    def _load(self, owned: ExitStack, emit: Emit) -> None:
        route, kernel = probe_route(), read_kernel_btf()
        self._route, self._cost = route, _call_cost(route, kernel)
        follow = self._plan.follow_children
        self.programs = owned.enter_context(
            Programs(kernel, follow_children=follow, uprobe_multi=route.is_multi)
        )
        maps = self.programs.maps
        has_scheduler = "scheduler" in self.programs.objects
        self._slots = Slots(maps)
        self._losses = LossBook(maps["losses"].view(layouts.LOSSES), self._clock)
        settings = maps["settings"].view(layouts.SETTINGS)
        self._limits = Limits(settings, self._chances, self._plan.kept_a_second)
        self._stacks = StackBook(maps, kernel_namer(), native_namer())
        self._teller = RecordTeller(
            emit,
            self._clock,
            self._processes,
            self._chances,
            self._stacks,
            has_scheduler=has_scheduler,
        )
        self._emit = emit
        self._totals = CallTotals(self._teller.facts, self._clock, self._processes, has_scheduler)
        self._ring = RingThread(maps["records"])
        owned.callback(self._ring.close)
        self.programs.attach_tracepoints()
        self._attachment = Attachment(
            self.programs.objects, maps, _wanted(self._plan), self._observers, route
        )
        owned.callback(self._attachment.close)
        if self._plan.command:
            self._attachment.prepare(likely_libraries(self._plan.command, os.environ))
        self._sampler = Sampler(self._slots, exclude=self._observers, settings=settings)
        budget = LaunchBudget(pair_ns=self._cost.pair_ns, share=self._plan.launch_share)
        self._windows = LaunchWindows(self._attachment.set_launches, budget)

    def _begin(self) -> None:
        now_ns = time.monotonic_ns()
        self._rescan_ns = self._flush_ns = now_ns
        self._tick_ns = now_ns + FIRST_TICK_NS
        # From when on what was counted since is told: of launches, and of all else.
        self._others_from_ns = self._launches_from_ns = now_ns
        self._is_first, self._is_finished = True, False
        # Launches outside of windows are not told.
        self._closed_from_ns: int | None = None

    def __enter__(self) -> Self:
        self._rescan(time.monotonic_ns())
        # Attaching takes its time, and what is not probed yet is not counted.
        self._others_from_ns = self._launches_from_ns = time.monotonic_ns()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self.finish()
        finally:
            self._owned.close()

    def description(self) -> dict[str, Any]:
        """What this kernel does not let us see, and what a call costs and gains, as JSON."""
        lacking = [one._asdict() for one in self.programs.lacking]
        return {"lacking": lacking, **self._cost._asdict()}

    def count_loss(self, table: str, reason: str, rows: int) -> None:
        """Note rows that were made and did not get through."""
        self._losses.count(table, reason, rows)

    def turn(self) -> float:
        """Do what is due; seconds until something is due again."""
        now_ns = time.monotonic_ns()
        if now_ns >= self._rescan_ns:
            self._rescan(now_ns)
        if now_ns >= self._sampler.due_ns():
            self._sample(now_ns)
        windows = self._windows
        if windows.due_ns is not None and now_ns >= windows.due_ns:
            self._turn_window()
        elif now_ns >= self._tick_ns and windows.mode is not Mode.OPEN:
            self._tick_ns = now_ns + SECOND_NS
            self._tick()
        elif now_ns >= self._flush_ns and windows.mode is not Mode.OPEN:
            self._flush(self._ring.take())
        due_ns = [self._rescan_ns, self._flush_ns, self._tick_ns, self._sampler.due_ns()]
        if windows.due_ns is not None:
            due_ns.append(windows.due_ns)
        left_ns: int = min(due_ns) - time.monotonic_ns()
        return max(0.0, left_ns / SECOND_NS)

    def _rescan(self, now_ns: int) -> None:
        self._rescan_ns = now_ns + round(self._attachment.rescan() * SECOND_NS)

    def _sample(self, now_ns: int) -> None:
        """Read Python stacks of threads that make calls."""
        samples = self._sampler.sample(now_ns)
        if not samples:
            return
        for one in samples:
            if one.call_start_ns is not None:
                self._teller.note_sample(one.tid, one.call_start_ns, one.stack_hash)
        ts_ns = self._clock.unix(now_ns)
        hashes = (one.stack_hash for one in samples)
        self._teller.rows("stacks", self._stacks.python(hashes, self._sampler.stack, ts_ns))
        names = self._teller.facts.names
        self._teller.rows(
            "stack_samples",
            (
                {
                    "ts_ns": self._clock.unix(one.at_ns),
                    "duration_ns": 0,
                    "process_id": self._processes.id_of(one.pid),
                    "pid": one.pid,
                    "tid": one.tid,
                    "operation": None if one.operation is None else names[one.operation],
                    "call_started_ns": None
                    if one.call_start_ns is None
                    else self._clock.unix(one.call_start_ns),
                    "stack_hash": one.stack_hash,
                }
                for one in samples
            ),
        )

    def _flush(self, records: Records) -> None:
        """Tell all records that have come."""
        self._flush_ns = time.monotonic_ns() + FLUSH_NS
        if self._losses.has_lost_calls():
            self._chances.lost_calls(self._flush_ns - 2 * FLUSH_NS)
        if not len(records):
            return
        if _tells_beginning(records):
            # Whoever has just begun will open its libraries soon.
            self._rescan_ns = 0
        self._totals.count_stored(self._teller.tell(records, self._is_told))

    def _is_told(self, calls: Records) -> Flags:
        """Whether records of calls are told: of launches in windows only those inside of them."""
        if self._closed_from_ns is None:
            return np.ones(len(calls), np.bool_)
        is_launch = self._teller.facts.is_launch[calls["operation"].astype(np.intp)]
        end_ns = (calls["start_ns"] + calls["duration_ns"]).astype(np.int64)
        is_before = end_ns < self._closed_from_ns
        is_inside = (end_ns >= self._windows.began_ns) & (self._windows.mode is Mode.OPEN)
        is_told: Flags = ~is_launch | is_before | is_inside
        return is_told

    def _turn_window(self) -> None:
        """Open or close the window of launches that is due."""
        if self._windows.mode is Mode.CLOSED:
            self._windows.open()
            # What was counted while probes were being attached or detached is dropped.
            self._windows.begin(NEVER_NS)
            self._count(tells_launches=False)
            self._windows.begin(self._others_from_ns)
            return
        counted = self._count(tells_launches=True, began_ns=self._windows.began_ns)
        covered_ns = self._others_from_ns - self._windows.began_ns
        self._windows.close(self._launch_rate(counted, covered_ns))
        if self._windows.mode is Mode.ALWAYS:
            self._closed_from_ns = None
            self._losses.forget(*AT_EDGES)
            self._chances.set_window(self._teller.facts.is_launch, 1.0)

    def _tick(self) -> None:
        """Once a second: clocks, totals, limits, losses, notices."""
        self._clock.set()
        now_ns = time.monotonic_ns()
        elapsed_ns = now_ns - self._others_from_ns
        is_always = self._windows.mode is Mode.ALWAYS
        counted = self._count(tells_launches=is_always)
        if is_always and self._windows.look(self._launch_rate(counted, elapsed_ns)):
            self._closed_from_ns = now_ns
        self._processes.forget_ended()
        if self._is_first:
            self._is_first = False
            rows = self._processes.observer_rows(self._observers, now_ns)
            self._teller.rows("threads", rows)
        self._tell_losses(now_ns)
        self._teller.rows("events", self._news(now_ns))

    def _count(self, *, tells_launches: bool, began_ns: int | None = None) -> Counted:
        """Tell what cells have counted until now; return it.

        ``began_ns``: when the window of launches that ends now began, None outside of windows.
        """
        # First the records: then all that they tell of has been counted as well.
        records = self._ring.take()
        now_ns = time.monotonic_ns()
        reclaimed, taken = self._slots.reclaim(), self._slots.read()
        if began_ns is not None:
            stands_for = (now_ns - self._launches_from_ns) / (now_ns - began_ns)
            self._chances.set_window(self._teller.facts.is_launch, stands_for)
        # To tell them may take as long as a window lasts: not before the cells are read.
        self._flush(records)
        spans = self._spans(now_ns, tells_launches=tells_launches, began_ns=began_ns)
        gone = self._totals.difference(reclaimed, are_gone=True)
        counted = joined(gone, self._totals.difference(taken, are_gone=False))
        batch = self._totals.batch(counted, spans)
        if batch.num_rows:
            self._emit("call_histograms", batch)
        seconds = np.where(spans.is_told, (now_ns - spans.from_ns) / SECOND_NS, 0.0)
        self._limits.update_calls(counted.operation, counted.histogram, seconds)
        elapsed_s = (now_ns - self._others_from_ns) / SECOND_NS
        self._limits.update_failed(int(counted.sums["failed"].sum()), elapsed_s)
        self._limits.update_threads(taken, elapsed_s)
        self._others_from_ns = now_ns
        if tells_launches:
            self._launches_from_ns = now_ns
        return counted

    def _spans(self, to_ns: int, *, tells_launches: bool, began_ns: int | None) -> Spans:
        is_launch = self._teller.facts.is_launch
        from_ns = np.where(is_launch, self._launches_from_ns, self._others_from_ns)
        covered = to_ns - from_ns
        if began_ns is not None:
            covered[is_launch] = to_ns - began_ns
        return Spans(to_ns, from_ns, covered, ~is_launch | tells_launches)

    def _launch_rate(self, counted: Counted, elapsed_ns: int) -> float:
        """Launches a second of the thread that makes most of them."""
        is_launch = self._teller.facts.is_launch[counted.operation]
        tids, places = np.unique(counted.tid[is_launch], return_inverse=True)
        if not len(tids):
            return 0.0
        calls = np.bincount(places, counted.sums["calls"][is_launch])
        return float(calls.max()) * SECOND_NS / max(elapsed_ns, 1)

    def _tell_losses(self, now_ns: int) -> None:
        if self._closed_from_ns is not None:
            self._losses.forget(*AT_EDGES)
        self._losses.count("stacks", "no_stack", self._stacks.take_lost())
        self._teller.rows("losses", self._losses.rows(now_ns))

    def _news(self, now_ns: int) -> Iterator[Row]:
        """Rows of events for notices that are new, or say another thing than before."""
        for notice in (*self._attachment.notices(), *self._unread_stacks()):
            key = (notice.kind, notice.subject)
            if self._said.get(key) == notice.message:
                continue
            self._said[key] = notice.message
            text = f"{notice.message}; {notice.remedy}" if notice.remedy else notice.message
            yield {
                "ts_ns": self._clock.unix(now_ns),
                "duration_ns": 0,
                "kind": EventKind.TRACING_LIMITED.value,
                "severity": notice.severity.value,
                "source": SOURCE,
                # Names of files and processes are not ours: they must not move a cursor.
                "message": "".join(sign if sign.isprintable() else "?" for sign in text),
            }

    def _unread_stacks(self) -> Iterator[Notice]:
        for pid, error in self._sampler.unreadable().items():
            text = f"Python stacks of process {pid} cannot be read: {error.reason}"
            yield Notice(Severity.INFO, text, "unread_stacks", str(pid), error.remedy)

    def finish(self) -> None:
        """Take the probes away and tell what has come until then; a second time does nothing.

        Where they can only be taken away one by one, which takes seconds, all is told before.
        """
        if self._is_finished:
            return
        self._is_finished = True
        if self._windows.mode is Mode.OPEN:
            self._turn_window()
        is_always = self._windows.mode is Mode.ALWAYS
        if self._route.is_multi:
            self._attachment.close()
        self._count(tells_launches=is_always)
        now_ns = time.monotonic_ns()
        self._tell_losses(now_ns)
        self._teller.rows("events", self._news(now_ns))
        all_kept = self._chances.stays_were_all_kept()
        self._teller.rows("threads", self._processes.last_rows(now_ns, all_stays_kept=all_kept))


def _call_cost(route: Route, kernel: Btf) -> CallCost:
    """What tracing a call costs here; what it costs elsewhere, where that cannot be measured."""
    try:
        return measure_call_cost(uprobe_multi=route.is_multi, kernel=kernel)
    except TracingError:
        return CallCost(PAIR_NS, FLOOR_NS)


def _tells_beginning(records: Records) -> bool:
    """Whether a process has begun, or executes another program."""
    life = records[np.isin(records["record"]["kind"], BEGINNINGS)].view(layouts.THREAD_RECORD)
    is_exec = life["kind"] == layouts.RecordKind.PROCESS_EXECUTED
    return bool((is_exec | (life["parent_pid"] != life["pid"])).any())


def _wanted(plan: Plan) -> Wanted:
    return Wanted(
        pids=plan.pids,
        names=plan.names,
        every_gpu_process=plan.every_gpu_process,
        follow_children=plan.follow_children,
        is_launched=bool(plan.command),
    )
