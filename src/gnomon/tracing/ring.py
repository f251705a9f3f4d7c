"""The ring buffer that programs write events to, read in batches and without copying.

Layout (kernel/bpf/ringbuf.c): a page with the reader's position, a page with the writers', and the
data twice in a row, so that what wraps round the end is still one piece of memory.
"""

import mmap
import platform

import numpy as np
import numpy.typing as npt

from gnomon._errors import TracingError

HEADER_BYTES = 8
# Bits of a record's length: its writer has not finished it, or has withdrawn it.
BUSY, DISCARDED = np.uint32(1 << 31), np.uint32(1 << 30)
# Machines that show stores of one processor to the others in order, and loads as written.
ORDERED_MACHINES = frozenset({"x86_64"})

Records = npt.NDArray[np.void]
_HEADER = np.dtype([("length", "<u4"), ("page", "<u4")])


class RingReader:
    """Reads a ring buffer whose records all have one ``dtype``, a multiple of 8 bytes.

    Use as: ``records = reader.read()``, look at them, ``reader.release()``. Nobody else may read
    the same ring. Where the machine does not keep the order of memory accesses
    (``is_ordered`` False) a record is given out, and its room given back, one call later than it
    could be: Python has no barriers, but between two calls milliseconds apart lie many.
    """

    def __init__(
        self,
        fd: int,
        size_bytes: int,
        dtype: "np.dtype[np.void]",
        *,
        is_ordered: bool = platform.machine() in ORDERED_MACHINES,
    ) -> None:
        if dtype.itemsize % HEADER_BYTES:
            raise TracingError(f"events have {dtype.itemsize} bytes, no multiple of {HEADER_BYTES}")
        page = mmap.PAGESIZE
        position = mmap.mmap(fd, page)
        data = mmap.mmap(fd, page + 2 * size_bytes, prot=mmap.PROT_READ, offset=page)
        self._position = np.frombuffer(position, np.uint64, 1)
        self._written = np.frombuffer(data, np.uint64, 1)
        self._data = np.frombuffer(data, np.uint8, offset=page)
        self._record = np.dtype([("header", _HEADER), ("event", dtype)])
        self._mask = size_bytes - 1
        self._is_ordered = is_ordered
        self._at = int(self._position[0])
        self._limit = self._at
        self._given_bytes = 0

    def read(self) -> Records:
        """The finished events, oldest first, as a view into the ring: no copy is made.

        Empty where there are none. Valid until `release`; copy what is kept longer.
        Raises TracingError where a record is of another length than ``dtype``.
        """
        written = int(self._written[0])
        limit, self._limit = (written if self._is_ordered else self._limit), written
        size = self._record.itemsize
        begin = self._at & self._mask
        count = max(0, limit - self._at) // size
        records = self._data[begin : begin + count * size].view(self._record)
        lengths = records["header"]["length"]
        # One look at the lengths: a record finished meanwhile is left for the next time.
        lengths = lengths.copy()
        unfinished = lengths >= BUSY
        if unfinished.any():
            count = int(np.argmax(unfinished))
            records, lengths = records[:count], lengths[:count]
        self._given_bytes = count * size
        return self._kept(records, lengths)

    def release(self) -> None:
        """Give the room of the events read last back to the writers."""
        if self._is_ordered:
            self._at += self._given_bytes
        self._position[0] = self._at
        if not self._is_ordered:
            self._at += self._given_bytes
        self._given_bytes = 0

    def waiting_bytes(self) -> int:
        """How much of the ring is taken by events that have not been released."""
        return int(self._written[0]) - int(self._position[0])

    def close(self) -> None:
        """Let go of the ring. Events that are still looked at keep its memory, and stay valid."""
        self._position = self._written = np.empty(0, np.uint64)
        self._data = np.empty(0, np.uint8)

    def _kept(self, records: Records, lengths: "npt.NDArray[np.uint32]") -> Records:
        """The events of ``records``, without those that their writer withdrew."""
        expected = self._record.itemsize - HEADER_BYTES
        is_event = lengths == expected
        events: Records = records["event"]
        if is_event.all():
            return events
        if not np.all(is_event | (lengths == np.uint32(expected) | DISCARDED)):
            other = int(lengths[~is_event][0]) & ~int(DISCARDED)
            raise TracingError(
                f"the kernel's events have {other} bytes, not {expected}: "
                "the programs are of another version",
                "reinstall gnomon",
            )
        kept: Records = events[is_event]
        return kept
