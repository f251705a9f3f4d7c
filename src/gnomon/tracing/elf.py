"""ELF files, as far as a tracer needs them: its own objects, and the libraries that it probes.

A file is read piece by piece, each piece checked against the file's size first: libraries are
hundreds of megabytes, may be replaced while they are read, and may be anything at all.
Layouts: System V ABI, chapter 4 (Elf64 only, least significant byte first).
"""

import io
import struct
from collections.abc import Collection
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from gnomon._errors import TracingError

X86_64, AARCH64, BPF = 62, 183, 247  # e_machine
SYMTAB, NOBITS, REL, DYNSYM = 2, 8, 9, 11  # sh_type
EXECUTABLE_SECTION = 4  # SHF_EXECINSTR
LOADED, EXECUTABLE_SEGMENT = 1, 1  # PT_LOAD, PF_X
FUNCTION = 2  # STT_FUNC
PAGE_BYTES = 4096  # the least that a kernel maps
# Instructions of x86-64 are no longer than this.
LONGEST_INSTRUCTION_BYTES = 15

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = np.dtype(
    [
        *(("name", "<u4"), ("kind", "<u4"), ("flags", "<u8"), ("address", "<u8")),
        *(("offset", "<u8"), ("size", "<u8"), ("link", "<u4"), ("info", "<u4")),
        *(("align", "<u8"), ("entry_size", "<u8")),
    ]
)
_KEPT = ("name", "kind", "flags", "offset", "size", "link", "info")
_SEGMENT = np.dtype(
    [
        *(("kind", "<u4"), ("flags", "<u4"), ("offset", "<u8"), ("address", "<u8")),
        *(("physical", "<u8"), ("file_size", "<u8"), ("memory_size", "<u8"), ("align", "<u8")),
    ]
)
SYMBOL = np.dtype(
    [
        *(("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2")),
        *(("value", "<u8"), ("size", "<u8")),
    ]
)
RELOCATION = np.dtype([("offset", "<u8"), ("info", "<u8")])
# Global data of a program is small; a damaged size must not fill the memory.
MOST_ZERO_BYTES = 1 << 24

Records = npt.NDArray[np.void]


class Section(NamedTuple):
    """One section: where it lies in the file, in bytes, and what it belongs to."""

    number: int
    name: str
    kind: int
    flags: int
    offset: int
    size_bytes: int
    link: int
    info: int


class Function(NamedTuple):
    """A function that a library defines; ``file_offset`` is where a uprobe attaches, in bytes."""

    name: str
    file_offset: int
    size_bytes: int


class Elf:
    """An ELF file that stays open as long as its reader keeps ``file`` open.

    Raises TracingError, which names the file, where it is not an Elf64 file or contradicts itself.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        header = _HEADER.unpack(self._read(0, _HEADER.size, "header"))
        if not header[0].startswith(b"\x7fELF\x02\x01"):
            raise self._broken("it is not a 64-bit little-endian ELF file")
        self.machine: int = header[2]
        segments, sections = header[5:7]
        segment_bytes, segment_count, section_bytes, section_count, names_index = header[9:]
        self._segments = self._table(_SEGMENT, segments, segment_bytes, segment_count, "segments")
        raw = self._table(_SECTION, sections, section_bytes, section_count, "sections")
        self.sections = self._named(raw, names_index)

    def section(self, name: str) -> Section | None:
        """The first section of that name, or None."""
        return next((section for section in self.sections if section.name == name), None)

    def data(self, section: Section) -> bytes:
        """The bytes of a section; zeros where the file holds none for it (.bss)."""
        if section.kind != NOBITS:
            return self._read(section.offset, section.size_bytes, f"section {section.name}")
        if section.size_bytes > MOST_ZERO_BYTES:
            raise self._broken(f"section {section.name} asks for {section.size_bytes} bytes")
        return bytes(section.size_bytes)

    def records(self, section: Section, dtype: "np.dtype[np.void]") -> Records:
        """A section as records of ``dtype``, such as SYMBOL or RELOCATION."""
        if section.kind == NOBITS or section.size_bytes % dtype.itemsize:
            raise self._broken(f"section {section.name} is no table of {dtype.itemsize} bytes each")
        return np.frombuffer(self.data(section), dtype)

    def symbol_names(self, section: Section, symbols: Records) -> list[str]:
        """The names of ``symbols`` out of the symbol table ``section``."""
        strings = self.data(self.linked(section))
        return [self._string(strings, offset) for offset in symbols["name"].tolist()]

    def linked(self, section: Section) -> Section:
        """The section that ``section`` refers to: a table's strings, a relocation's symbols."""
        if section.link >= len(self.sections):
            raise self._broken(f"section {section.name} refers to section {section.link}")
        return self.sections[section.link]

    def functions(self, names: Collection[str] | None = None) -> list[Function]:
        """The functions defined here, of ``names`` alone if given, in the order of the file.

        From .dynsym, which stripped libraries keep, and .symtab. A function known under two names
        comes twice, with one ``file_offset``: who attaches to both counts its calls twice.
        """
        found: dict[Function, None] = {}
        for section in self.sections:
            if section.kind in {DYNSYM, SYMTAB}:
                symbols = self.records(section, SYMBOL)
                kept = (symbols["info"] & 15 == FUNCTION) & (symbols["section"] != 0)
                offsets, is_mapped = self.file_offsets(symbols["value"])
                kept &= is_mapped
                rows = zip(
                    self.symbol_names(section, symbols[kept]),
                    offsets[kept].tolist(),
                    symbols["size"][kept].tolist(),
                    strict=True,
                )
                found |= {Function(*row): None for row in rows if names is None or row[0] in names}
        return list(found)

    def first_bytes(self, function: Function) -> bytes:
        """The machine code at a function's entry, up to one instruction's greatest length."""
        wanted = min(LONGEST_INSTRUCTION_BYTES, self._size - function.file_offset)
        return self._read(function.file_offset, wanted, f"function {function.name}")

    def load_bias(self, begin: int, file_offset: int, *, is_executable: bool) -> int | None:
        """What to add to an address of the file, where ``file_offset`` is mapped at ``begin``.

        ``is_executable`` is whether that mapping is. None where nothing is loaded from there.
        """
        for segment in self._segments:
            kind, flags, offset, address, _, file_bytes = segment.item()[:6]
            # The pages in which a segment begins and ends are mapped whole, and so may be mapped
            # once more for its neighbour, whose rights differ.
            is_same = bool(flags & EXECUTABLE_SEGMENT) == is_executable
            if (
                kind == LOADED
                and is_same
                and offset & -PAGE_BYTES <= file_offset < (offset + file_bytes)
            ):
                return begin - file_offset + int(offset) - int(address)
        return None

    def file_offsets(
        self, addresses: "npt.NDArray[np.uint64]"
    ) -> "tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]":
        """(offset in the file of each address, whether executable code of the file lies there)."""
        offsets = np.zeros(len(addresses), np.uint64)
        is_mapped = np.zeros(len(addresses), np.bool_)
        for segment in self._segments:
            if segment["kind"] != LOADED or not segment["flags"] & EXECUTABLE_SEGMENT:
                continue
            # Below the segment the difference wraps round and is larger than any file.
            inside = addresses - segment["address"]
            placed = inside + segment["offset"]
            here = (inside < segment["file_size"]) & (placed >= inside) & (placed < self._size)
            offsets[here] = placed[here]
            is_mapped |= here
        return offsets, is_mapped

    def _named(self, raw: Records, names_index: int) -> list[Section]:
        if len(raw) == 0:
            return []
        if names_index >= len(raw):
            raise self._broken(f"its section names are in section {names_index} of {len(raw)}")
        at = raw[names_index]
        strings = self._read(int(at["offset"]), int(at["size"]), "section names")
        columns = (raw[name].tolist() for name in _KEPT)
        return [
            Section(index, self._string(strings, name), *rest)
            for index, (name, *rest) in enumerate(zip(*columns, strict=True))
        ]

    def _table(
        self, dtype: "np.dtype[np.void]", offset: int, entry_bytes: int, count: int, what: str
    ) -> Records:
        if count and entry_bytes != dtype.itemsize:
            raise self._broken(f"its {what} have {entry_bytes} bytes each, not {dtype.itemsize}")
        return np.frombuffer(self._read(offset, count * dtype.itemsize, what), dtype)

    def _string(self, strings: bytes, offset: int) -> str:
        end = strings.find(b"\0", offset)
        if end < 0:
            raise self._broken(f"a name at {offset} lies outside of its {len(strings)} bytes")
        return strings[offset:end].decode(errors="replace")

    def _read(self, offset: int, size_bytes: int, what: str) -> bytes:
        if offset + size_bytes <= self._size:
            self._file.seek(offset)
            data = self._file.read(size_bytes)
            if len(data) == size_bytes:
                return data
        raise self._broken(f"its {what} should be {size_bytes} bytes at {offset}, beyond its end")

    def _broken(self, what: str) -> TracingError:
        return TracingError(f"cannot read {self.name}: {what}", "reinstall it: the file is damaged")
