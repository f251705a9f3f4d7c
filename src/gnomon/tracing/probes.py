"""Probes in the kernel: what is to be probed and what is, kept the same."""

import errno
import time
from collections.abc import Callable, Collection, Mapping
from threading import Thread
from typing import NamedTuple

from gnomon._errors import RefusedError, TracingError
from gnomon.enums import CallLayer
from gnomon.tracing import bpf_syscall
from gnomon.tracing.libraries import Group, Key, Library
from gnomon.tracing.loader import Link, LoadedObject
from gnomon.tracing.route import Route

EVERY_PROCESS = 0
# Calls that are open when their entries are detached get this time to return.
TO_RETURN_S = 0.002
# (object, program at entry, program at return)
CUDA_PROGRAMS = ("calls", "call_enter", "call_exit")
PROGRAMS = {CallLayer.NCCL: ("nccl", "nccl_enter", "nccl_exit")}


class Probe(NamedTuple):
    """A group of functions of a library, in one process or in EVERY_PROCESS."""

    key: Key
    pid: int
    group: Group


class Probes:
    """What is attached. ``tell_refused`` hears of what the kernel did not grant, once each."""

    def __init__(
        self,
        objects: Mapping[str, LoadedObject],
        route: Route,
        tell_refused: Callable[[Library, TracingError], None],
    ) -> None:
        self._route, self._tell_refused = route, tell_refused
        self._programs = {
            layer: tuple(objects[names[0]].programs[name].fd for name in names[1:])
            for layer in CallLayer
            if (names := PROGRAMS.get(layer, CUDA_PROGRAMS))[0] in objects
        }
        self._attached: dict[Probe, tuple[list[Link], list[Link]]] = {}
        self._refused: set[Probe] = set()

    def are_refused(self, probe: Probe) -> bool:
        """Whether the kernel did not grant these."""
        return probe in self._refused

    def are_attached(self, key: Key, pid: int) -> bool:
        """Whether anything of a library is probed in a process."""
        return any(
            probe.key == key and probe.pid in {pid, EVERY_PROCESS} for probe in self._attached
        )

    def attach(self, probe: Probe, library: Library) -> None:
        """Attach, unless it is or was refused. What a process that has ended asks is dropped."""
        if probe in self._attached or probe in self._refused:
            return
        programs = self._programs.get(probe.group.layer)
        if programs is None:
            return
        enter, leave = programs
        entries: list[Link] = []
        returns: list[Link] = []
        try:
            # Returns first, so that no entry is left without one.
            self._link(leave, probe, library, returns, is_return=True)
            self._link(enter, probe, library, entries, is_return=False)
        except RefusedError as error:
            _close([(entries, returns)])
            if error.errno != errno.ESRCH:
                self._refused.add(probe)
                self._tell_refused(library, error)
            return
        self._attached[probe] = (entries, returns)

    def keep_only(self, wanted: Collection[Probe]) -> bool:
        """Detach the others; whether launches were among them."""
        surplus = self._attached.keys() - wanted
        if surplus:
            _close([self._attached.pop(probe) for probe in surplus])
        return any(probe.group.is_launch for probe in surplus)

    def forget(self, pid: int) -> None:
        """Detach what is held to one process, and forget what was refused there."""
        self._refused = {probe for probe in self._refused if probe.pid != pid}
        self.keep_only([probe for probe in self._attached if probe.pid != pid])

    def _link(
        self, program: int, probe: Probe, library: Library, links: list[Link], *, is_return: bool
    ) -> None:
        offsets, cookies = library.points[probe.group]
        if self._route.is_multi:
            flags = bpf_syscall.UPROBE_MULTI_RETURN if is_return else 0
            pid = probe.pid
            links.append(
                Link(
                    bpf_syscall.link_uprobe_multi(
                        program, library.path, offsets, cookies, pid, flags
                    )
                )
            )
            return
        for offset, cookie in zip(offsets, cookies, strict=True):
            event = bpf_syscall.perf_event_uprobe(
                library.path, offset, probe.pid, on_return=is_return
            )
            opened = Link(event)
            links.append(opened)
            link = bpf_syscall.link_perf_event(program, event, cookie, library.name)
            links[-1] = Link(link, event)


def _close(attached: list[tuple[list[Link], list[Link]]]) -> None:
    """Detach entries, then returns, so that most calls that are open then are seen to return.

    The kernel takes a probe away within 2 ms, and then waits some 40 ms to be sure that nobody is
    in its program: for all links at once if they are closed at once.
    """
    closing: list[Thread] = []
    for links in zip(*attached, strict=True):
        closing += [Thread(target=link.close) for kind in links for link in kind]
        for thread in closing:
            if thread.ident is None:
                thread.start()
        time.sleep(TO_RETURN_S)
    for thread in closing:
        thread.join()
