"""Probes follow the processes that are traced: as they come, load libraries, execute and end.

    attachment = Attachment(objects, maps, Wanted(names=("python3",)), observers={os.getpid()})
    while True:
        time.sleep(attachment.rescan())

A process is marked before anything of it is probed, so that what is counted is counted from its
first call on. Of libraries that several processes map, each file is probed once for all of them
where nobody else maps it, and else in each target alone, so that others pay nothing.

To attach takes some 10 ms and to detach some 70 ms for a library, during which the caller waits
and the target does not. One thread at a time may use an attachment.
"""

import os
import time
from collections import abc
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gnomon._errors import RefusedError, TracingError
from gnomon.enums import CallLayer, Severity
from gnomon.tracing import bpf_syscall, layouts, libraries
from gnomon.tracing.late_libraries import LateLibraries
from gnomon.tracing.libraries import Group, Key, Library
from gnomon.tracing.loader import LoadedObject
from gnomon.tracing.mappings import Mapping
from gnomon.tracing.maps import Map
from gnomon.tracing.notices import Notice, Notices
from gnomon.tracing.probes import EVERY_PROCESS, Probe, Probes
from gnomon.tracing.processes import (
    OLD_EVERY_S,
    Finder,
    Process,
    Target,
    Wanted,
    is_under_seccomp,
    read_process,
    target_of,
)
from gnomon.tracing.route import Route, probe_route
from gnomon.tracing.seccomp import may_end_processes
from gnomon.tracing.shelf import Shelf

# Something came up: its libraries follow within this time, and are looked for as often as this.
QUICK_FOR_S, QUICK_EVERY_S = 1.0, 0.05
CALM_EVERY_S = 1.0
# The size of a process may be the same by chance after a library took another thing's place.
SURE_EVERY_S = 10.0
MARK = (1).to_bytes(4, "little")
DRIVER_LAUNCHES = Group(CallLayer.CUDA_DRIVER, is_launch=True)
# Outer calls are probed first: a call whose inner one alone is seen would have that one's name.
OUTERMOST_FIRST = (CallLayer.NCCL, CallLayer.CUDA_RUNTIME, CallLayer.CUDA_DRIVER)


def uses_uprobe_multi() -> bool:
    """Whether objects are to be loaded with ``uprobe_multi``: the kernel knows it."""
    return probe_route().is_multi


@dataclass
class _Tracked:
    """A target, and what it was seen to map."""

    process: Process
    target: Target
    is_late: bool
    is_refused: bool = False
    keys: dict[Key, None] = field(default_factory=dict)
    looked: tuple[int, int] = (-1, -1)
    looked_s: float = 0.0


class Attachment:
    """``objects`` by family: "process" with its tracepoints attached, "calls", perhaps "nccl".

    ``observers`` are never traced: our own processes. ``route`` is what the objects were loaded
    for. Nothing is attached before the first `rescan` or `prepare`.
    """

    def __init__(
        self,
        objects: abc.Mapping[str, LoadedObject],
        maps: abc.Mapping[str, Map],
        wanted: Wanted,
        observers: Collection[int],
        route: Route | None = None,
    ) -> None:
        self._route = probe_route() if route is None else route
        self._process_object = objects["process"]
        self._states = maps["states"]
        self._settings = maps["settings"].view(layouts.SETTINGS)
        self._wanted = wanted
        self._finder = Finder(wanted, observers)
        self._notices = Notices()
        self._shelf = Shelf(self._notices, few=not self._route.is_multi)
        self._probes = Probes(objects, self._route, self._tell_refused)
        self._tracked: dict[tuple[int, int], _Tracked] = {}
        self._programs: dict[Key, bool] = {}
        self._is_shared: dict[Key, bool] = {}
        self._kept: set[Key] = set()
        self._launches = True
        self._spares_filtered = not wanted.despite_seccomp and may_end_processes()
        self._take_up_again = False
        self._scanned_s: float | None = None
        self._new_s = -QUICK_FOR_S
        self._late = LateLibraries(self._notices)
        self._tell_of_start()

    def rescan(self) -> float:
        """Follow what changed; the seconds after which to be called again."""
        now_s = time.monotonic()
        processes = self._finder.find()
        is_new = self._update(processes)
        if is_new or self._take_up_again:
            self._process_object.iterate("take_up")
        # A thread that was just being started while they were listed may have been missed.
        self._take_up_again = is_new
        for tracked in self._tracked.values():
            is_new |= self._look_at(tracked, now_s)
        self._reconcile()
        self._scanned_s = now_s
        if is_new:
            self._new_s = now_s
        return QUICK_EVERY_S if now_s - self._new_s < QUICK_FOR_S else CALM_EVERY_S

    def prepare(self, paths: Iterable[Path]) -> None:
        """Probe libraries before a command that maps them begins, so that nothing is missed.

        They stay probed until `close`. Where probes have to be held to a process, none are.
        """
        if self._spares_filtered:
            return
        found = {self._shelf.put_file(path) for path in paths} - {None}
        for key in found:
            if key is not None:
                self._kept.add(key)
                self._is_shared[key] = True
        self._reconcile()

    def set_launches(self, on: bool) -> None:  # noqa: FBT001 - the only thing that it is told
        """Probe launches or not; all others stay as they are."""
        self._launches = on
        self._reconcile()

    def targets(self) -> Sequence[Target]:
        """The processes that are traced."""
        return tuple(tracked.target for tracked in self._tracked.values())

    def notices(self) -> Sequence[Notice]:
        """What the user should hear once, all of it so far."""
        return self._notices.all()

    def close(self) -> None:
        """Detach everything; a second time does nothing."""
        self._probes.keep_only(())
        self._shelf.keep_only(())
        self._tracked.clear()
        self._kept.clear()

    def _update(self, processes: Sequence[Process]) -> bool:
        """Forget those that ended and mark those that are new; whether there are any."""
        for identity in self._tracked.keys() - {process.identity for process in processes}:
            self._probes.forget(self._tracked.pop(identity).process.pid)
        is_new = False
        for process in processes:
            tracked = self._tracked.get(process.identity)
            if tracked is None:
                is_new |= self._begin(process)
                continue
            if tracked.process.image != process.image:
                # Another thread than the first may have executed, which ends what was held to it.
                self._probes.forget(process.pid)
                shared = [key for key in tracked.keys if self._is_shared[key]]
                tracked.keys = dict.fromkeys(shared)
                is_new = True
            tracked.process = process
            tracked.target = tracked.target._replace(name=process.name)
        return is_new

    def _begin(self, process: Process) -> bool:
        is_followed = self._mark(process)
        if is_followed is None:
            return False
        is_late = self._scanned_s is not None and not is_followed
        self._tracked[process.identity] = _Tracked(process, target_of(process), is_late)
        return True

    def _mark(self, process: Process) -> bool | None:
        """Let the programs trace a process; whether they did already, None where it is gone."""
        try:
            pidfd = bpf_syscall.pidfd_open(process.pid)
        except RefusedError:
            return None
        try:
            now = read_process(process.pid)
            if now is None or now.identity != process.identity:
                return None
            value = MARK.ljust(self._states.spec.value_bytes, b"\0")
            return not self._states.insert(pidfd.to_bytes(4, "little"), value)
        except RefusedError:
            return None
        finally:
            os.close(pidfd)

    def _look_at(self, tracked: _Tracked, now_s: float) -> bool:
        """Find what a target maps since the last look; whether there is any."""
        process = tracked.process
        seen = (process.size_bytes, process.image)
        if seen == tracked.looked and now_s - tracked.looked_s < SURE_EVERY_S:
            return False
        is_executed = process.image != tracked.looked[1]
        tracked.looked, tracked.looked_s = seen, now_s
        try:
            mappings = libraries.mapped(process.pid)
            if is_executed:
                mappings += self._program_with_runtime(process.pid)
        except PermissionError:
            self._tell_unreadable(process)
            return False
        except OSError:
            return False
        found = {self._shelf.take(process.pid, mapping) for mapping in mappings}
        new = {key for key, _ in found if key in self._shelf} - tracked.keys.keys()
        if not new:
            return False
        self._share(key for key in new if key not in self._is_shared)
        self._note_late(tracked, new, now_s)
        tracked.keys |= dict.fromkeys(new)
        self._tell_static(tracked)
        return True

    def _program_with_runtime(self, pid: int) -> list[Mapping]:
        program = libraries.program(pid)
        key = libraries.file_key(program)
        if key not in self._programs:
            self._programs[key] = libraries.holds_runtime(pid)
        return [program] if self._programs[key] else []

    def _share(self, keys: Iterable[Key]) -> None:
        """Decide which libraries are probed in every process that maps them."""
        new = list(keys)
        if not new:
            return
        if not self._route.filters_processes:
            taken: set[int] | None = set()
        elif self._spares_filtered:
            taken = None
        elif self._wanted.every_gpu_process or self._wanted.is_launched:
            taken = set()
            # Until the next child of the command maps them, there may be none that does.
            self._kept.update(new if self._wanted.is_launched else ())
        else:
            taken = libraries.inodes_of(self._finder.others())
        for key in new:
            self._is_shared[key] = taken is not None and key[1] not in taken

    def _reconcile(self) -> None:
        wanted = self._wanted_probes()
        order = {layer: place for place, layer in enumerate(OUTERMOST_FIRST)}
        for probe in sorted(wanted, key=lambda probe: (order[probe.group.layer], probe)):
            library = self._shelf[probe.key]
            if library is not None:
                self._probes.attach(probe, library)
        if self._probes.keep_only(wanted):
            # Launches that are open now will not be seen to return.
            self._settings["launches_closed_ns"] = time.monotonic_ns()
        used = self._kept.union(*(tracked.keys for tracked in self._tracked.values()))
        self._shelf.keep_only(used)
        self._is_shared = {key: shared for key, shared in self._is_shared.items() if key in used}

    def _wanted_probes(self) -> set[Probe]:
        probes = self._probes_in(EVERY_PROCESS, self._kept)
        for tracked in self._tracked.values():
            tracked.is_refused = self._spares_filtered and self._is_filtered(tracked)
            if not tracked.is_refused:
                probes |= self._probes_in(tracked.process.pid, tracked.keys)
        return probes

    def _probes_in(self, pid: int, keys: Iterable[Key]) -> set[Probe]:
        """What to probe in a process that maps these."""
        found = {key: library for key in keys if (library := self._shelf[key]) is not None}
        scopes = {key: EVERY_PROCESS if self._is_shared[key] else pid for key in found}
        # A process that has not loaded its driver yet will load the one that all others share.
        shared = {key: EVERY_PROCESS for key, is_shared in self._is_shared.items() if is_shared}
        is_covered = any(
            (library := self._shelf[key]) is not None
            and library.covers_launches
            and not self._probes.are_refused(Probe(key, scope, DRIVER_LAUNCHES))
            for key, scope in (scopes | shared).items()
        )
        return {
            Probe(key, scopes[key], group)
            for key, library in found.items()
            for group in library.points
            if self._is_wanted(group, is_covered=is_covered)
        }

    def _is_wanted(self, group: Group, *, is_covered: bool) -> bool:
        """Launches cost one pair of traps: in the driver, where it sees them all."""
        if group.is_launch and not self._launches:
            return False
        is_seen_below = group.layer == CallLayer.CUDA_RUNTIME and is_covered
        return not (is_seen_below and (group.is_launch or not self._route.is_multi))

    def _is_filtered(self, tracked: _Tracked) -> bool:
        if not is_under_seccomp(tracked.process.pid):
            return False
        self._notices.tell(
            Notice(
                Severity.WARNING,
                f"calls of {tracked.target.name} (pid {tracked.process.pid}) are not traced: it "
                "runs under a seccomp filter, at which this kernel may end it when a traced call "
                "returns",
                "seccomp",
                str(tracked.process.pid),
                "use Linux 6.14 or newer, run it without the filter, or force it",
            )
        )
        return True

    def _note_late(self, tracked: _Tracked, new: set[Key], now_s: float) -> None:
        """Count libraries that a target may have called before they were probed."""
        if self._scanned_s is None:
            return
        pid = tracked.process.pid
        missed = {
            key
            for key in new
            if (library := self._shelf[key]) is not None
            and library.points
            and (tracked.is_late or not self._probes.are_attached(key, pid))
        }
        if not missed:
            return
        since_s = now_s - self._scanned_s
        if tracked.is_late:
            since_s = min(tracked.process.age_s(), since_s + OLD_EVERY_S)
        self._late.note(missed, since_s)

    def _tell_static(self, tracked: _Tracked) -> None:
        found = [library for key in tracked.keys if (library := self._shelf[key]) is not None]
        has_driver = any(library.covers_launches for library in found)
        layers = {group.layer for library in found for group in library.points}
        if has_driver and CallLayer.CUDA_RUNTIME not in layers:
            name, pid = tracked.target.name, tracked.process.pid
            self._notices.tell(
                Notice(
                    Severity.INFO,
                    f"{name} (pid {pid}) has no CUDA runtime whose functions can be found (it is "
                    "linked statically, or not used): its calls are seen at the driver",
                    "static_runtime",
                    str(pid),
                )
            )

    def _tell_refused(self, library: Library, error: TracingError) -> None:
        said = Notice(Severity.WARNING, error.reason, "refused", library.name)
        self._notices.tell(said._replace(remedy=error.remedy))

    def _tell_unreadable(self, process: Process) -> None:
        self._notices.tell(
            Notice(
                Severity.WARNING,
                f"calls of {process.name} (pid {process.pid}) are not traced: what it maps cannot "
                "be read, as it belongs to somebody else",
                "unreadable",
                str(process.pid),
                "trace as root, or with CAP_SYS_PTRACE",
            )
        )

    def _tell_of_start(self) -> None:
        if not self._route.is_multi:
            self._notices.tell(
                Notice(
                    Severity.WARNING,
                    "this kernel probes one function at a time: only launches, synchronisations, "
                    "copies, allocations and collectives are traced",
                    "few_functions",
                    remedy="use Linux 6.6 or newer",
                )
            )
        elif not self._route.filters_processes:
            self._notices.tell(
                Notice(
                    Severity.INFO,
                    "this kernel cannot hold probes to a process: others that use the same "
                    "libraries pay for them, below 1 us a call, while the trace runs",
                    "unfiltered",
                    remedy="use Linux 6.10 or newer",
                )
            )
        for pid in self._finder.missing_pids:
            self._notices.tell(
                Notice(Severity.WARNING, f"there is no process {pid}", "no_process", str(pid))
            )
