"""A compiled object: its maps, programs, constants and what each instruction refers to.

Nothing here talks to the kernel. Objects are compiled by clang for the BPF target: maps described
by types in the section .maps, one section a kind of program, no functions outside of them.
Conventions: Documentation/bpf/libbpf/program_types.rst and Documentation/bpf/llvm_reloc.rst.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gnomon._errors import TracingError
from gnomon.tracing.btf import Btf, Kind
from gnomon.tracing.core_records import CoreRecord, read_core_records
from gnomon.tracing.elf import (
    BPF,
    EXECUTABLE_SECTION,
    FUNCTION,
    REL,
    RELOCATION,
    SYMBOL,
    SYMTAB,
    Elf,
    Section,
)
from gnomon.tracing.relocations import INSTRUCTION_BYTES

MAPS = ".maps"
CONSTANTS = ".rodata"
DATA_PREFIXES = (CONSTANTS, ".data", ".bss")
UNDEFINED = 0  # SHN_UNDEF
WEAK = 2  # STB_WEAK
MAP_NUMBERS = {
    "type": "kind",
    "key_size": "key_bytes",
    "value_size": "value_bytes",
    "max_entries": "entries",
    "map_flags": "flags",
}


@dataclass
class MapSpec:
    """A map to make; ``entries`` may be changed before loading. ``kind`` is enum bpf_map_type."""

    name: str
    kind: int = 0
    key_bytes: int = 0
    value_bytes: int = 0
    entries: int = 0
    flags: int = 0


class MapReference(NamedTuple):
    """The instruction at byte ``at`` of a program loads the address of a map."""

    at: int
    name: str


class DataReference(NamedTuple):
    """The instruction at byte ``at`` loads an address ``offset_bytes`` into a data section."""

    at: int
    section: str
    offset_bytes: int


class FunctionReference(NamedTuple):
    """The instruction at byte ``at`` calls or asks for a function of the kernel.

    ``weak_number`` is None where the program cannot do without it.
    """

    at: int
    name: str
    weak_number: int | None


Reference = MapReference | DataReference | FunctionReference


class ProgramSpec(NamedTuple):
    """A program as compiled. ``at`` in ``references`` and ``core`` counts from its beginning."""

    name: str
    section: str
    code: bytes
    references: list[Reference]
    core: list[CoreRecord]


class Symbol(NamedTuple):
    """An entry of the symbol table."""

    name: str
    kind: int
    is_weak: bool
    section: int
    value: int
    size_bytes: int


class ObjectFile:
    """A parsed object. ``data`` holds global variables by section, and may be changed.

    Raises TracingError, which names the file, where it is not such an object or is damaged.
    """

    def __init__(self, contents: bytes, name: str) -> None:
        self.name = name
        elf = Elf(io.BytesIO(contents), name)
        if elf.machine != BPF:
            raise self._broken(f"it is for machine {elf.machine}, not BPF")
        self.btf = Btf(self._required(elf, ".BTF"), name)
        self.license = self._required(elf, "license").rstrip(b"\0")
        self._symbols = self._read_symbols(elf)
        self._sections = elf.sections
        self.data = {
            section.name: bytearray(elf.data(section))
            for section in elf.sections
            if section.name.startswith(DATA_PREFIXES) and section.size_bytes
        }
        self.maps = {spec.name: spec for spec in self._read_maps()}
        self.programs = {spec.name: spec for spec in self._read_programs(elf)}

    def set_constant(self, name: str, value: int | bytes) -> None:
        """Give a `const volatile` variable its value before the program is loaded.

        The verifier takes it for granted and drops the code that it rules out.
        Raises TracingError for an unknown name, or a value that does not fit.
        """
        symbol = next((symbol for symbol in self._symbols if symbol.name == name), None)
        section = "" if symbol is None else self._section_name(symbol.section)
        if symbol is None or section not in self.data or not section.startswith(CONSTANTS):
            raise TracingError(f"{self.name} has no constant {name}")
        try:
            sign = isinstance(value, int) and value < 0
            given = (
                value.to_bytes(symbol.size_bytes, "little", signed=sign)
                if isinstance(value, int)
                else value
            )
        except OverflowError:
            given = b""
        end = symbol.value + symbol.size_bytes
        if len(given) != symbol.size_bytes or end > len(self.data[section]):
            raise TracingError(
                f"constant {name} of {self.name} takes {symbol.size_bytes} bytes, not {value!r}"
            )
        self.data[section][symbol.value : end] = given

    def _read_symbols(self, elf: Elf) -> list[Symbol]:
        table = next((section for section in elf.sections if section.kind == SYMTAB), None)
        if table is None:
            raise self._broken("it has no symbols")
        records = elf.records(table, SYMBOL)
        columns = (records[name].tolist() for name in ("info", "section", "value", "size"))
        return [
            Symbol(name, info & 15, info >> 4 == WEAK, section, value, size)
            for name, info, section, value, size in zip(
                elf.symbol_names(table, records), *columns, strict=True
            )
        ]

    def _read_maps(self) -> Iterator[MapSpec]:
        for section in self.btf.find(Kind.DATA_SECTION, MAPS):
            for name, type_id in self.btf.variables(section):
                yield self._map(name, type_id)

    def _map(self, name: str, type_id: int) -> MapSpec:
        """A map from the members of its anonymous struct.

        Numbers are lengths of arrays pointed to; keys and values are types pointed to.
        """
        spec = MapSpec(name)
        for member in self.btf.members(self.btf.underlying(type_id)):
            pointed = self.btf.referred(self.btf.underlying(member.type_id))
            if member.name in MAP_NUMBERS:
                number = self.btf.array(self.btf.underlying(pointed)).length
                setattr(spec, MAP_NUMBERS[member.name], number)
            elif member.name == "key":
                spec.key_bytes = self.btf.size_bytes(pointed)
            elif member.name == "value":
                spec.value_bytes = self.btf.size_bytes(pointed)
            else:
                raise self._broken(f"map {name} asks for {member.name!r}, which is not supported")
        return spec

    def _read_programs(self, elf: Elf) -> Iterator[ProgramSpec]:
        extension = elf.section(".BTF.ext")
        core = read_core_records(b"" if extension is None else elf.data(extension), self.btf)
        relocations = {section.info: section for section in elf.sections if section.kind == REL}
        for section in elf.sections:
            if not section.flags & EXECUTABLE_SECTION or not section.size_bytes:
                continue
            code = elf.data(section)
            table = relocations.get(section.number)
            references = [] if table is None else self._references(elf, table)
            for symbol in self._symbols:
                if symbol.kind == FUNCTION and symbol.section == section.number:
                    yield self._program(symbol, section, code, references, core)

    def _program(
        self,
        symbol: Symbol,
        section: Section,
        code: bytes,
        references: list[Reference],
        core: dict[str, list[CoreRecord]],
    ) -> ProgramSpec:
        begin, end = symbol.value, symbol.value + symbol.size_bytes
        if begin % INSTRUCTION_BYTES or end % INSTRUCTION_BYTES or not begin < end <= len(code):
            raise self._broken(f"program {symbol.name} lies outside of section {section.name}")
        return ProgramSpec(
            symbol.name,
            section.name,
            code[begin:end],
            [one._replace(at=one.at - begin) for one in references if begin <= one.at < end],
            [
                record._replace(at=record.at - begin)
                for record in core.get(section.name, [])
                if begin <= record.at < end
            ],
        )

    def _references(self, elf: Elf, table: Section) -> list[Reference]:
        rows = elf.records(table, RELOCATION)
        return [
            self._reference(at, information >> 32)
            for at, information in zip(rows["offset"].tolist(), rows["info"].tolist(), strict=True)
        ]

    def _reference(self, at: int, symbol_index: int) -> Reference:
        if symbol_index >= len(self._symbols):
            raise self._broken(f"a relocation refers to symbol {symbol_index}")
        symbol = self._symbols[symbol_index]
        section = self._section_name(symbol.section)
        if section == MAPS and symbol.name in self.maps:
            return MapReference(at, symbol.name)
        if section in self.data:
            return DataReference(at, section, symbol.value)
        if symbol.section == UNDEFINED and symbol.name:
            return FunctionReference(at, symbol.name, symbol_index if symbol.is_weak else None)
        raise self._broken(
            f"byte {at} refers to {symbol.name or section!r}, which is no map, global variable or "
            "function of the kernel (functions of its own have to be inlined)"
        )

    def _section_name(self, index: int) -> str:
        return self._sections[index].name if index < len(self._sections) else ""

    def _required(self, elf: Elf, name: str) -> bytes:
        section = elf.section(name)
        if section is None:
            raise self._broken(f"it has no section {name}")
        return elf.data(section)

    def _broken(self, what: str) -> TracingError:
        return TracingError(f"cannot read {self.name}: {what}", "reinstall gnomon")


def read_object(path: Path) -> ObjectFile:
    """The object at ``path``. Raises TracingError where it cannot be read."""
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise TracingError(f"cannot read {path}: {error}", "reinstall gnomon") from error
    return ObjectFile(contents, path.name)
