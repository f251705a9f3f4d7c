"""Where in a process its Python interpreter is: by the variables that the interpreter exports."""

import contextlib
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from gnomon._errors import TracingError
from gnomon.tracing.elf import DYNSYM, SYMBOL, Elf
from gnomon.tracing.mappings import Mapping, open_mapped, read_mappings
from gnomon.tracing.process_memory import ProcessMemory, TornError
from gnomon.tracing.python_layouts import Version

VARIABLE = 1  # STT_OBJECT
PYTHON_FILE = re.compile(r"/(?:lib)?python(3)(?:\.(\d+))?[^/]*$")
RUNTIME, CODE_TYPE, FRAME_TYPE, VERSION = "_PyRuntime", "PyCode_Type", "PyFrame_Type", "Py_Version"


class NoPythonError(TracingError):
    """A process has no Python in it."""


class Found(NamedTuple):
    """An interpreter in a process: its version, and where its symbols lie in memory."""

    version: Version
    addresses: dict[str, int]


def find_python(pid: int) -> Found:
    """The interpreter of a process.

    Raises NoPythonError where there is none, TracingError where the process cannot be read.
    """
    mappings = read_mappings(pid)
    for mapping in _candidates(pid, mappings):
        try:
            with open_mapped(pid, mapping) as file:
                elf = Elf(file, mapping.path)
                addresses = _addresses(elf, {RUNTIME, CODE_TYPE, FRAME_TYPE, VERSION})
                bias = elf.load_bias(
                    mapping.begin, mapping.offset, is_executable=mapping.is_executable
                )
        except (OSError, TracingError):
            continue
        if bias is None or not {RUNTIME, CODE_TYPE} <= addresses.keys():
            continue
        placed = {name: address + bias for name, address in addresses.items()}
        return Found(_version(pid, mapping.path, placed), placed)
    raise NoPythonError(f"process {pid} has no Python in it, or none whose file can be read")


def _candidates(pid: int, mappings: list[Mapping]) -> list[Mapping]:
    """The first mappings of files that may hold an interpreter: a library before the program."""
    program = set()
    with contextlib.suppress(OSError):
        program.add(Path(f"/proc/{pid}/exe").stat().st_ino)
    first: dict[tuple[str, int], Mapping] = {}
    for mapping in mappings:
        if PYTHON_FILE.search(mapping.path) or mapping.inode in program:
            first.setdefault((mapping.device, mapping.inode), mapping)
    return sorted(first.values(), key=lambda one: "/libpython" not in one.path)


def _addresses(elf: Elf, names: Collection[str]) -> dict[str, int]:
    """Where the file's variables of these names lie; extensions need them, so they are exported."""
    found: dict[str, int] = {}
    for section in elf.sections:
        if section.kind == DYNSYM:
            symbols = elf.records(section, SYMBOL)
            symbols = symbols[(symbols["info"] & 15 == VARIABLE) & (symbols["section"] != 0)]
            rows = zip(elf.symbol_names(section, symbols), symbols["value"].tolist(), strict=True)
            found |= {name: value for name, value in rows if name in names}
    return found


def _version(pid: int, path: str, addresses: dict[str, int]) -> Version:
    """(major, minor) as Py_Version says (3.11 on), else as the file is called."""
    if VERSION in addresses:
        try:
            told = ProcessMemory(pid).read(addresses[VERSION], 4)
        except TornError as error:
            raise TracingError(f"the memory of process {pid} is gone") from error
        return told[3], told[2]
    named = PYTHON_FILE.search(path)
    if named and named[2]:
        return int(named[1]), int(named[2])
    raise TracingError(f"{path} in process {pid} does not say which version of Python it is")
