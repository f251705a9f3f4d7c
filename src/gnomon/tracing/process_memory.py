"""Memory of another process, read by process_vm_readv(2): it is not stopped and gets no signal.

What is read may change meanwhile; who reads has to check what it makes of it.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Sequence

from gnomon._errors import RefusedError

MOST_PIECES = 1024  # UIO_MAXIOV
MOST_BYTES = 1 << 22
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# To copy this much in vain costs less than one more span.
MERGED_BYTES = 512

Span = tuple[int, int]  # address, bytes


class TornError(Exception):
    """What was read contradicts itself, or is no longer there."""


class MissedError(TornError):
    """What is wanted was not copied: the pages of ``span``."""

    def __init__(self, span: Span) -> None:
        super().__init__()
        self.span = span


class ProcessMemory:
    """The memory of process ``pid``. Raises RefusedError where it may not be read."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        function = ctypes.CDLL(None, use_errno=True).process_vm_readv
        number, pointer = ctypes.c_ulong, ctypes.c_void_p
        function.argtypes = [ctypes.c_int, pointer, number, pointer, number, number]
        function.restype = ctypes.c_ssize_t
        self._read = function
        self._buffer = ctypes.create_string_buffer(MOST_BYTES)
        self._view = memoryview(self._buffer)
        self._local = ctypes.create_string_buffer(16)
        self._remote = ctypes.create_string_buffer(16 * MOST_PIECES)

    def read(self, address: int, size_bytes: int) -> bytes:
        """``size_bytes`` at ``address``. Raises TornError where they are not mapped."""
        return self.gather([(address, size_bytes)])

    def gather(self, spans: Sequence[Span]) -> bytes:
        """The bytes of all spans, one after another, by as few system calls as can be.

        Raises TornError where one of them is not mapped, RefusedError where nothing may be read.
        """
        return b"".join(
            self._gather(spans[first : first + MOST_PIECES])
            for first in range(0, len(spans), MOST_PIECES)
        )

    def _gather(self, spans: Sequence[Span]) -> bytes:
        wanted = sum(size for _, size in spans)
        if wanted > MOST_BYTES:
            raise TornError
        flat = [number for span in spans for number in span]
        try:
            struct.pack_into(f"<{len(flat)}Q", self._remote, 0, *flat)
        except struct.error as error:
            raise TornError from error
        struct.pack_into("<QQ", self._local, 0, ctypes.addressof(self._buffer), wanted)
        done = self._read(self.pid, self._local, 1, self._remote, len(spans), 0)
        if done != wanted:
            self._explain(ctypes.get_errno() if done < 0 else errno.EFAULT)
        return self._view[:wanted].tobytes()

    def _explain(self, number: int) -> None:
        if number == errno.EPERM:
            raise RefusedError(
                f"cannot read the memory of process {self.pid}: {os.strerror(number)}",
                number,
                "run as root, or with CAP_SYS_PTRACE (kernel.yama.ptrace_scope restricts others)",
            )
        raise TornError


class Copy:
    """Pieces of memory as they were copied: ``data`` holds the spans one after another.

    Raises MissedError for what is in none of them.
    """

    def __init__(self, spans: Sequence[Span], data: bytes) -> None:
        self._pieces: list[tuple[int, int, int, bytes]] = []
        at = 0
        for begin, size in spans:
            self._pieces.append((begin, begin + size, at - begin, data))
            at += size

    def find(self, address: int, size_bytes: int) -> tuple[bytes, int]:
        """Bytes and where in them ``address`` lies, with ``size_bytes`` behind it."""
        end = address + size_bytes
        for begins, ends, shift, data in self._pieces:
            if begins <= address and end <= ends:
                return data, address + shift
        first = address & -PAGE_BYTES
        last = (end + PAGE_BYTES - 1) & -PAGE_BYTES
        return self._missed((first, last - first)), address - first

    def word(self, address: int) -> int:
        """The 64 bits at ``address``."""
        data, at = self.find(address, 8)
        return int.from_bytes(data[at : at + 8], "little")

    def _missed(self, span: Span) -> bytes:
        raise MissedError(span)


class Reading(Copy):
    """Memory copied page by page as it is asked for. Raises TornError where it is not mapped."""

    def __init__(self, memory: ProcessMemory) -> None:
        super().__init__([], b"")
        self._memory = memory

    def _missed(self, span: Span) -> bytes:
        data = self._memory.read(*span)
        self._pieces.append((span[0], sum(span), -span[0], data))
        return data


def merged(spans: Sequence[Span]) -> list[Span]:
    """The spans with close neighbours joined, by address.

    Less than a page lies between those joined, so that all of it is mapped if they are.
    """
    joined: list[Span] = []
    for begin, size in sorted(spans):
        if joined and begin - sum(joined[-1]) <= MERGED_BYTES:
            first, length = joined[-1]
            joined[-1] = (first, max(length, begin + size - first))
        else:
            joined.append((begin, size))
    return joined
