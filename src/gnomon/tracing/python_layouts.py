"""Where CPython keeps what its stacks are told from, by version: GIL builds, 64 bits.

From 3.13 on the interpreter says so itself: _PyRuntime begins with struct _Py_DebugOffsets
(Include/internal/pycore_runtime.h, pycore_debug_offsets.h since 3.14), of which every version has
its own order. Before, the offsets are those that a compiler gives for the structs named below;
they did not change between the patch releases of a version. All are bytes unless said otherwise.
"""

import struct
from collections.abc import Mapping
from typing import NamedTuple

from gnomon._errors import TracingError

Version = tuple[int, int]

COOKIE = b"xdebugpy"
LINE_NUMBER_TABLE, LINE_TABLE, LOCATION_TABLE = "lnotab", "linetable", "locations"


class Layout(NamedTuple):
    """Offsets of the fields in their structs; names as CPython's, where they are not spelt out.

    ``thread_frame`` leads to the innermost frame, through a _PyCFrame where ``cframe_frame`` is
    its place in there. Frames are objects up to 3.10. ``native_thread_id`` came with 3.11;
    ``frame_owner`` too. ``code_bytecode`` is where the bytecode begins, from 3.11 in the code
    object, before in a bytes object of its own. ``line_kind`` is how ``code_lines`` is packed.
    """

    line_kind: str
    interpreters: int  # _PyRuntimeState
    interpreter_next: int  # PyInterpreterState
    interpreter_threads: int
    thread_next: int  # PyThreadState
    thread_interpreter: int
    thread_frame: int
    cframe_frame: int | None  # _PyCFrame
    thread_id: int
    native_thread_id: int | None
    frame_previous: int  # PyFrameObject, _PyInterpreterFrame
    frame_code: int
    frame_instruction: int
    frame_owner: int | None
    code_filename: int  # PyCodeObject
    code_name: int
    code_lines: int
    code_first_line: int
    code_bytecode: int
    text_state: int  # PyASCIIObject
    text_length: int
    text_ascii: int  # where the characters begin if all are ASCII
    text_compact: int  # and if not
    bytes_value: int = 32  # PyBytesObject
    size: int = 16  # PyVarObject.ob_size
    type: int = 8  # PyObject.ob_type

    @property
    def has_frame_objects(self) -> bool:
        """Whether frames are objects, with an index of the last instruction (up to 3.10)."""
        return self.frame_owner is None


_LAYOUT_3_9 = Layout(
    line_kind=LINE_NUMBER_TABLE,
    interpreters=32,
    interpreter_next=0,
    interpreter_threads=8,
    thread_next=8,
    thread_interpreter=16,
    thread_frame=24,
    cframe_frame=None,
    thread_id=176,
    native_thread_id=None,
    frame_previous=24,
    frame_code=32,
    frame_instruction=104,
    frame_owner=None,
    code_filename=104,
    code_name=112,
    code_lines=120,
    code_first_line=40,
    code_bytecode=48,
    text_state=32,
    text_length=16,
    text_ascii=48,
    text_compact=72,
)
_LAYOUT_3_11 = _LAYOUT_3_9._replace(
    line_kind=LOCATION_TABLE,
    interpreters=40,
    interpreter_threads=16,
    thread_frame=56,
    cframe_frame=8,
    thread_id=152,
    native_thread_id=160,
    frame_previous=48,
    frame_instruction=56,
    frame_owner=69,
    code_filename=112,
    code_name=128,  # co_qualname
    code_lines=136,
    code_first_line=72,
    code_bytecode=184,
)
LAYOUTS: Mapping[Version, Layout] = {
    (3, 9): _LAYOUT_3_9,
    (3, 10): _LAYOUT_3_9._replace(line_kind=LINE_TABLE, frame_instruction=96),
    (3, 11): _LAYOUT_3_11,
    (3, 12): _LAYOUT_3_11._replace(
        interpreter_threads=72,
        cframe_frame=0,
        thread_id=136,
        native_thread_id=144,
        frame_previous=8,
        frame_code=0,
        frame_owner=70,
        code_first_line=68,
        code_bytecode=192,
        text_ascii=40,
        text_compact=56,
    ),
}

# Where in _Py_DebugOffsets, in words of 8 bytes, the offset stands that a field of Layout gets.
_WORDS_3_13: Mapping[str, int] = {
    "interpreters": 5,
    "interpreter_next": 8,
    "interpreter_threads": 9,
    "thread_next": 21,
    "thread_interpreter": 22,
    "thread_frame": 23,
    "thread_id": 24,
    "native_thread_id": 25,
    "frame_previous": 29,
    "frame_code": 30,
    "frame_instruction": 31,
    "frame_owner": 33,
    "code_filename": 35,
    "code_name": 37,
    "code_lines": 38,
    "code_first_line": 39,
    "code_bytecode": 43,
    "type": 45,
    "size": 65,
    "bytes_value": 66,
    "text_state": 68,
    "text_length": 69,
    "text_ascii": 70,
}
_WORDS_3_14: Mapping[str, int] = {
    **_WORDS_3_13,
    "thread_next": 24,
    "thread_interpreter": 25,
    "thread_frame": 26,
    "thread_id": 27,
    "native_thread_id": 28,
    "frame_previous": 32,
    "frame_code": 33,
    "frame_instruction": 34,
    "frame_owner": 36,
    "code_filename": 40,
    "code_name": 42,
    "code_lines": 43,
    "code_first_line": 44,
    "code_bytecode": 48,
    "type": 51,
    "size": 75,
    "bytes_value": 76,
    "text_state": 78,
    "text_length": 79,
    "text_ascii": 80,
}
WORDS: Mapping[Version, Mapping[str, int]] = {
    (3, 13): _WORDS_3_13,
    (3, 14): _WORDS_3_14,
    (3, 15): {
        **_WORDS_3_14,
        "thread_id": 30,
        "native_thread_id": 31,
        "frame_previous": 40,
        "frame_code": 41,
        "frame_instruction": 42,
        "frame_owner": 44,
        "code_filename": 48,
        "code_name": 50,
        "code_lines": 51,
        "code_first_line": 52,
        "code_bytecode": 56,
        "type": 59,
        "size": 87,
        "bytes_value": 88,
        "text_state": 90,
        "text_length": 91,
        "text_ascii": 92,
    },
}
VERSION_WORD, FREE_THREADED_WORD = 1, 2
DEBUG_OFFSETS_BYTES = 8 * 93
# No struct of CPython is larger; an offset beyond is none.
LARGEST_STRUCT_BYTES = 1 << 20
# From 3.12 on: utf8_length and utf8 follow PyASCIIObject.
_UTF8_BYTES = 16


def layout_of(version: Version, runtime: bytes) -> Layout:
    """The layout of a running interpreter; ``runtime`` is the beginning of its _PyRuntime.

    Raises TracingError where it is not known.
    """
    if version in LAYOUTS:
        return LAYOUTS[version]
    if version not in WORDS:
        known = [*LAYOUTS, *WORDS]
        raise TracingError(
            f"stacks of Python {_dotted(version)} cannot be read, only those of "
            f"{_dotted(min(known))} to {_dotted(max(known))}",
            "use a newer gnomon" if version > max(known) else "use a newer Python",
        )
    words = struct.unpack_from(f"<{DEBUG_OFFSETS_BYTES // 8}Q", runtime)
    told = (words[VERSION_WORD] >> 24, words[VERSION_WORD] >> 16 & 0xFF)
    if not runtime.startswith(COOKIE) or told != version:
        raise TracingError(f"Python {_dotted(version)} does not describe itself as it should")
    if words[FREE_THREADED_WORD]:
        raise TracingError(
            f"stacks of the free-threaded Python {_dotted(version)} cannot be read",
            "use the build with the global interpreter lock to see them",
        )
    fields = {name: words[word] for name, word in WORDS[version].items()}
    if max(fields.values()) >= LARGEST_STRUCT_BYTES:
        raise TracingError(f"Python {_dotted(version)} does not describe itself as it should")
    compact = fields["text_ascii"] + _UTF8_BYTES
    return LAYOUTS[3, 12]._replace(**fields, cframe_frame=None, text_compact=compact)


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
