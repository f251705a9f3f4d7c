"""bpf(2) and perf_event_open(2): one function an operation, and nothing above them.

File descriptors come back as numbers that the caller closes. Layouts are those of `union bpf_attr`
(include/uapi/linux/bpf.h) and `struct perf_event_attr` (include/uapi/linux/perf_event.h), of which
the kernel takes any length that it knows and reads the rest as 0.
Every function raises RefusedError, which names the operation, the errno and what to do.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gnomon._errors import RefusedError, TracingError
from gnomon.tracing.refusals import LINK_UPROBES, refused

# (bpf, perf_event_open) in arch/*/entry/syscalls; pidfd_open has one number everywhere.
SYSCALL_NUMBERS = {"x86_64": (321, 298), "aarch64": (280, 241)}
PIDFD_OPEN = 434

# enum bpf_cmd
MAP_CREATE, MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_DELETE_ELEM, MAP_GET_NEXT_KEY = range(5)
PROG_LOAD, PROG_TEST_RUN, RAW_TRACEPOINT_OPEN, BTF_LOAD = 5, 10, 17, 18
MAP_LOOKUP_AND_DELETE_ELEM, MAP_FREEZE, LINK_CREATE, ITER_CREATE = 21, 22, 28, 33

# enum bpf_attach_type
TRACE_RAW_TP, TRACE_ITER, PERF_EVENT, UPROBE_MULTI = 23, 28, 41, 48

OBJECT_NAME_BYTES = 15
ONLY_NEW = 1  # BPF_NOEXIST: what is there already stays, and EEXIST is the answer
UPROBE_MULTI_RETURN = 1
UPROBE_PMU = Path("/sys/bus/event_source/devices/uprobe/type")
PERF_ATTR_BYTES = 112
PERF_FLAG_FD_CLOEXEC = 8
# The verifier answers EAGAIN where a signal was pending; libbpf, too, gives up after some tries.
TRIES = 5
LOG_BYTES = (1 << 20, 1 << 24)


@cache
def _libc_syscall() -> "ctypes._NamedFuncPointer":
    function = ctypes.CDLL(None, use_errno=True).syscall
    function.restype = ctypes.c_long
    return function


def _numbers() -> tuple[int, int]:
    machine = platform.machine()
    if machine not in SYSCALL_NUMBERS:
        raise TracingError(
            f"cannot trace on {machine}: its system calls are not known",
            f"trace on {' or '.join(SYSCALL_NUMBERS)}",
        )
    return SYSCALL_NUMBERS[machine]


def _bpf(command: int, attributes: bytes, operation: str, subject: str) -> tuple[int, bytes]:
    """(what bpf(2) returned, the attributes as it left them)."""
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    arguments = (ctypes.c_long(_numbers()[0]), ctypes.c_long(command), buffer)
    number = 0
    for _ in range(TRIES):
        result = _libc_syscall()(*arguments, ctypes.c_long(len(attributes)))
        if result >= 0:
            return int(result), buffer.raw
        number = ctypes.get_errno()
        if number not in {errno.EAGAIN, errno.EINTR}:
            break
    raise refused(operation, subject, number)


def _address(buffer: "ctypes.Array[ctypes.c_char] | None") -> int:
    return 0 if buffer is None else ctypes.addressof(buffer)


def _buffer(data: bytes) -> "ctypes.Array[ctypes.c_char]":
    return ctypes.create_string_buffer(data, len(data))


def _name(name: str) -> bytes:
    return name.encode("ascii", "replace")[:OBJECT_NAME_BYTES]


def map_create(
    name: str,
    kind: int,
    sizes: tuple[int, int, int],
    flags: int = 0,
    btf: tuple[int, int, int] = (0, 0, 0),
) -> int:
    """Make a map; return its descriptor.

    ``sizes`` are the bytes of a key, the bytes of a value and the number of entries;
    ``btf`` a descriptor of loaded BTF and the type ids of key and value in it.
    """
    fixed = struct.pack("<5IQ16sI", kind, *sizes, flags, 0, _name(name), 0)
    return _bpf(MAP_CREATE, fixed + struct.pack("<3I", *btf), "create the map", name)[0]


def map_lookup(fd: int, key: bytes, value_bytes: int, name: str) -> bytes | None:
    """The value at ``key``, or None where there is none."""
    return _read_value(MAP_LOOKUP_ELEM, fd, key, value_bytes, name)


def map_pop(fd: int, value_bytes: int, name: str) -> bytes | None:
    """Take the next value out of a queue; None where it is empty."""
    return _read_value(MAP_LOOKUP_AND_DELETE_ELEM, fd, b"", value_bytes, name)


def _read_value(command: int, fd: int, key: bytes, value_bytes: int, name: str) -> bytes | None:
    given = _buffer(key) if key else None
    value = ctypes.create_string_buffer(value_bytes)
    attributes = struct.pack("<I4xQQQ", fd, _address(given), _address(value), 0)
    return value.raw if _found(command, attributes, "read the map", name) else None


def map_update(fd: int, key: bytes, value: bytes, name: str, flags: int = 0) -> None:
    """Store ``value`` at ``key``; a queue takes no key. ``flags``: 0 or ONLY_NEW."""
    given, stored = _buffer(key) if key else None, _buffer(value)
    attributes = struct.pack("<I4xQQQ", fd, _address(given), _address(stored), flags)
    _bpf(MAP_UPDATE_ELEM, attributes, "write to the map", name)


def map_delete(fd: int, key: bytes, name: str) -> bool:
    """Remove ``key``; False where it was not there."""
    given = _buffer(key)
    attributes = struct.pack("<I4xQQQ", fd, _address(given), 0, 0)
    return _found(MAP_DELETE_ELEM, attributes, "delete from the map", name)


def map_next_key(fd: int, key: bytes | None, key_bytes: int, name: str) -> bytes | None:
    """The key after ``key`` (the first one for None), or None after the last."""
    given = None if key is None else _buffer(key)
    following = ctypes.create_string_buffer(key_bytes)
    attributes = struct.pack("<I4xQQQ", fd, _address(given), _address(following), 0)
    return following.raw if _found(MAP_GET_NEXT_KEY, attributes, "list the map", name) else None


def _found(command: int, attributes: bytes, operation: str, name: str) -> bool:
    try:
        _bpf(command, attributes, operation, name)
    except RefusedError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def map_freeze(fd: int, name: str) -> None:
    """Forbid writes from user space for good, so that the verifier may trust the values."""
    _bpf(MAP_FREEZE, struct.pack("<I", fd), "freeze the map", name)


def btf_load(data: bytes, name: str) -> int:
    """Hand types to the kernel; return their descriptor."""
    types = _buffer(data)
    attributes = struct.pack("<QQIII", _address(types), 0, len(data), 0, 0)
    return _bpf(BTF_LOAD, attributes, "load types of", name)[0]


class ProgramType(NamedTuple):
    """What a program is to the kernel: `enum bpf_prog_type`, how it attaches, and to which type."""

    kind: int
    attach_type: int = 0
    attach_btf_id: int = 0
    flags: int = 0


def prog_load(name: str, instructions: bytes, kind: ProgramType, license_name: bytes) -> int:
    """Load a program; return its descriptor.

    ``instructions`` are 8 bytes each. Where the verifier refuses, the program is loaded again with
    its log on, whose last lines go into the error.
    """
    code, granted = _buffer(instructions), ctypes.create_string_buffer(license_name)

    def attributes(log: "ctypes.Array[ctypes.c_char] | None") -> bytes:
        return struct.pack(
            "<IIQQIIQII16s4IQIIQII",
            *(kind.kind, len(instructions) // 8, _address(code), _address(granted)),
            *(int(log is not None), len(log or b""), _address(log), 0, kind.flags, _name(name)),
            *(0, kind.attach_type, 0, 0, 0, 0, 0, 0, 0, kind.attach_btf_id),
        )

    try:
        return _bpf(PROG_LOAD, attributes(None), "load the program", name)[0]
    except RefusedError as error:
        if error.errno == errno.EPERM:
            raise
        number = error.errno
    for log_bytes in LOG_BYTES:
        log = ctypes.create_string_buffer(log_bytes)
        try:
            return _bpf(PROG_LOAD, attributes(log), "load the program", name)[0]
        except RefusedError as error:
            # A log that does not fit changes the answer to ENOSPC, before 6.4.
            if error.errno != errno.ENOSPC:
                number = error.errno
                break
    raise refused("load the program", name, number, log.value.decode(errors="replace"))


def prog_test_run(fd: int, name: str, context: bytes = b"") -> tuple[int, bytes]:
    """Run a program of type syscall once; return (what it returned, the context afterwards)."""
    memory = _buffer(context)
    address = ctypes.addressof(memory) if context else 0
    attributes = struct.pack("<IIIIQQIIIIQQ", fd, 0, 0, 0, 0, 0, 0, 0, len(context), 0, address, 0)
    _, answer = _bpf(PROG_TEST_RUN, attributes, "run the program", name)
    returned: int = struct.unpack_from("<I", answer, 4)[0]
    return returned, memory.raw


def raw_tracepoint_open(prog_fd: int, name: str) -> int:
    """Attach a program of type tp_btf to the tracepoint it was loaded for; return the link."""
    attributes = struct.pack("<QI4x", 0, prog_fd)
    return _bpf(RAW_TRACEPOINT_OPEN, attributes, "attach to a tracepoint", name)[0]


def link_uprobe_multi(
    prog_fd: int, path: str, offsets: Sequence[int], cookies: Sequence[int], pid: int, flags: int
) -> int:
    """Attach one program at many places of a file; return the link (Linux 6.6).

    ``offsets`` are bytes in the file, ``cookies`` what the program is told at each. ``pid`` 0 is
    every process. ``flags`` has UPROBE_MULTI_RETURN for the return instead of the entry.
    """
    where, what = np.asarray(offsets, np.uint64), np.asarray(cookies, np.uint64)
    if len(where) != len(what):
        raise ValueError(f"{len(where)} offsets and {len(what)} cookies")
    file = ctypes.create_string_buffer(os.fsencode(path))
    pointers = (ctypes.addressof(file), where.ctypes.data, 0, what.ctypes.data)
    attributes = struct.pack(
        "<4I4Q3I4x", prog_fd, 0, UPROBE_MULTI, 0, *pointers, len(where), flags, pid
    )
    return _bpf(LINK_CREATE, attributes, LINK_UPROBES, path)[0]


def link_perf_event(prog_fd: int, perf_fd: int, cookie: int, subject: str) -> int:
    """Let a perf event run a program; return the link (Linux 5.15)."""
    attributes = struct.pack("<4IQ", prog_fd, perf_fd, PERF_EVENT, 0, cookie)
    return _bpf(LINK_CREATE, attributes, "attach to a perf event of", subject)[0]


def perf_event_uprobe(path: str, offset: int, pid: int, *, on_return: bool) -> int:
    """Open one uprobe as a perf event, the way of kernels before 6.6; return its descriptor.

    ``offset`` is in bytes in the file; ``pid`` 0 is every process.
    """
    try:
        kind = int(UPROBE_PMU.read_text())
    except (OSError, ValueError) as error:
        raise TracingError(
            f"cannot probe {path}: no uprobes at {UPROBE_PMU} ({error})",
            "use a kernel with CONFIG_UPROBE_EVENTS, or Linux 6.6 or newer",
        ) from error
    file = ctypes.create_string_buffer(os.fsencode(path))
    # type, size, config; period, sample type, read format, flags, two words; then config1, config2.
    event = struct.pack(
        "<IIQ4QIIQQ",
        *(kind, PERF_ATTR_BYTES, on_return, 0, 0, 0, 0, 0, 0, ctypes.addressof(file), offset),
    )
    attributes = ctypes.create_string_buffer(event, PERF_ATTR_BYTES)
    # An event of every process has to name a processor, though uprobes fire on all of them.
    process, processor = (pid, -1) if pid else (-1, 0)
    numbers = (process, processor, -1, PERF_FLAG_FD_CLOEXEC)
    result = _libc_syscall()(
        ctypes.c_long(_numbers()[1]), attributes, *(ctypes.c_long(number) for number in numbers)
    )
    if result < 0:
        raise refused("open a uprobe in", path, ctypes.get_errno())
    return int(result)


def iterate(prog_fd: int, name: str) -> bytes:
    """Run an iterator program over everything it iterates on; return what it wrote."""
    attributes = struct.pack("<4IQII", prog_fd, 0, TRACE_ITER, 0, 0, 0, 0)
    link = _bpf(LINK_CREATE, attributes, "attach the iterator", name)[0]
    try:
        run = _bpf(ITER_CREATE, struct.pack("<II", link, 0), "start the iterator", name)[0]
        with os.fdopen(run, "rb") as output:
            return output.read()
    finally:
        os.close(link)


def pidfd_open(pid: int) -> int:
    """A descriptor of a process, by which storage of a task is written.

    Python's own is missing where it was built against old C libraries.
    """
    result = _libc_syscall()(ctypes.c_long(PIDFD_OPEN), ctypes.c_long(pid), ctypes.c_long(0))
    if result < 0:
        raise refused("open process", str(pid), ctypes.get_errno())
    return int(result)
