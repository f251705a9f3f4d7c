# ruff: noqa: INP001 - a program beside what it reads, no package
"""Print src/gnomon/tracing/layouts.py, made from the compiled types of layout.h.

Run by `make -C bpf layouts`.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from gnomon.tracing.btf import Btf, Kind
from gnomon.tracing.elf import Elf

HEAD = '''"""The types that programs in the kernel and Python share, as numpy sees them.

Made from bpf/layout.h, where each field is explained, by `make -C bpf layouts`: do not edit.
Times are nanoseconds of CLOCK_MONOTONIC; tid and pid are those of the root namespace.
"""

from enum import IntEnum

import numpy as np

'''


def read_types(path: Path) -> Btf:
    """The types of an object file."""
    with path.open("rb") as file:
        elf = Elf(file, str(path))
        return Btf(elf.data(elf.section(".BTF")), str(path))


def numpy_type(btf: Btf, type_id: int) -> tuple[str, str]:
    """(source text of the element's type, of the array's shape or "")."""
    type_id = btf.underlying(type_id)
    if btf.kind(type_id) == Kind.ARRAY:
        element, count = btf.array(type_id)
        text, _ = numpy_type(btf, element)
        if text == '"|u1"':
            return f'"S{count}"', ""
        return text, str(count)
    if btf.kind(type_id) == Kind.STRUCT:
        return btf.type_name(type_id).upper(), ""
    size = btf.size_bytes(type_id)
    letter = "i" if btf.is_signed(type_id) else "u"
    return f'"{"|" if size == 1 else "<"}{letter}{size}"', ""


def fields(btf: Btf, type_id: int) -> list[str]:
    """A line of source for each member; a record's head is spread out. Fails on padding."""
    lines, at = [], 0
    for member in btf.members(type_id):
        if member.offset_bits != at * 8:
            raise SystemExit(f"{btf.type_name(type_id)}.{member.name}: padded; order the members")
        at += btf.size_bytes(member.type_id)
        if member.name == "record":
            lines += fields(btf, btf.underlying(member.type_id))
            continue
        text, shape = numpy_type(btf, member.type_id)
        lines.append(f'("{member.name}", {text}{f", {shape}" if shape else ""})')
    if at != btf.size_bytes(type_id):
        raise SystemExit(f"{btf.type_name(type_id)}: padded at its end")
    return lines


def struct_source(btf: Btf, type_id: int) -> str:
    """An assignment of the dtype."""
    name = btf.type_name(type_id).upper()
    lines = fields(btf, type_id)
    return "".join(
        [f"{name} = np.dtype(\n    [\n", *(f"        {line},\n" for line in lines), "    ]\n)\n"]
    )


def enum_source(btf: Btf, type_id: int) -> str:
    """A class, or plain constants for sizes."""
    name = btf.type_name(type_id)
    rows = [f"{word} = {value}\n" for word, value in btf.enumerators(type_id)]
    if name == "size":
        return "".join(rows)
    words = "".join(part.capitalize() for part in name.split("_"))
    return "".join([f"\n\nclass {words}(IntEnum):\n", *(f"    {row}" for row in rows)])


def source(btf: Btf) -> str:
    """The whole module."""
    shared = btf.underlying(btf.referred(btf.find(Kind.VARIABLE, "shared")[0]))
    types = [btf.underlying(member.type_id) for member in btf.members(shared)]
    enums = [enum_source(btf, one) for one in types if btf.kind(one) == Kind.ENUM]
    structs = [struct_source(btf, one) for one in types if btf.kind(one) == Kind.STRUCT]
    argument = struct_source(btf, btf.find(Kind.STRUCT, "argument")[0])
    return "".join([HEAD, *enums, "\n\n", argument, *structs])


if __name__ == "__main__":
    sys.stdout.write(source(read_types(Path(sys.argv[1]))))
