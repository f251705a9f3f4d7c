"""Names of functions at the addresses of a process, from the symbol tables of its files.

Code that was made at run time, by a JIT compiler, lies in no file and has no name here.
"""

import ctypes
import io
import os
import re
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from gnomon._errors import TracingError
from gnomon.tracing.elf import DYNSYM, SYMBOL, SYMTAB, Elf
from gnomon.tracing.mappings import Mapping, open_mapped, read_mappings

FUNCTION_KINDS = (2, 10)  # STT_FUNC, STT_GNU_IFUNC
VDSO = "[vdso]"
MOST_LIBRARIES, MOST_PROCESSES, MOST_NAMES = 64, 64, 1 << 15
LONGEST_SYMBOL_BYTES, LONGEST_NAME_CHARACTERS = 1000, 300
# References to earlier parts of a mangled name. Two of them can double what is printed, so that a
# name of 250 bytes makes 570 MB; with 16 it stays below 400 times the name's.
REFERENCE = re.compile(rb"[ST][0-9A-Z]*_")
MOST_REFERENCES = 16
# A library may be loaded where another one was before.
MAPPINGS_LAST_NS = 5_000_000_000
# An address in no file is asked for again and again: not each time is everything read anew.
MAPPINGS_LAST_LEAST_NS = 100_000_000

Key = TypeVar("Key")
Value = TypeVar("Value")
Numbers = npt.NDArray[np.uint64]


class NativeFrame(NamedTuple):
    """What lies at an address. Fields are None where that is not known.

    ``offset`` is in bytes from the beginning of ``symbol``, of the file where there is none.
    ``module`` is the path of the file as the process sees it.
    """

    symbol: str | None
    module: str | None
    offset: int | None


class _Symbols(NamedTuple):
    """Functions of a file by address; ``names_at`` is where in the file their names begin."""

    begins: Numbers
    sizes: Numbers
    names_at: Numbers


class _Process(NamedTuple):
    read_ns: int
    mappings: list[Mapping]
    begins: list[int]


class NativeSymbols:
    """Symbols of files, each read once, whatever the number of processes that have it mapped."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        self._processes: OrderedDict[int, _Process] = OrderedDict()
        self._libraries: OrderedDict[tuple[str, int], _Symbols | None] = OrderedDict()
        self._names: OrderedDict[tuple[str, int, int], str | None] = OrderedDict()

    def frame(self, pid: int, address: int) -> NativeFrame:
        """What lies at ``address`` of process ``pid``. Never raises."""
        mapping = self._mapping(pid, address)
        if mapping is None:
            return NativeFrame(None, None, None)
        in_file = address - mapping.begin + mapping.offset
        try:
            if mapping.path == VDSO:
                found = _vdso_symbol(in_file)
            else:
                found = self._symbol(pid, mapping, in_file) if mapping.inode else None
        except (OSError, TracingError):
            found = None
        symbol, offset = found or (None, in_file)
        return NativeFrame(symbol, mapping.path or None, offset)

    def _mapping(self, pid: int, address: int) -> Mapping | None:
        now_ns = self._clock()
        process = self._processes.get(pid)
        found = _at(process, address)
        age_ns = now_ns - process.read_ns if process else MAPPINGS_LAST_NS
        if age_ns >= (MAPPINGS_LAST_NS if found else MAPPINGS_LAST_LEAST_NS):
            try:
                mappings = read_mappings(pid)
            except TracingError:
                # It has ended: what it had is known still.
                return found
            process = _Process(now_ns, mappings, [one.begin for one in mappings])
            _keep(self._processes, pid, process, MOST_PROCESSES)
            found = _at(process, address)
        return found

    def _symbol(self, pid: int, mapping: Mapping, in_file: int) -> tuple[str, int] | None:
        key = mapping.device, mapping.inode
        if key not in self._libraries:
            # None until it is read: a damaged file is not tried again.
            _keep(self._libraries, key, None, MOST_LIBRARIES)
            with open_mapped(pid, mapping) as file:
                _keep(self._libraries, key, _read_symbols(file, mapping.path), MOST_LIBRARIES)
        symbols = self._libraries[key]
        if symbols is None:
            return None
        place = _covering(symbols, in_file)
        if place is None:
            return None
        begin, name_at = int(symbols.begins[place]), int(symbols.names_at[place])
        name_key = (*key, name_at)
        if name_key not in self._names:
            # The file is not kept open: that would keep its file system from being unmounted.
            with open_mapped(pid, mapping) as file:
                _keep(self._names, name_key, _read_name(file, name_at), MOST_NAMES)
        name = self._names[name_key]
        return (name, in_file - begin) if name else None


def _read_symbols(file: BinaryIO, name: str) -> _Symbols | None:
    """The functions of a file by their offset in it: of .symtab, of .dynsym in stripped ones."""
    elf = Elf(file, name)
    for kind in (SYMTAB, DYNSYM):
        for section in elf.sections:
            if section.kind == kind:
                table = elf.records(section, SYMBOL)
                is_function = np.isin(table["info"] & 15, FUNCTION_KINDS) & (table["section"] != 0)
                table = table[is_function & (table["size"] > 0)]
                offsets, is_mapped = elf.file_offsets(table["value"])
                table, offsets = table[is_mapped], offsets[is_mapped]
                if len(table):
                    order = np.argsort(offsets, kind="stable")
                    names_at = elf.linked(section).offset + table["name"].astype(np.uint64)
                    return _Symbols(offsets[order], table["size"][order], names_at[order])
    return None


def _covering(symbols: _Symbols, in_file: int) -> int | None:
    """The index of the function that spans that offset."""
    place = int(np.searchsorted(symbols.begins, np.uint64(in_file), side="right")) - 1
    if place < 0 or in_file - int(symbols.begins[place]) >= int(symbols.sizes[place]):
        return None
    # Several names of one function stand in the order of the table: the first is taken.
    first = int(np.searchsorted(symbols.begins, symbols.begins[place]))
    return first if in_file - int(symbols.begins[first]) < int(symbols.sizes[first]) else place


def _read_name(file: BinaryIO, at: int) -> str | None:
    file.seek(at)
    raw, end, _ = file.read(LONGEST_SYMBOL_BYTES).partition(b"\0")
    if not end or not raw:
        return None
    name = demangled(raw).decode(errors="replace")
    kept = "".join(sign for sign in name[:LONGEST_NAME_CHARACTERS] if sign.isprintable())
    return kept if len(name) <= LONGEST_NAME_CHARACTERS else f"{kept}…"


def demangled(name: bytes) -> bytes:
    """A C++ name as it is written, by the C++ library that this process has.

    As it is where there is no such library, or where the name could be made to grow without end.
    """
    if not name.startswith(b"_Z") or len(REFERENCE.findall(name)) > MOST_REFERENCES:
        return name
    demangle = _demangler()
    if demangle is None:
        return name
    status = ctypes.c_int(-1)
    made = demangle(name, None, None, ctypes.byref(status))
    if not made:
        return name
    try:
        return ctypes.string_at(made)
    finally:
        ctypes.CDLL(None).free(ctypes.c_void_p(made))


@cache
def _demangler() -> "Callable[..., int | None] | None":
    """__cxa_demangle of the Itanium C++ ABI. pyarrow needs the library too, so it is there."""
    try:
        function = ctypes.CDLL("libstdc++.so.6")["__cxa_demangle"]
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_char_p, *[ctypes.c_void_p] * 3]
    return function


def _vdso_symbol(in_file: int) -> tuple[str, int] | None:
    data, symbols = _vdso()
    place = _covering(symbols, in_file) if symbols else None
    if symbols is None or place is None:
        return None
    name = _read_name(io.BytesIO(data), int(symbols.names_at[place]))
    return (name, in_file - int(symbols.begins[place])) if name else None


@cache
def _vdso() -> tuple[bytes, _Symbols | None]:
    """The kernel's part of a process, which is the same in all of them: this one's is read."""
    mapping = next((one for one in read_mappings(os.getpid()) if one.path == VDSO), None)
    if mapping is None:
        return b"", None
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        memory.seek(mapping.begin)
        data = memory.read(mapping.end - mapping.begin)
    return data, _read_symbols(io.BytesIO(data), VDSO)


def _at(process: _Process | None, address: int) -> Mapping | None:
    if process is None:
        return None
    place = bisect_right(process.begins, address) - 1
    found = process.mappings[place] if place >= 0 else None
    return found if found and address < found.end else None


def _keep(cache_: "OrderedDict[Key, Value]", key: Key, value: Value, most: int) -> None:
    """Remember a value; the oldest is forgotten where there are too many."""
    cache_[key] = value
    cache_.move_to_end(key)
    if len(cache_) > most:
        cache_.popitem(last=False)
