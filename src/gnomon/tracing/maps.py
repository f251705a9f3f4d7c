"""Maps of the kernel: made, read key by key, or seen as numpy arrays without a system call."""

import errno
import mmap
import os
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnomon._errors import RefusedError, TracingError
from gnomon.tracing import bpf_syscall
from gnomon.tracing.btf import MAGIC, Kind
from gnomon.tracing.object_file import MapSpec

# enum bpf_map_type
HASH, ARRAY, PERCPU_HASH, PERCPU_ARRAY, LRU_HASH, LRU_PERCPU_HASH = 1, 2, 5, 6, 9, 10
QUEUE, SOCKET_STORAGE, RING_BUFFER, TASK_STORAGE = 22, 24, 27, 29
PER_PROCESSOR = {PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH}
READ_ONLY_IN_PROGRAMS, MEMORY_MAPPABLE = 1 << 7, 1 << 10  # BPF_F_RDONLY_PROG, BPF_F_MMAPABLE
# The kernel rounds the size of a value up to this in arrays and per processor.
VALUE_ALIGNMENT_BYTES = 8
POSSIBLE_PROCESSORS = Path("/sys/devices/system/cpu/possible")

Array = npt.NDArray[Any]


class Map:
    """One map. Keys and values are bytes of exactly the sizes in ``spec``.

    Raises RefusedError where the kernel refuses.
    """

    def __init__(self, spec: MapSpec, fd: int) -> None:
        self.spec = spec
        self.fd = fd

    def lookup(self, key: bytes) -> bytes | None:
        """The value at ``key``, or None. Per processor: one value after another."""
        self._check(key, self.spec.key_bytes, "keys")
        return bpf_syscall.map_lookup(self.fd, key, self._answer_bytes(), self.spec.name)

    def update(self, key: bytes, value: bytes) -> None:
        """Store ``value`` at ``key``."""
        self._update(key, value, 0)

    def insert(self, key: bytes, value: bytes) -> bool:
        """Store ``value`` at ``key`` unless there is something; whether it was stored."""
        try:
            self._update(key, value, bpf_syscall.ONLY_NEW)
        except RefusedError as error:
            if error.errno == errno.EEXIST:
                return False
            raise
        return True

    def _update(self, key: bytes, value: bytes, flags: int) -> None:
        self._check(key, self.spec.key_bytes, "keys")
        self._check(value, self._answer_bytes(), "values")
        bpf_syscall.map_update(self.fd, key, value, self.spec.name, flags)

    def delete(self, key: bytes) -> bool:
        """Remove ``key``; False where it was not there."""
        self._check(key, self.spec.key_bytes, "keys")
        return bpf_syscall.map_delete(self.fd, key, self.spec.name)

    def keys(self) -> Iterator[bytes]:
        """The keys. While others write, some may come twice or not at all, but never endlessly."""
        key = None
        for _ in range(self.spec.entries):
            key = bpf_syscall.map_next_key(self.fd, key, self.spec.key_bytes, self.spec.name)
            if key is None:
                return
            yield key

    def push(self, value: bytes) -> None:
        """Put ``value`` at the end of a queue."""
        self._check(value, self.spec.value_bytes, "values")
        bpf_syscall.map_update(self.fd, b"", value, self.spec.name)

    def pop(self) -> bytes | None:
        """Take the first value out of a queue; None where it is empty."""
        return bpf_syscall.map_pop(self.fd, self.spec.value_bytes, self.spec.name)

    def per_processor(self, key: bytes, dtype: npt.DTypeLike) -> Array | None:
        """A value per possible processor as an array of ``dtype``; None where the key is absent."""
        if self.spec.kind not in PER_PROCESSOR:
            raise TracingError(f"map {self.spec.name} does not hold a value per processor")
        found = self.lookup(key)
        if found is None:
            return None
        return _strided(found, np.dtype(dtype), self.spec, possible_processors())

    def view(self, dtype: npt.DTypeLike) -> Array:
        """The entries of a memory-mapped array as they change, one element of ``dtype`` each.

        It may be written to, except for what programs alone may write. It stays valid after the
        map is closed, and keeps the map's memory for as long as it lives.
        """
        if self.spec.kind != ARRAY or not self.spec.flags & MEMORY_MAPPABLE:
            raise TracingError(f"map {self.spec.name} is no array that can be mapped into memory")
        size_bytes = _rounded_up(self.spec.value_bytes, VALUE_ALIGNMENT_BYTES) * self.spec.entries
        memory = mmap.mmap(self.fd, _rounded_up(size_bytes, mmap.PAGESIZE))
        return _strided(memory, np.dtype(dtype), self.spec, self.spec.entries)

    def _answer_bytes(self) -> int:
        if self.spec.kind not in PER_PROCESSOR:
            return self.spec.value_bytes
        return _rounded_up(self.spec.value_bytes, VALUE_ALIGNMENT_BYTES) * possible_processors()

    def _check(self, given: bytes, wanted_bytes: int, what: str) -> None:
        if len(given) != wanted_bytes:
            raise TracingError(
                f"{what} of map {self.spec.name} have {wanted_bytes} bytes, not {len(given)}"
            )


def create_map(spec: MapSpec) -> Map:
    """Make a map as ``spec`` says. Raises RefusedError where the kernel refuses."""
    sizes = (spec.key_bytes, spec.value_bytes, spec.entries)
    if spec.kind not in {SOCKET_STORAGE, TASK_STORAGE}:
        return Map(spec, bpf_syscall.map_create(spec.name, spec.kind, sizes, spec.flags))
    types = bpf_syscall.btf_load(_storage_types(spec.value_bytes), spec.name)
    try:
        btf = (types, STORAGE_KEY_ID, STORAGE_VALUE_ID)
        return Map(spec, bpf_syscall.map_create(spec.name, spec.kind, sizes, spec.flags, btf))
    finally:
        os.close(types)


def create_data_map(name: str, contents: bytes, *, is_constant: bool) -> Map:
    """Make the map that holds a section of global variables, and fill it.

    Constants can be written by nobody afterwards; others are seen with ``view``.
    """
    flags = READ_ONLY_IN_PROGRAMS if is_constant else MEMORY_MAPPABLE
    made = create_map(MapSpec(name, ARRAY, 4, len(contents), 1, flags))
    try:
        made.update(bytes(4), contents)
        if is_constant:
            bpf_syscall.map_freeze(made.fd, name)
    except TracingError:
        os.close(made.fd)
        raise
    return made


@cache
def possible_processors() -> int:
    """How many processors this machine may ever have, for each of which a map keeps a value."""
    last = POSSIBLE_PROCESSORS.read_text().strip().split(",")[-1].split("-")[-1]
    return int(last) + 1


STORAGE_KEY_ID, STORAGE_VALUE_ID = 1, 3


def _storage_types(value_bytes: int) -> bytes:
    """BTF of an int and an array of bytes: storage of a task or a socket needs types."""
    names = b"\0int\0byte\0"
    types = struct.pack("<4I", 1, Kind.INT << 24, 4, 1 << 24 | 32)
    types += struct.pack("<4I", 5, Kind.INT << 24, 1, 8)
    types += struct.pack("<6I", 0, Kind.ARRAY << 24, 0, 2, 1, value_bytes)
    sizes = (24, 0, len(types), len(types), len(names))
    return struct.pack("<HBB5I", MAGIC, 1, 0, *sizes) + types + names


def _strided(memory: bytes | mmap.mmap, dtype: "np.dtype[Any]", spec: MapSpec, count: int) -> Array:
    if dtype.itemsize != spec.value_bytes:
        raise TracingError(
            f"values of map {spec.name} have {spec.value_bytes} bytes, not {dtype.itemsize}"
        )
    stride = _rounded_up(spec.value_bytes, VALUE_ALIGNMENT_BYTES)
    return np.ndarray((count,), dtype, buffer=memory, strides=(stride,))


def _rounded_up(size_bytes: int, multiple: int) -> int:
    return -(-size_bytes // multiple) * multiple
