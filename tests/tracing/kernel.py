"""What tests on the running kernel share: may they run, objects to load, descriptors, an oracle."""

import ctypes
import errno
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from gnomon._errors import RefusedError
from gnomon.tracing import bpf_syscall
from gnomon.tracing.refusals import KERNEL_BTF, look_around, missing_capabilities

OBJECTS = Path(__file__).parent / "objects"
CLANG = ["clang", "-g", "-O2", "-target", "bpf", "-mcpu=v3", "-Wall", "-D__TARGET_ARCH_x86"]
INCLUDES = Path("/usr/include/x86_64-linux-gnu")
OBJ_GET_INFO_BY_FD, PROG_GET_FD_BY_ID = 15, 13
INFO_BYTES = 256


def _obstacle():
    here = look_around()
    missing = missing_capabilities(here.capabilities, here.kernel)
    if missing:
        return f"needs {' and '.join(missing)}"
    return "" if KERNEL_BTF.exists() else "needs a kernel with BTF"


needs_kernel = pytest.mark.skipif(bool(_obstacle()), reason=_obstacle() or "the kernel will do")


def compile_object(name, folder):
    """The path of tests/tracing/objects/NAME.bpf.c, compiled; skips where there is no clang."""
    if not (shutil.which("clang") and shutil.which("llvm-strip")):
        pytest.skip("needs clang and llvm-strip to compile BPF programs")
    if not Path("/usr/include/bpf/bpf_helpers.h").exists():
        pytest.skip("needs the headers of libbpf-dev")
    made = folder / f"{name}.bpf.o"
    source = OBJECTS / f"{name}.bpf.c"
    subprocess.run([*CLANG, f"-I{INCLUDES}", "-c", source, "-o", made], check=True, timeout=120)
    subprocess.run(["llvm-strip", "-g", made], check=True, timeout=60)
    return made


def open_descriptors():
    """What this process has open, by number."""
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def program_exists(identity):
    """Whether the kernel still has a program of that id."""
    try:
        fd, _ = bpf_syscall._bpf(PROG_GET_FD_BY_ID, struct.pack("<I8x", identity), "open", "it")
    except RefusedError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    os.close(fd)
    return True


def _info(fd, head=b""):
    buffer = ctypes.create_string_buffer(head, INFO_BYTES)
    request = struct.pack("<IIQ", fd, INFO_BYTES, ctypes.addressof(buffer))
    bpf_syscall._bpf(OBJ_GET_INFO_BY_FD, request, "ask about", str(fd))
    return buffer.raw


def identity(fd):
    """The kernel's id of a program or map."""
    return struct.unpack_from("<I", _info(fd), 4)[0]


def instructions(program_fd, maps):
    """A program as it is in the kernel, with names for maps; ``maps`` are descriptors by name."""
    names = {identity(fd): name.rpartition(".")[2] for name, fd in maps.items()}
    size = struct.unpack_from("<I", _info(program_fd), 20)[0]
    code = ctypes.create_string_buffer(size)
    _info(program_fd, struct.pack("<20xI8xQ", size, ctypes.addressof(code)))
    rows = [struct.unpack_from("<BBhi", code.raw, at) for at in range(0, size, 8)]
    return [
        (*row[:3], names[row[3]]) if row[0] == 0x18 and row[1] >> 4 in {1, 2} else row
        for row in rows
    ]


class Libbpf:
    """The distribution's libbpf: what it makes of an object is the truth that ours is held to."""

    def __init__(self, path, programs):
        try:
            self._library = library = ctypes.CDLL("libbpf.so.1", use_errno=True)
        except OSError:
            pytest.skip("needs libbpf 1")
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        self._declare("bpf_object__open_file", pointer, text, pointer)
        self._declare("bpf_object__load", ctypes.c_int, pointer)
        self._declare("bpf_object__close", None, pointer)
        for kind in ("program", "map"):
            self._declare(f"bpf_object__next_{kind}", pointer, pointer, pointer)
            self._declare(f"bpf_{kind}__name", text, pointer)
            self._declare(f"bpf_{kind}__fd", ctypes.c_int, pointer)
        self._declare("bpf_program__set_autoload", ctypes.c_int, pointer, ctypes.c_bool)
        self._declare("bpf_program__section_name", text, pointer)
        self._declare("bpf_program__set_expected_attach_type", ctypes.c_int, pointer, ctypes.c_int)
        self._said = []
        # It prints with C's format and a va_list; the format alone tells what went wrong.
        printer = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, text, pointer)
        self._printer = printer(lambda level, form, values: self._said.append(form) or 0)
        library.libbpf_set_print(self._printer)
        self._object = library.bpf_object__open_file(os.fsencode(path), None)
        assert self._object, self._said[-3:]
        for name, handle in self._each("program"):
            library.bpf_program__set_autoload(handle, name in programs)
            if library.bpf_program__section_name(handle) in {b"uprobe", b"uretprobe"}:
                kind = bpf_syscall.UPROBE_MULTI
                library.bpf_program__set_expected_attach_type(handle, kind)
        assert library.bpf_object__load(self._object) == 0, self._said[-3:]
        self.maps = {name: library.bpf_map__fd(handle) for name, handle in self._each("map")}
        self.programs = {
            name: library.bpf_program__fd(handle) for name, handle in self._each("program")
        }

    def close(self):
        self._library.bpf_object__close(self._object)
        self._library.libbpf_set_print(None)

    def _declare(self, name, result, *arguments):
        function = getattr(self._library, name)
        function.restype, function.argtypes = result, arguments

    def _each(self, kind):
        following = getattr(self._library, f"bpf_object__next_{kind}")
        name = getattr(self._library, f"bpf_{kind}__name")
        handle = None
        while handle := following(self._object, handle):
            yield name(handle).decode(), handle
