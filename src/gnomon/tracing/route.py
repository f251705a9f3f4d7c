"""How this kernel lets functions be probed, found out by asking it."""

import errno
import os
import struct
from typing import NamedTuple

from gnomon._errors import RefusedError
from gnomon.tracing import bpf_syscall
from gnomon.tracing.bpf_syscall import UPROBE_MULTI, ProgramType
from gnomon.tracing.loader import KPROBE

# A program that returns 0.
NOTHING = struct.pack("<BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)
NO_PROCESS = 2**32 - 1


class Route(NamedTuple):
    """What can be done.

    ``is_multi``: many probes in one link (Linux 6.6), with programs of that kind; otherwise they
    are perf events, one by one. ``filters_processes``: a link may be held to one process (Linux
    6.10); before, to one thread, which is of no use.
    """

    is_multi: bool
    filters_processes: bool


def probe_route() -> Route:
    """Ask for probes in a folder, which no kernel grants: what it says tells what it knows.

    Raises RefusedError where programs are not allowed at all.
    """
    kind = ProgramType(KPROBE, UPROBE_MULTI)
    program = bpf_syscall.prog_load("nothing", NOTHING, kind, b"Dual BSD/GPL")
    try:
        if _answer(program, pid=0) != errno.EBADF:
            return Route(is_multi=False, filters_processes=True)
        # A wrong process is looked at before the path since processes are told from threads.
        return Route(True, filters_processes=_answer(program, pid=NO_PROCESS) == errno.EINVAL)
    finally:
        os.close(program)


def _answer(program: int, pid: int) -> int:
    try:
        link = bpf_syscall.link_uprobe_multi(program, "/", [0], [0], pid, 0)
    except RefusedError as error:
        return error.errno
    os.close(link)
    return 0
