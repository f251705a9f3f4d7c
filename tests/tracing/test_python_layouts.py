"""Offsets in CPython's structs, against what a compiler makes of CPython's own headers."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from gnomon._errors import TracingError
from gnomon.tracing.python_layouts import (
    DEBUG_OFFSETS_BYTES,
    LAYOUTS,
    WORDS,
    layout_of,
)
from tests.tracing.python_stack_checks import interpreters

FRAME = "_PyInterpreterFrame"
# Field of Layout: (type, member), as of 3.12; in _Py_DebugOffsets: where it stands.
MEMBERS = {
    "interpreters": ("_PyRuntimeState", "interpreters.head", "runtime_state.interpreters_head"),
    "interpreter_next": ("PyInterpreterState", "next", "interpreter_state.next"),
    "interpreter_threads": (
        "PyInterpreterState",
        "threads.head",
        "interpreter_state.threads_head",
    ),
    "thread_next": ("PyThreadState", "next", "thread_state.next"),
    "thread_interpreter": ("PyThreadState", "interp", "thread_state.interp"),
    "thread_frame": ("PyThreadState", "cframe", "thread_state.current_frame"),
    "cframe_frame": ("_PyCFrame", "current_frame", None),
    "thread_id": ("PyThreadState", "thread_id", "thread_state.thread_id"),
    "native_thread_id": ("PyThreadState", "native_thread_id", "thread_state.native_thread_id"),
    "frame_previous": (FRAME, "previous", "interpreter_frame.previous"),
    "frame_code": (FRAME, "f_code", "interpreter_frame.executable"),
    "frame_instruction": (FRAME, "prev_instr", "interpreter_frame.instr_ptr"),
    "frame_owner": (FRAME, "owner", "interpreter_frame.owner"),
    "code_filename": ("PyCodeObject", "co_filename", "code_object.filename"),
    "code_name": ("PyCodeObject", "co_qualname", "code_object.qualname"),
    "code_lines": ("PyCodeObject", "co_linetable", "code_object.linetable"),
    "code_first_line": ("PyCodeObject", "co_firstlineno", "code_object.firstlineno"),
    "code_bytecode": ("PyCodeObject", "co_code_adaptive", "code_object.co_code_adaptive"),
    "text_state": ("PyASCIIObject", "state", "unicode_object.state"),
    "text_length": ("PyASCIIObject", "length", "unicode_object.length"),
    "text_ascii": ("PyASCIIObject", None, "unicode_object.asciiobject_size"),
    "text_compact": ("PyCompactUnicodeObject", None, None),
    "bytes_value": ("PyBytesObject", "ob_sval", "bytes_object.ob_sval"),
    "size": ("PyVarObject", "ob_size", "bytes_object.ob_size"),
    "type": ("PyObject", "ob_type", "pyobject.ob_type"),
}
OLD_MEMBERS = {
    "interpreter_threads": ("PyInterpreterState", "tstate_head"),
    "thread_frame": ("PyThreadState", "frame"),
    "frame_previous": ("PyFrameObject", "f_back"),
    "frame_code": ("PyFrameObject", "f_code"),
    "frame_instruction": ("PyFrameObject", "f_lasti"),
    "code_name": ("PyCodeObject", "co_name"),
    "code_bytecode": ("PyCodeObject", "co_code"),
}
HEADERS = {
    (3, 9): "frameobject.h",
    (3, 10): "frameobject.h",
    (3, 11): "internal/pycore_frame.h",
    (3, 12): "internal/pycore_frame.h",
}


def headers():
    """{version: folder} of the headers that interpreters here have."""
    script = "import sysconfig; print(sysconfig.get_path('include'))"
    for version, command in interpreters().items():
        run = subprocess.run([*command, "-c", script], capture_output=True, text=True, check=True)
        folder = Path(run.stdout.strip())
        if len(command) == 1 and (folder / "internal").is_dir():
            yield tuple(map(int, version.split("."))), folder


def compiled(expressions, includes, folder, built):
    """The values of expressions of C, {name: expression}."""
    lines = "".join(f'printf("{name} %zu\\n", {one});' for name, one in expressions.items())
    wanted = "".join(f"#include <{name}>\n" for name in ["stddef.h", "stdio.h", *includes])
    source = built / "offsets.c"
    source.write_text(f"#define Py_BUILD_CORE 1\n{wanted}int main(void) {{ {lines} }}\n")
    where = [f"-I{folder}", f"-I{folder}/internal"]
    subprocess.run(["gcc", "-w", *where, source, "-o", built / "offsets"], check=True)
    said = subprocess.run([built / "offsets"], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in map(str.split, said.splitlines())}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
@pytest.mark.parametrize(("version", "folder"), [*headers()])
def test_offsets_are_those_of_the_headers(version, folder, tmp_path):
    includes = ["Python.h", "internal/pycore_runtime.h"]
    if version in WORDS:
        expressions = {
            name: f"offsetof(struct _Py_DebugOffsets, {told}) / 8"
            for name, (_, _, told) in MEMBERS.items()
            if told
        }
        assert compiled(expressions, includes, folder, tmp_path) == WORDS[version]
        return
    members = {name: one[:2] for name, one in MEMBERS.items()}
    if version < (3, 11):
        lines = "co_lnotab" if version == (3, 9) else "co_linetable"
        members |= {**OLD_MEMBERS, "code_lines": ("PyCodeObject", lines)}
    known = LAYOUTS[version]._asdict()
    expressions = {
        name: f"offsetof({kind}, {member})" if member else f"sizeof({kind})"
        for name, (kind, member) in members.items()
        if known[name] is not None
    }
    includes += ["internal/pycore_interp.h", HEADERS[version]]

    assert compiled(expressions, includes, folder, tmp_path) == {
        name: known[name] for name in expressions
    }


def described(version, cookie=b"xdebugpy", free_threaded=0):
    major, minor = version
    head = struct.pack("<8sQQ", cookie, major << 24 | minor << 16, free_threaded)
    return head.ljust(DEBUG_OFFSETS_BYTES, b"\0")


@pytest.mark.parametrize(
    ("version", "runtime", "said"),
    [
        ((3, 8), b"", "Python 3.8 cannot be read, only those of 3.9 to 3.15"),
        ((4, 0), b"", "Python 4.0 cannot be read, only those of 3.9 to 3.15"),
        ((3, 13), described((3, 13), cookie=b"12345678"), "does not describe itself"),
        ((3, 13), described((3, 14)), "does not describe itself"),
        ((3, 14), described((3, 14), free_threaded=1), "free-threaded Python 3.14"),
    ],
)
def test_an_interpreter_that_is_not_known_is_refused_by_name(version, runtime, said):
    with pytest.raises(TracingError, match=said):
        layout_of(version, runtime)
