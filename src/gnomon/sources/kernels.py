"""The ``kernels`` source: what ran on the GPUs, told by CUPTI inside of the programs themselves.

A library that the CUDA driver loads into a program (``native/gnomon_inject``) records in windows
and hands records over in shared memory. This module opens the windows, reads the rings and makes
tables of them: `kernels`, `kernel_names`, `copies`, `gpu_synchronizations`, `ranges`,
`kernel_windows`. Programs must have been started for it (``cli/kernel_recorder.py``).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gnomon._errors import SourceError
from gnomon.configuration import KernelsRequest, Settings
from gnomon.enums import EventKind, Severity
from gnomon.proc import identity
from gnomon.sources import _kernels_control as control
from gnomon.sources import _kernels_injection, _pm_library
from gnomon.sources import _kernels_ring as ring
from gnomon.sources import _kernels_rows as rows
from gnomon.sources.base import Batch, Capability, Description, Missing

PERIOD_NS = 250_000_000
NS_PER_S = 1_000_000_000
# A window that is open all the time ends this long after its recorder was heard of last.
SILENCE_NS = 5 * NS_PER_S
# Processes that came late, or had to leave, get into a window that is open all the time.
RENEW_NS = 10 * NS_PER_S
# A window that ends waits 0.2 s for kernels that still run; then there is a flush.
FINISH_TIMEOUT_S = 1.0
POLL_S = 0.01
NO_WINDOW = (
    "no kernels were recorded: the program used no GPU, ended before a window began "
    "(--window always records all of it), or belongs to another user"
)
# Losses in a process's header, and what `losses` calls them.
LOSSES = (("lost", "ring_full"), ("dropped", "overflow"), ("incomplete", "incomplete"))


@dataclass(slots=True)
class _Followed:
    """A process whose ring is read."""

    ring: ring.Ring
    process: rows.Process
    told_names: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    # Of the window that is open: how many operations came since it began.
    since_window: int = 0
    last_ns: int = 0


class KernelsSource:
    """Publishes what the programs under a request's directory have run."""

    name = "kernels"

    def __init__(self, request: KernelsRequest | None, period_ns: int = PERIOD_NS) -> None:
        self.period_ns = period_ns
        self._request = request
        self._control: control.Control | None = None
        self._followed: dict[str, _Followed] = {}
        self._names_told: set[int] = set()
        self._missing: dict[str, Missing] = {}
        self._news: list[str] = []
        self._told: set[str] = set()
        self._has_windows = False
        self._boot_id = identity.boot_id()
        self._turn: int | None = None
        self._renewed_ns = 0

    def check(self) -> Capability:
        """Say whether programs can be started for this. Never raises."""
        try:
            _kernels_injection.find(os.environ)
        except SourceError as error:
            return Capability(ready=False, reason=error.reason, remedy=error.remedy)
        return Capability(ready=True)

    def open(self) -> None:
        """Begin to ask for windows. Raises SourceError where the directory is gone."""
        if self._request is None:
            raise SourceError("no program was started for it", "gnomon kernels -o DIR -- CMD")
        self._control = control.Control(self._request.directory)
        self._turn = None

    def describe(self) -> Description:
        """Return when is recorded, and which processes are not, and why."""
        request = self._request
        host = {}
        if request is not None:
            host = {"kernels_on_s": request.on_s, "kernels_every_s": request.every_s}
        return Description(host=host, missing=tuple(self._missing.values()))

    def warnings(self) -> Sequence[str]:
        """Return what recording all the time means."""
        if self._request is None or not self._request.is_always:
            return ()
        return ("kernels: recorded all the time, which slows launch-bound programs down",)

    def read(self) -> Sequence[Batch]:
        """Return what has come, and open the window where it is time."""
        if self._control is None:
            raise SourceError("kernels were read before the source was opened")
        self._keep_time(self._control)
        return self._read_all()

    def finish(self) -> Sequence[Batch]:
        """End the window, wait for the processes to hand over, and return the rest."""
        if self._control is None:
            return ()
        self._control.end_window()
        batches = list(self._read_all())
        deadline_s = time.monotonic() + FINISH_TIMEOUT_S
        while self._is_recording() and time.monotonic() < deadline_s:
            time.sleep(POLL_S)
            batches.extend(self._read_all())
        # What was written between the last reading and the change of state.
        batches.extend(self._read_all())
        if not self._has_windows and not self._missing:
            self._news.append(NO_WINDOW)
        return [*batches, *self._events()]

    def close(self) -> None:
        """End the window and let go of the rings; processes close theirs by themselves."""
        if self._control is not None:
            self._control.end_window()
            self._control.close()
            self._control = None
        for one in self._followed.values():
            one.ring.close()
        self._followed.clear()

    def _keep_time(self, words: control.Control) -> None:
        """Open windows at multiples of ``every_s`` of Unix time, as PM sampling has its turns."""
        assert self._request is not None
        if self._request.is_always:
            now_ns = time.monotonic_ns()
            words.extend_window(SILENCE_NS)
            if now_ns - self._renewed_ns >= RENEW_NS or not self._renewed_ns:
                self._renewed_ns = now_ns
                words.renew_window()
            return
        every_ns, on_ns = (round(s * NS_PER_S) for s in (self._request.every_s, self._request.on_s))
        turn, into_ns = divmod(time.time_ns(), every_ns)
        if turn != self._turn and into_ns < on_ns + self.period_ns:
            self._turn = turn
            # The window ends by itself, exactly, also where this process is held up or killed.
            words.open_window(on_ns)

    def _is_recording(self) -> bool:
        return any(one.ring.state == ring.State.OPEN for one in self._followed.values())

    def _read_all(self) -> Sequence[Batch]:
        self._find_rings()
        batches: list[Batch] = []
        for name, one in list(self._followed.items()):
            # Asked first: what is in the ring of a process that is gone is all there will be.
            is_gone = self._is_gone(one)
            batches.extend(self._read_ring(one))
            self._note(name, one)
            if is_gone:
                batches.extend(_cut_window(one))
                one.ring.remove()
                del self._followed[name]
        self._note_refusals()
        return [*batches, *self._events()]

    def _find_rings(self) -> None:
        assert self._request is not None
        for path in self._request.directory.glob("*.ring"):
            if path.name in self._followed:
                continue
            try:
                found = ring.Ring(path)
            except (OSError, ValueError):
                continue  # not written whole yet
            ticks = identity.start_ticks(found.pid)
            # In a container of its own a process has another number than here.
            pid = found.pid if ticks in (None, found.start_ticks) else None
            name = identity.process_hash(self._boot_id, found.pid, found.start_ticks)
            self._followed[path.name] = _Followed(found, rows.Process(name, pid))

    def _is_gone(self, one: _Followed) -> bool:
        pid = one.process.pid
        return pid is not None and identity.start_ticks(pid) != one.ring.start_ticks

    def _read_ring(self, one: _Followed) -> Iterator[Batch]:
        records = one.ring.peek()
        process = one.process
        process.devices = one.ring.devices()
        rows.learn_names(process, one.ring.new_names())
        for part in records:
            yield from self._batches(one, part)
        one.ring.commit()
        yield from self._losses(one)

    def _batches(self, one: _Followed, part: ring.Records) -> Iterator[Batch]:
        kinds = part.view(ring.COMMON)["kind"]
        process = one.process
        operations = part[kinds != ring.Kind.WINDOW]
        if len(operations):
            one.since_window += len(operations)
        kernels = part[kinds == ring.Kind.KERNEL]
        if len(kernels):
            one.last_ns = max(one.last_ns, int(kernels.view(ring.KERNEL)["end_ns"].max()))
            yield from self._names(process, kernels)
            yield rows.kernels(kernels, process)
        copies = part[(kinds == ring.Kind.COPY) | (kinds == ring.Kind.FILL)]
        if len(copies):
            one.last_ns = max(one.last_ns, int(copies.view(ring.COPY)["end_ns"].max()))
            yield rows.copies(copies, process)
        waits = part[kinds == ring.Kind.SYNCHRONIZATION]
        if len(waits):
            yield rows.synchronizations(waits, process)
        markers = part[kinds == ring.Kind.MARKER]
        if len(markers):
            yield Batch("ranges", rows.ranges(markers, process))
        windows = part[kinds == ring.Kind.WINDOW]
        if len(windows):
            one.since_window, self._has_windows = 0, True
            yield Batch("kernel_windows", [_window_row(each, process) for each in _each(windows)])

    def _names(self, process: rows.Process, kernels: ring.Records) -> Iterator[Batch]:
        """Names of kernels that have run, each once a recording."""
        numbers = np.unique(kernels.view(ring.KERNEL)["name"])
        fresh = [
            number
            for number in numbers.tolist()
            if number < len(process.hashes) and process.hashes[number] not in self._names_told
        ]
        if fresh:
            self._names_told.update(process.hashes[number] for number in fresh)
            yield Batch("kernel_names", rows.kernel_names(process, fresh, time.time_ns()))

    def _losses(self, one: _Followed) -> Iterator[Batch]:
        """Tell what was lost since the last reading."""
        found: list[dict[str, object]] = []
        counters = [("kernels", *each) for each in LOSSES]
        counters.append(("kernel_names", "names_lost", "ring_full"))
        for table, counter, reason in counters:
            now = one.ring.told(counter)
            if fresh := now - one.lost.get(counter, 0):
                one.lost[counter] = now
                row = {"ts_ns": time.time_ns(), "duration_ns": 0, "source": self.name}
                found.append(row | {"table": table, "rows": fresh, "reason": reason})
        if found:
            yield Batch("losses", found)

    def _note(self, name: str, one: _Followed) -> None:
        """Keep what the process says of itself for `describe`."""
        if one.ring.state == ring.State.STEPPED_BACK:
            reason, remedy = _explain(one.ring)
            self._miss(name, Missing(f"kernels of process {one.ring.pid}", reason, remedy))
        elif one.ring.state != ring.State.WAITING:
            self._missing.pop(name, None)

    def _note_refusals(self) -> None:
        assert self._control is not None
        for number, processes in self._control.refusals().items():
            if processes and number in control.REFUSALS:
                what = f"kernels of {processes} process{'es' if processes > 1 else ''}"
                self._miss(f"refusal {number}", Missing(what, control.REFUSALS[number]))

    def _miss(self, name: str, missing: Missing) -> None:
        """Keep what is missing, and tell it where it is news."""
        self._missing[name] = missing
        remedy = f"; try: {missing.remedy}" if missing.remedy else ""
        message = f"{missing.metric} are not recorded: {missing.reason}{remedy}"
        if message not in self._told:
            self._told.add(message)
            self._news.append(message)

    def _events(self) -> Iterator[Batch]:
        """What the user should know, as events."""
        if self._news:
            row = {"ts_ns": time.time_ns(), "duration_ns": 0, "source": self.name}
            row |= {"kind": str(EventKind.NOT_RECORDED), "severity": str(Severity.WARNING)}
            yield Batch("events", [row | {"message": message} for message in self._news])
            self._news = []


def _each(records: ring.Records) -> Iterator[Any]:
    yield from records.view(ring.WINDOW)


def _window_row(window: Any, process: rows.Process) -> dict[str, object]:
    lost = sum(int(window[counter]) for counter, _ in LOSSES)
    return {
        "ts_ns": int(window["end_ns"]),
        "duration_ns": max(0, int(window["end_ns"]) - int(window["start_ns"])),
        **process.columns(),
        "records": int(window["records"]) - int(window["lost"]),
        "dropped": lost,
        **{key: int(window[key]) for key in ("overhead_ns", "opening_ns", "closing_ns")},
    }


def _cut_window(one: _Followed) -> Iterator[Batch]:
    """The window in which a process was killed: as far as its last operation that is known."""
    start_ns = one.ring.told("opened_ns")
    if one.ring.state != ring.State.OPEN or start_ns <= 0:
        return
    end_ns = max(one.last_ns, start_ns)
    row: dict[str, object] = {"ts_ns": end_ns, "duration_ns": end_ns - start_ns}
    yield Batch("kernel_windows", [row | one.process.columns() | {"records": one.since_window}])
    lost = {"ts_ns": time.time_ns(), "duration_ns": 0, "source": KernelsSource.name}
    yield Batch("losses", [lost | {"table": "kernels", "reason": "killed"}])


def _explain(one: ring.Ring) -> tuple[str, str]:
    """Return why a process does not record, and what would change that."""
    driver_cuda = one.told("driver_cuda")
    install = _pm_library.install(driver_cuda) if driver_cuda else ""
    try:
        reason = ring.Reason(one.told("reason"))
    except ValueError:
        return f"for reason {one.told('reason')} of a newer library", "reinstall gnomon"
    spelled = _pm_library.spell(driver_cuda)
    newer = f"its libcupti ({one.told('cupti_version')}) is newer than the driver's CUDA {spelled}"
    told = {
        ring.Reason.NO_LIBRARY: ("no libcupti was found for it", install),
        ring.Reason.LIBRARY: ("its libcupti lacks functions", install),
        ring.Reason.TOO_NEW: (newer, install),
        ring.Reason.TOO_OLD: ("its libcupti is older than CUDA 12.0", install),
        ring.Reason.TAKEN: (
            "another profiler uses CUPTI in it (torch.profiler, Nsight Systems)",
            "end it; the next window is tried again",
        ),
        ring.Reason.REPLACED: (
            "another profiler began in the middle of a window, and was given way to",
            "it is tried again once that has ended, if that can be seen",
        ),
        ring.Reason.REFUSED: (f"CUPTI refused with CUptiResult {one.told('result')}", ""),
        ring.Reason.MEMORY: ("it has no memory for buffers", ""),
        ring.Reason.SPACE: (
            "shared memory is full",
            "make room in /dev/shm, or give the container more (docker run --shm-size=1g)",
        ),
        ring.Reason.DRIVER: ("the driver does not tell its CUDA version", ""),
    }
    return told.get(reason, ("it left without a reason", ""))


def create(settings: Settings) -> KernelsSource:
    """Make the source; nothing is started."""
    return KernelsSource(settings.kernels)
