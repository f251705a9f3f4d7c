"""ELF files against what the dynamic linker made of them."""

import ctypes
import importlib.util
from pathlib import Path

import pytest

from gnomon._errors import TracingError
from gnomon.tracing.elf import Elf
from gnomon.tracing.entry_points import is_emulated


def functions_of(path, names=None):
    with path.open("rb") as file:
        elf = Elf(file, path.name)
        return elf.machine, [(one, elf.first_bytes(one)) for one in elf.functions(names)]


def mapped(path):
    """(begin, end, offset in the file) of each piece of a library in this process."""
    rows = (line.split() for line in Path("/proc/self/maps").read_text().splitlines())
    for row in rows:
        if row[5:] == [str(path)]:
            begin, end = (int(one, 16) for one in row[0].split("-"))
            yield begin, end, int(row[2], 16)


def offset_in_memory(path, handle, name):
    """Where a function lies in its file, by where the dynamic linker put it."""
    address = ctypes.cast(getattr(handle, name), ctypes.c_void_p).value
    return next(
        address - begin + offset for begin, end, offset in mapped(path) if begin <= address < end
    )


def test_functions_lie_where_the_dynamic_linker_finds_them(library):
    path, handle = library
    _, found = functions_of(path, ["probed", "other", "absent"])

    assert {one.name: one.file_offset for one, _ in found} == {
        name: offset_in_memory(path, handle, name) for name in ("probed", "other")
    }
    assert [code[:1].hex() for _, code in found if code[0] == 0x55] == ["55"]


def test_every_function_of_a_stripped_cuda_runtime_is_found_and_cheap_to_probe():
    package = importlib.util.find_spec("nvidia.cuda_runtime")
    if package is None:
        pytest.skip("needs nvidia-cuda-runtime-cu12")
    path = Path(package.submodule_search_locations[0]) / "lib" / "libcudart.so.12"
    handle = ctypes.CDLL(str(path))
    machine, found = functions_of(path)
    exported = [one for one in found if one[0].name.startswith("cuda")]
    emulated = [is_emulated(machine, code) for _, code in exported]

    assert len(exported) > 400
    for one, _ in exported[::20]:
        assert one.file_offset == offset_in_memory(path, handle, one.name)
    # All but one of 421 began with push in CUDA 12.9.
    assert emulated.count(True) >= len(exported) - 2


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        (b"", "header should be 64 bytes"),
        (b"#!/bin/sh\n" * 20, "not a 64-bit little-endian ELF"),
        (b"\x7fELF\x01\x01" + bytes(200), "not a 64-bit little-endian ELF"),
        (b"\x7fELF\x02\x02" + bytes(200), "not a 64-bit little-endian ELF"),
    ],
)
def test_what_is_no_elf_file_is_named(contents, said, tmp_path):
    path = tmp_path / "libstrange.so"
    path.write_bytes(contents)
    with pytest.raises(TracingError, match=f"cannot read libstrange.so: .*{said}"):
        functions_of(path)


def test_a_file_that_is_cut_off_is_named(library, tmp_path):
    path = tmp_path / "libshort.so"
    path.write_bytes(library[0].read_bytes()[:-100])
    with pytest.raises(TracingError, match="beyond its end"):
        functions_of(path)
