"""BTF, the types of a kernel or of a compiled program, as arrays.

A kernel brings 130,000 types in 5 MB: one walk finds where each begins, and everything else is
looked up on demand. Layout: Documentation/bpf/btf.rst and include/uapi/linux/btf.h of Linux; the
number of members has 24 bits and the kind 7 there since 7.2, and the bits were 0 before.
"""

import struct
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gnomon._errors import TracingError
from gnomon.tracing.refusals import KERNEL_BTF

MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_LAYOUT_HEADER = struct.Struct("<II")
_LAYOUT = np.dtype([("info_bytes", "u1"), ("element_bytes", "u1"), ("flags", "<u2")])
KIND_COUNT = 128
WORD_BYTES = 4
TYPE_WORDS = 3
# Types refer to types; a chain that is longer goes round in circles.
LONGEST_CHAIN = 32
POINTER_BYTES = 8


class Kind(IntEnum):
    """BTF_KIND_*, include/uapi/linux/btf.h."""

    VOID = 0
    INT = 1
    POINTER = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FORWARD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNCTION = 12
    FUNCTION_PROTOTYPE = 13
    VARIABLE = 14
    DATA_SECTION = 15
    FLOAT = 16
    DECLARATION_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


TRANSPARENT = {Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG}
COMPOSITE = {Kind.STRUCT, Kind.UNION}
ENUMERATION = {Kind.ENUM, Kind.ENUM64}
SIZED = {Kind.INT, Kind.FLOAT, Kind.DATA_SECTION} | COMPOSITE | ENUMERATION

# Words after a type's first three: once, and for each member, parameter, enumerator or variable.
_WORDS_ONCE = {Kind.INT: 1, Kind.ARRAY: 3, Kind.VARIABLE: 1, Kind.DECLARATION_TAG: 1}
_WORDS_EACH = {
    Kind.STRUCT: 3,
    Kind.UNION: 3,
    Kind.ENUM: 2,
    Kind.FUNCTION_PROTOTYPE: 2,
    Kind.DATA_SECTION: 3,
    Kind.ENUM64: 3,
}


class Member(NamedTuple):
    """A member of a struct or union; ``bitfield_bits`` is 0 where it is no bit field."""

    name: str
    type_id: int
    offset_bits: int
    bitfield_bits: int


class ArrayType(NamedTuple):
    """An array's element type, and how many of it."""

    element_id: int
    length: int


class Btf:
    """Types by number; 0 is void. ``data`` is the whole of a .BTF section.

    Raises TracingError, which names ``name``, where the data contradict themselves.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        if len(data) < _HEADER.size:
            raise self._broken(f"{len(data)} bytes are too few")
        header = _HEADER.unpack_from(data)
        magic, version, _, header_bytes, types_at, types_bytes, strings_at, strings_bytes = header
        if (magic, version) != (MAGIC, 1):
            raise self._broken(f"it begins with {magic:#x} version {version}")
        self._strings = self._part(data, header_bytes + strings_at, strings_bytes, "strings")
        types = self._part(data, header_bytes + types_at, types_bytes, "types")
        if types_bytes % WORD_BYTES:
            raise self._broken(f"its types have {types_bytes} bytes, no multiple of {WORD_BYTES}")
        self._words = np.frombuffer(types, "<u4")
        self._at = self._walk(*self._layout(data, header_bytes))
        information = self._words[self._at + 1]
        self._names = self._words[self._at]
        self._kinds = (information >> 24) & (KIND_COUNT - 1)
        self._counts = information & 0xFFFFFF
        self._flags = information >> 31
        # A program asks the same again and again; a search through all names takes 1 ms.
        self._found: dict[tuple[int, str], list[int]] = {}
        self._members: dict[int, list[Member]] = {}

    def __len__(self) -> int:
        """How many types there are, without void."""
        return len(self._at)

    def kind(self, type_id: int) -> int:
        """The Kind of a type, or the number of one that is newer than this list."""
        return int(self._kinds[self._index(type_id)]) if type_id else int(Kind.VOID)

    def type_name(self, type_id: int) -> str:
        """A type's own name, "" where it has none."""
        return self.string(int(self._names[self._index(type_id)])) if type_id else ""

    def find(self, kind: int, name: str) -> list[int]:
        """Every type of that kind and name, in order."""
        if (kind, name) not in self._found:
            self._found[kind, name] = self._search(kind, name)
        return self._found[kind, name]

    def _search(self, kind: int, name: str) -> list[int]:
        sought = b"\0" + name.encode() + b"\0"
        found: list[int] = []
        at = self._strings.find(sought)
        while at >= 0 and name:
            matches = (self._names == at + 1) & (self._kinds == kind)
            found += (np.flatnonzero(matches) + 1).tolist()
            at = self._strings.find(sought, at + 1)
        return sorted(found)

    def referred(self, type_id: int) -> int:
        """The type that a pointer, typedef, qualifier, variable or function refers to."""
        return self._word(type_id, 2)

    def underlying(self, type_id: int) -> int:
        """The type behind typedefs and qualifiers."""
        for _ in range(LONGEST_CHAIN):
            if self.kind(type_id) not in TRANSPARENT:
                return type_id
            type_id = self.referred(type_id)
        raise self._broken(f"type {type_id} refers to itself")

    def size_bytes(self, type_id: int) -> int:
        """How much memory a value takes. Raises TracingError for what has no size."""
        count = 1
        for _ in range(LONGEST_CHAIN):
            type_id = self.underlying(type_id)
            kind = self.kind(type_id)
            if kind == Kind.POINTER:
                return count * POINTER_BYTES
            if kind in SIZED:
                return count * self._word(type_id, 2)
            if kind != Kind.ARRAY:
                raise self._broken(f"type {type_id} of kind {kind} has no size")
            type_id, elements = self.array(type_id)
            count *= elements
        raise self._broken(f"array {type_id} holds itself")

    def array(self, type_id: int) -> ArrayType:
        """Element and length of an array type."""
        self._expect(type_id, {Kind.ARRAY})
        return ArrayType(self._word(type_id, 3), self._word(type_id, 5))

    def members(self, type_id: int) -> list[Member]:
        """The members of a struct or union, in order."""
        if type_id not in self._members:
            self._members[type_id] = self._read_members(type_id)
        return self._members[type_id]

    def _read_members(self, type_id: int) -> list[Member]:
        self._expect(type_id, COMPOSITE)
        has_bitfields = self._flags[self._index(type_id)]
        return [
            Member(
                self.string(name),
                member_id,
                offset & 0xFFFFFF if has_bitfields else offset,
                offset >> 24 if has_bitfields else 0,
            )
            for name, member_id, offset in self._elements(type_id, 3)
        ]

    def enumerators(self, type_id: int) -> list[tuple[str, int]]:
        """(name, value) of an enumeration, in order; values as the kernel's 64 bits see them."""
        self._expect(type_id, ENUMERATION)
        is_signed = self.is_signed(type_id)
        if self.kind(type_id) == Kind.ENUM:
            rows = [(name, low, 32) for name, low in self._elements(type_id, 2)]
        else:
            rows = [(name, low | high << 32, 64) for name, low, high in self._elements(type_id, 3)]
        return [
            (self.string(name), value - (1 << bits) if is_signed and value >> (bits - 1) else value)
            for name, value, bits in rows
        ]

    def variables(self, type_id: int) -> list[tuple[str, int]]:
        """(name, type) of the variables of a data section, in order."""
        self._expect(type_id, {Kind.DATA_SECTION})
        return [
            (self.type_name(variable), self.referred(variable))
            for variable, _, _ in self._elements(type_id, 3)
        ]

    def is_signed(self, type_id: int) -> bool:
        """Whether an integer or enumeration is signed; False for all else."""
        kind = self.kind(type_id)
        if kind == Kind.INT:
            return bool(self._word(type_id, 3) >> 24 & 1)
        return kind in ENUMERATION and bool(self._flags[self._index(type_id)])

    def _layout(self, data: bytes, header_bytes: int) -> tuple[list[int], list[int]]:
        """Words after each kind's first three, once and for each element; -1 for unknown kinds.

        A kernel may describe kinds that are newer than this list (Linux 7.1).
        """
        once, each = [-1] * KIND_COUNT, [-1] * KIND_COUNT
        for kind in Kind:
            once[kind], each[kind] = _WORDS_ONCE.get(kind, 0), _WORDS_EACH.get(kind, 0)
        if header_bytes < _HEADER.size + _LAYOUT_HEADER.size:
            return once, each
        if len(data) < _HEADER.size + _LAYOUT_HEADER.size:
            raise self._broken("its header is cut off")
        at, size_bytes = _LAYOUT_HEADER.unpack_from(data, _HEADER.size)
        described = self._part(data, header_bytes + at, size_bytes, "layout")
        count = len(described) // _LAYOUT.itemsize
        table = np.frombuffer(described, _LAYOUT, count)[:KIND_COUNT]
        for newer in range(len(Kind), len(table)):
            once[newer] = int(table["info_bytes"][newer]) // WORD_BYTES
            each[newer] = int(table["element_bytes"][newer]) // WORD_BYTES
        return once, each

    def _walk(self, once: list[int], each: list[int]) -> "npt.NDArray[np.int64]":
        """The word at which each type begins."""
        # A memoryview gives numbers faster than an array, and needs no list of all words.
        words = self._words.data
        end = len(words)
        found: list[int] = []
        at = 0
        while at < end:
            if at + TYPE_WORDS > end:
                raise self._broken(f"type {len(found) + 1} is cut off")
            information = words[at + 1]
            kind = information >> 24 & 127
            if once[kind] < 0:
                raise self._broken(
                    f"type {len(found) + 1} is of kind {kind}, which this version does not know"
                )
            found.append(at)
            at += TYPE_WORDS + once[kind] + (information & 0xFFFFFF) * each[kind]
        if at > end:
            raise self._broken(f"type {len(found)} is cut off")
        return np.array(found, np.int64)

    def _index(self, type_id: int) -> int:
        if not 0 < type_id <= len(self._at):
            raise self._broken(f"it refers to type {type_id} of {len(self._at)}")
        return type_id - 1

    def _word(self, type_id: int, number: int) -> int:
        return int(self._words[self._at[self._index(type_id)] + number])

    def _elements(self, type_id: int, words_each: int) -> list[list[int]]:
        index = self._index(type_id)
        begin = int(self._at[index]) + TYPE_WORDS
        end = begin + int(self._counts[index]) * words_each
        rows: list[list[int]] = self._words[begin:end].reshape(-1, words_each).tolist()
        return rows

    def _expect(self, type_id: int, kinds: set[Kind]) -> None:
        if self.kind(type_id) not in kinds:
            wanted = " or ".join(sorted(kind.name.lower() for kind in kinds))
            raise self._broken(f"type {type_id} is of kind {self.kind(type_id)}, no {wanted}")

    def string(self, offset: int) -> str:
        """The string at ``offset`` of the string section, as .BTF.ext, too, refers to it."""
        end = self._strings.find(b"\0", offset)
        if end < 0:
            raise self._broken(f"a name at {offset} lies outside of its strings")
        return self._strings[offset:end].decode(errors="replace")

    def _part(self, data: bytes, at: int, size_bytes: int, what: str) -> bytes:
        if at + size_bytes > len(data):
            raise self._broken(f"its {what} end at {at + size_bytes}, beyond {len(data)} bytes")
        return data[at : at + size_bytes]

    def _broken(self, what: str) -> TracingError:
        return TracingError(f"cannot read the types of {self.name}: {what}")


def read_kernel_btf(path: Path = KERNEL_BTF) -> Btf:
    """The types of the running kernel. Raises TracingError where it brings none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TracingError(
            f"cannot read the types of this kernel: {error}",
            "use a kernel with CONFIG_DEBUG_INFO_BTF (those of Debian, Ubuntu, RHEL have it)",
        ) from error
    return Btf(data, "the kernel")
