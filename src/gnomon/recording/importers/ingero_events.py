"""The events of an Ingero file, one after the other in the order of time, as rows of our tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from gnomon.enums import CallLayer, Selection
from gnomon.recording.importers import ingero_codes as codes
from gnomon.recording.importers.foreign_values import clean, integer
from gnomon.recording.importers.ingero_codes import CALLS, HAPPENINGS, SUMMARIES, Operation
from gnomon.recording.importers.ingero_file import LARGEST_ID
from gnomon.recording.importers.ingero_rows import LARGEST_32, Row, event, recorder_version
from gnomon.recording.importers.ingero_survey import Survey, ThreadSurvey
from gnomon.recording.importers.ingero_threads import Call, Thread

UNKNOWN_THREAD = ThreadSurvey(None, is_followed=False, longest_stay_ns=None)
INTO_CUDA = (CallLayer.CUDA_RUNTIME, CallLayer.CUDA_DRIVER)
# What is held at most, whatever the file holds.
MOST_WAITING = 200_000
MOST_FUNCTIONS = 500_000
RECORDER_NAME = "ingero"


class EventReader:
    """Turns events into rows. Calls come out of ``settle`` once their overlap is known."""

    def __init__(self, found: Survey) -> None:
        self._found = found
        self._threads: dict[tuple[str, int], Thread] = {}
        self._waiting: set[tuple[str, int]] = set()
        self._functions: set[tuple[str, int, str, int | None]] = set()
        self._knows_allocated = recorder_version(found.sessions) >= codes.KNOWS_ALLOCATED_SINCE
        self._block_requests: Counter[tuple[tuple[str, int], str]] = Counter()
        self._block_ns: Counter[tuple[tuple[str, int], str]] = Counter()
        self._now_ns = 0
        self.left_out: dict[str, Counter[str]] = {}
        self.first_biased_ns: int | None = None
        self.cut_short = 0
        self.by_observer: dict[str, tuple[int, int]] = {}

    @property
    def contradictions(self) -> int:
        return sum(thread.contradictions for thread in self._threads.values())

    def take(self, values: tuple[Any, ...]) -> Iterator[tuple[str, Row]]:
        """Yield the rows that an event makes, as (table, row). Events come ordered by time."""
        ts_ns, pid, tid, source, op = values[:5]
        self._now_ns = ts_ns
        host = values[14]
        code = (source, op)
        if code == codes.SCHED_SWITCH:
            yield from self._stay(self._thread(host, tid, values), values)
        elif (operation := CALLS.get(code)) is not None:
            yield from self._call(self._thread(host, tid, values), operation, values)
        elif code == codes.SCHED_WAKEUP:
            self._wakeup(host, values)
        elif code in SUMMARIES:
            yield "call_histograms", self._summary(host, values)
        elif code in HAPPENINGS:
            yield "events", self._happening(host, pid, tid, values)
        else:
            self._lose("host_calls", "unknown_operation")

    def settle(self, *, everything: bool = False) -> Iterator[Row]:
        """Yield the calls that no stay off the CPU can reach into any more."""
        if not everything and self._count_waiting() > MOST_WAITING:
            yield from self._give_up()
        for key in list(self._waiting):
            thread = self._threads[key]
            margin_ns = thread.longest_stay_ns
            yield from thread.complete(1 << 62 if everything else self._now_ns - margin_ns)
            if not thread.pending:
                self._waiting.discard(key)

    def thread_rows(self, names: dict[int, str]) -> Iterator[Row]:
        """Yield a row a thread, and note what the recorder's own ones did."""
        hosts = Counter(tid for _, tid in self._threads)
        for key, thread in self._threads.items():
            # The file keeps names without a host: where two hosts share an id, it is nobody's.
            known = names if hosts[thread.tid] == 1 else {}
            pid = self._survey(key).pid
            name = thread.facts.pop("name", None) or known.get(thread.tid)
            process_name = None if pid is None else known.get(pid)
            is_observer = RECORDER_NAME in (name, process_name)
            if is_observer:
                self._note_observer(key)
            yield {
                "ts_ns": thread.last_ns,
                "duration_ns": thread.last_ns - thread.first_ns,
                "host": thread.host or None,
                "pid": pid,
                "tid": thread.tid,
                "name": name,
                "process_name": process_name,
                "role": "observer" if is_observer else None,
                "calls": thread.calls,
                "stays_off_cpu": thread.stays,
                "off_cpu_selection": self._stays_selection(key),
            } | thread.facts

    def _thread(self, host: str, tid: int, values: tuple[Any, ...]) -> Thread:
        """Return a thread, having noted that it lived at this event."""
        ts_ns, duration_ns, cgroup_id = values[0], values[5], values[10]
        thread = self._known(host, tid, ts_ns)
        begin_ns, end_ns = ts_ns, ts_ns
        if values[3] in codes.STAMPED_AT_ENTRY:
            end_ns += duration_ns
        else:
            begin_ns -= duration_ns
        thread.first_ns = min(thread.first_ns, begin_ns)
        thread.last_ns = max(thread.last_ns, end_ns)
        facts = thread.facts
        if cgroup_id and "cgroup_path" not in facts:
            facts |= self._found.control_groups.get(cgroup_id, {})
        for name, value in zip(("rank", "local_rank", "world_size"), values[11:14], strict=True):
            if value is not None:
                facts[name] = integer(value, 0, LARGEST_32)
        if values[15]:
            facts["name"] = clean(values[15], 64)
        return thread

    def _known(self, host: str, tid: int, ts_ns: int) -> Thread:
        key = (host, tid)
        thread = self._threads.get(key)
        if thread is None:
            longest_ns = self._survey(key).longest_stay_ns or 0
            thread = Thread(host, tid, longest_ns, first_ns=ts_ns, last_ns=ts_ns)
            self._threads[key] = thread
        return thread

    def _survey(self, key: tuple[str, int]) -> ThreadSurvey:
        return self._found.threads.get(key, UNKNOWN_THREAD)

    def _call(
        self, thread: Thread, operation: Operation, values: tuple[Any, ...]
    ) -> Iterator[tuple[str, Row]]:
        ts_ns, pid, tid, source, _, duration_ns, arg0, arg1, return_code, stack_hash = values[:10]
        is_cuda = operation.layer in INTO_CUDA
        begin_ns = ts_ns if source in codes.STAMPED_AT_ENTRY else ts_ns - duration_ns
        end_ns = begin_ns + duration_ns
        arguments = (arg0, arg1)
        is_complete = self._is_complete(ts_ns, operation.is_always_kept)
        row: Row = {
            "ts_ns": end_ns,
            "duration_ns": duration_ns,
            "host": thread.host or None,
            "pid": pid,
            "tid": tid,
            "rank": thread.facts.get("rank"),
            "layer": operation.layer.value,
            "operation": operation.name,
            "bytes": _bytes(operation, arguments),
            "address": self._address(operation, arguments),
            "stack_hash": stack_hash or None,
            "selection": (Selection.ALL if is_complete else Selection.BIASED).value,
            "weight": 1.0 if is_complete else None,
        }
        if operation.has_direction and (direction := codes.DIRECTIONS.get(arg1)) is not None:
            row["direction"] = direction.value
        thread.calls += 1
        if not is_cuda:
            yield from self._outside_cuda(thread, operation, row, begin_ns, end_ns)
            return
        row["return_code"] = integer(return_code, -LARGEST_32, LARGEST_32)
        row["depth"], row["parent_operation"] = thread.nest(begin_ns, end_ns, operation.name)
        row["first_call"] = self._is_first(operation, thread.host, pid, arg0)
        if operation.stream_in is not None:
            # A launch has 0 where the recorder did not look; a synchronisation means it.
            stream = arguments[operation.stream_in]
            row["stream"] = stream or (None if operation.is_launch else 0)
        if self._is_scheduling_known(thread, ts_ns):
            thread.wait(Call(begin_ns, end_ns, row))
            self._waiting.add((thread.host, thread.tid))
        else:
            yield "host_calls", row

    def _outside_cuda(
        self, thread: Thread, operation: Operation, row: Row, begin_ns: int, end_ns: int
    ) -> Iterator[tuple[str, Row]]:
        """A socket call is told of at its end; a block request is not done by its thread."""
        if operation.layer is CallLayer.SOCKET:
            if self._is_scheduling_known(thread, end_ns):
                row |= thread.inside(begin_ns, end_ns)
        else:
            key = ((thread.host, thread.tid), operation.name)
            self._block_requests[key] += 1
            self._block_ns[key] += end_ns - begin_ns
            if operation is CALLS[codes.BLOCK_READ]:
                thread.read(begin_ns, end_ns)
        yield "host_calls", row

    def _stay(self, thread: Thread, values: tuple[Any, ...]) -> Iterator[tuple[str, Row]]:
        ts_ns, _, tid, _, _, duration_ns, _, previous_tid, _, stack_hash = values[:10]
        about, done = thread.back_on_cpu(ts_ns - duration_ns, ts_ns)
        for row in done:
            yield "host_calls", row
        key = (thread.host, thread.tid)
        selection = self._stays_selection(key, ts_ns)
        yield (
            "off_cpu",
            {
                "ts_ns": ts_ns,
                "duration_ns": duration_ns,
                "host": thread.host or None,
                "pid": self._survey(key).pid,
                "tid": tid,
                # Older builds put the thread's own id here: then nobody is known.
                "preemptor_tid": integer(previous_tid, 0, LARGEST_ID)
                if previous_tid != tid
                else None,
                "stack_hash": stack_hash or None,
                "selection": selection,
                "weight": 1.0 if selection == Selection.ALL.value else None,
            }
            | about,
        )

    def _wakeup(self, host: str, values: tuple[Any, ...]) -> None:
        """Keep who woke a thread until it runs; what nobody waits for is counted as left out."""
        ts_ns, pid, tid, woken_tid = values[0], values[1], values[2], values[7]
        survey = self._survey((host, woken_tid))
        self._thread(host, tid, values)
        if survey.longest_stay_ns is None:
            self._lose("off_cpu", "unmatched")
        else:
            self._known(host, woken_tid, ts_ns).wake(ts_ns, pid, tid)

    def _summary(self, host: str, values: tuple[Any, ...]) -> Row:
        ts_ns, pid, tid, source, op, _, count, arg1 = values[:8]
        operation, bytes_in = SUMMARIES[source, op]
        # A switch is counted under the thread that came to run, which stands under "pid".
        who = pid if (source, op) == codes.SCHED_SWITCH_SUMMARY else tid
        return {
            "ts_ns": ts_ns,
            "duration_ns": 0,
            "host": host or None,
            "pid": self._survey((host, who)).pid,
            "tid": who,
            "layer": CallLayer.KERNEL.value,
            "operation": operation,
            "calls": integer(count),
            "calls_stored": 0,
            "bytes": None if bytes_in is None else integer(arg1),
        }

    def _happening(self, host: str, pid: int, tid: int, values: tuple[Any, ...]) -> Row:
        ts_ns, source, op, arg0, arg1 = values[0], values[3], values[4], values[6], values[7]
        thread = self._thread(host, tid, values)
        kind = HAPPENINGS[source, op]
        who = f"process {pid}, thread {tid}" + (f", {host}" if host else "")
        message, new_value = f"{kind.value}: {who}", None
        if (source, op) == codes.FORK and (child := integer(arg1, 0, LARGEST_ID)) is not None:
            message, new_value = f"{who} started thread {child}", str(child)
            self._known(host, child, ts_ns).facts["parent_tid"] = thread.tid
        elif kind.value == "oom_kill" and arg1:
            message, new_value = f"process {arg1} killed for lack of memory", str(arg1)
        elif (source, op) == codes.TCP_RETRANSMIT:
            # Whoever happened to run when it came: the thread is not the one that sent.
            message = f"TCP retransmit from {_ipv4(arg0 >> 32)} to {_ipv4(arg0)}"
        return event(ts_ns, kind, message, new_value=new_value)

    def _is_complete(self, ts_ns: int, always: bool) -> bool:  # noqa: FBT001
        if always or self._found.is_complete_at(ts_ns):
            return True
        if self.first_biased_ns is None:
            self.first_biased_ns = ts_ns
        return False

    def _is_scheduling_known(self, thread: Thread, ts_ns: int) -> bool:
        """Tell whether every stay of a thread off the CPU around a moment would be in the file.

        Threads that are not followed have all their stays only while everything is kept.
        """
        key = (thread.host, thread.tid)
        survey = self._survey(key)
        if survey.longest_stay_ns is None or key in self._found.summarised:
            return False
        return survey.is_followed or self._found.is_complete_at(ts_ns)

    def _stays_selection(self, key: tuple[str, int], ts_ns: int | None = None) -> str | None:
        """Return the selection of a thread's stays at a moment, or on the whole."""
        survey = self._survey(key)
        if survey.longest_stay_ns is None:
            return None
        is_then = ts_ns is not None and self._found.is_complete_at(ts_ns)
        is_all = (survey.is_followed or is_then) and key not in self._found.summarised
        return (Selection.ALL if is_all else Selection.BIASED).value

    def _is_first(self, operation: Operation, host: str, pid: int, arg0: int) -> int | None:
        key = (host, pid, operation.name, arg0 if operation.is_launch else None)
        if key in self._functions:
            return 0
        if len(self._functions) >= MOST_FUNCTIONS:
            return None
        self._functions.add(key)
        return None if host in self._found.pruned_hosts else 1

    def _address(self, operation: Operation, arguments: tuple[int, int]) -> int | None:
        if operation.address_in is None:
            return None
        if operation.name in codes.ALLOCATIONS and not self._knows_allocated:
            return None  # older builds hold where the caller keeps the pointer
        return arguments[operation.address_in] or None

    def _note_observer(self, key: tuple[str, int]) -> None:
        for (owner, operation), count in self._block_requests.items():
            if owner == key:
                many, busy_ns = self.by_observer.get(operation, (0, 0))
                spent_ns = self._block_ns[owner, operation]
                self.by_observer[operation] = (many + count, busy_ns + spent_ns)

    def _count_waiting(self) -> int:
        return sum(self._threads[key].pending for key in self._waiting)

    def _give_up(self) -> Iterator[Row]:
        """Let calls go whose overlap is not known: too many wait for a stay that may not come."""
        for key in list(self._waiting):
            for row in self._threads[key].complete(self._now_ns):
                self.cut_short += 1
                yield row | {"off_cpu_ns": None, "run_queue_ns": None, "io_ns": None}

    def _lose(self, table: str, reason: str) -> None:
        self.left_out.setdefault(reason, Counter())[table] += 1


def _bytes(operation: Operation, arguments: tuple[int, int]) -> int | None:
    if operation.bytes_in is None:
        return None
    value = arguments[operation.bytes_in]
    if value < 0 or (value == 0 and operation.may_lack_bytes):
        return None
    found = value * operation.bytes_per_unit
    return found if found < 1 << 63 else None


def _ipv4(address: int) -> str:
    """Return dotted digits of an address as the kernel holds it, first byte lowest."""
    return ".".join(str(byte) for byte in (address & 0xFFFFFFFF).to_bytes(4, "little"))
