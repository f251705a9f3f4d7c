"""Whether a seccomp filter ends a process at a probed return, found out with one of our own.

From Linux 6.11 on x86-64 a probed function returns through a system call of its own, uretprobe,
which filters made before it forbid; Linux 6.14 lets it pass whatever a filter says, and so do
later releases of older stable kernels. Which ones cannot be told by their numbers.
"""

import os
import subprocess
import sys
from collections.abc import Collection

from gnomon._errors import TracingError
from gnomon.tracing import bpf_syscall, libraries
from gnomon.tracing.bpf_syscall import UPROBE_MULTI, UPROBE_MULTI_RETURN, ProgramType
from gnomon.tracing.elf import Elf
from gnomon.tracing.loader import KPROBE, Link
from gnomon.tracing.mappings import open_mapped, read_mappings
from gnomon.tracing.refusals import kernel_version
from gnomon.tracing.route import NOTHING

CALL_SINCE, CALL_PASSES = (6, 11), (6, 14)
URETPROBE = 335
ANSWER_WITHIN_S = 10.0
CALLED = "labs"
# Forbids the system calls named by its arguments on pain of death, and calls a function. Numbers:
# include/uapi/linux/{prctl,seccomp,filter}.h, of x86-64.
VICTIM = """
import ctypes, struct, sys
libc = ctypes.CDLL(None)
numbers = [int(word) for word in sys.argv[1:]]
rules = [struct.pack("HBBI", 0x20, 0, 0, 0)]
rules += [struct.pack("HBBI", 0x15, len(numbers) - at, 0, number)
          for at, number in enumerate(numbers)]
rules += [struct.pack("HBBI", 6, 0, 0, what) for what in (0x7fff0000, 0x80000000)]
code = ctypes.create_string_buffer(b"".join(rules))
program = ctypes.create_string_buffer(struct.pack("H6xQ", len(rules), ctypes.addressof(code)))
print(flush=True)
sys.stdin.readline()
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program):
    sys.exit(1)
libc.labs(-1)
"""


def may_end_processes() -> bool:
    """Whether this kernel may end a process under seccomp where its calls are traced."""
    if not CALL_SINCE <= kernel_version(os.uname().release) < CALL_PASSES:
        return False
    return not survives()


def survives(forbidden: Collection[int] = (URETPROBE,)) -> bool:
    """Whether a process that is forbidden these system calls lives through a probed return.

    False, too, where that cannot be found out.
    """
    command = [sys.executable, "-I", "-S", "-c", VICTIM, *map(str, forbidden)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as victim:
        try:
            if victim.stdout is None or victim.stdout.readline() != b"\n":
                return False
            link = _probe_return(victim.pid)
        except (TracingError, OSError):
            victim.kill()
            return False
        try:
            victim.communicate(b"\n", ANSWER_WITHIN_S)
        except subprocess.TimeoutExpired:
            victim.kill()
        finally:
            link.close()
    return victim.returncode == 0


def _probe_return(pid: int) -> Link:
    """Probe what the process will call. Raises TracingError, OSError."""
    for mapping in read_mappings(pid):
        if not (mapping.is_executable and mapping.path.rpartition("/")[2].startswith("libc.")):
            continue
        with open_mapped(pid, mapping) as file:
            offset = next(one.file_offset for one in Elf(file, mapping.path).functions([CALLED]))
            kind = ProgramType(KPROBE, UPROBE_MULTI)
            program = bpf_syscall.prog_load("nothing", NOTHING, kind, b"Dual BSD/GPL")
            try:
                path = libraries.path_of(file)
                flags = UPROBE_MULTI_RETURN
                return Link(bpf_syscall.link_uprobe_multi(program, path, [offset], [0], pid, flags))
            finally:
                os.close(program)
    raise TracingError(f"process {pid} has no C library")
