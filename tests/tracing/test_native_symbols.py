"""Names of native functions, against what the dynamic linker says of this process."""

import ctypes
import ctypes.util
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from gnomon.tracing import native_symbols
from gnomon.tracing.mappings import read_mappings
from gnomon.tracing.native_symbols import NativeSymbols

SELF = os.getpid()


class Found(ctypes.Structure):
    """Dl_info of dladdr(3)."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def dladdr(address):
    found = Found()
    ctypes.CDLL(None).dladdr(ctypes.c_void_p(address), ctypes.byref(found))
    return found


def address_of(library, name):
    return ctypes.cast(library[name], ctypes.c_void_p).value


def test_functions_are_found_as_the_dynamic_linker_finds_them(library):
    _, handle = library
    # Not as the program sees it: one that is not relocatable has an entry of its own for malloc.
    libc = ctypes.CDLL("libc.so.6")
    symbols = NativeSymbols()
    for owner, name in [(handle, "probed"), (handle, "other"), (libc, "malloc"), (libc, "qsort")]:
        address = address_of(owner, name)
        frame = symbols.frame(SELF, address + 1)

        assert (frame.symbol, frame.offset) == (dladdr(address).name.decode(), 1) == (name, 1)
        assert Path(frame.module).samefile(dladdr(address).file.decode())
    # Behind the last byte of a function that says how long it is.
    assert symbols.frame(SELF, address_of(handle, "other") + 64).symbol is None


def test_addresses_all_over_this_process_have_the_linkers_names():
    symbols = NativeSymbols()
    named = same = 0
    for mapping in read_mappings(SELF):
        if mapping.is_executable and mapping.inode:
            for address in np.linspace(mapping.begin, mapping.end - 1, 40, dtype=np.uint64):
                told, frame = dladdr(int(address)), symbols.frame(SELF, int(address))
                if frame.symbol and told.name:
                    named += 1
                    # dladdr knows exported names alone; .symtab may have a nearer one.
                    assert told.address <= int(address) - frame.offset
                    same += told.address == int(address) - frame.offset

    assert named > 20
    assert same > named / 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"_ZN3c104cuda18device_synchronizeEv", b"c10::cuda::device_synchronize()"),
        (b"cudaLaunchKernel", b"cudaLaunchKernel"),
        (b"_Znonsense", b"_Znonsense"),
    ],
)
def test_names_of_cxx_are_written_as_in_the_source(name, expected):
    if native_symbols._demangler() is None:
        pytest.skip("needs libstdc++")

    assert native_symbols.demangled(name) == expected


def test_a_name_that_would_grow_without_end_stays_as_it_is():
    # A<A<A<..>, A<..>>, ..> by references: 20 doublings.
    numbers = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    bomb = "_Z1f1AIiiE" + "".join(f"S_IS{one}_S{one}_E" for one in numbers[:20])

    assert native_symbols.demangled(bomb.encode()) == bomb.encode()


def test_the_vdso_and_memory_without_a_file_are_told_apart():
    symbols = NativeSymbols()
    vdso = next((one for one in read_mappings(SELF) if one.path == "[vdso]"), None)
    if vdso is None:
        pytest.skip("this kernel maps no vDSO")
    frames = [symbols.frame(SELF, address) for address in range(vdso.begin, vdso.end, 64)]
    nameless = symbols.frame(SELF, id(symbols))

    assert {frame.module for frame in frames} == {"[vdso]"}
    assert any("clock_gettime" in (frame.symbol or "") for frame in frames)
    assert nameless.symbol is None
    assert symbols.frame(SELF, 8) == (None, None, None)


def test_a_damaged_file_has_no_names(monkeypatch, library):
    def damaged(*_):
        raise native_symbols.TracingError("cannot read it")

    monkeypatch.setattr(native_symbols, "_read_symbols", damaged)
    path, handle = library
    frame = NativeSymbols().frame(SELF, address_of(handle, "probed"))

    assert (frame.symbol, frame.module) == (None, str(path))


def is_of_a_file(mapping):
    return mapping.is_executable and mapping.inode


def test_what_an_ended_process_had_is_known_still():
    symbols = NativeSymbols()
    with subprocess.Popen(["sleep", "60"]) as process:
        # A program is started before the kernel has mapped all of it.
        while not (mapped := [one for one in read_mappings(process.pid) if is_of_a_file(one)]):
            time.sleep(0.01)
        mapping = mapped[0]
        alive = symbols.frame(process.pid, mapping.begin + 64)
        process.kill()
    assert symbols.frame(process.pid, mapping.begin + 64) == alive

    assert alive.module == mapping.path
