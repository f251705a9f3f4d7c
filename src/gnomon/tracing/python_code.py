"""Code objects of CPython in another process: their names and lines, each read once."""

import struct
from typing import NamedTuple

from gnomon.tracing.process_memory import ProcessMemory, Reading, Span, TornError
from gnomon.tracing.python_layouts import Layout
from gnomon.tracing.python_lines import INSTRUCTION_BYTES, Lines, read_lines

# A process chooses its names; what is longer than this is cut.
LONGEST_FUNCTION_CHARACTERS, LONGEST_FILE_CHARACTERS = 200, 1000
LARGEST_TABLE_BYTES = LARGEST_BYTECODE_BYTES = 1 << 22
MOST_CODES = 1 << 15
# Bits of PyASCIIObject.state in GIL builds: interned 2, kind 3, compact, ascii.
_KIND, _COMPACT, _ASCII = 2, 5, 6
_ENCODINGS = {1: "latin-1", 2: "utf-16-le", 4: "utf-32-le"}


class PythonFrame(NamedTuple):
    """One Python function that is running, and where it is.

    ``function`` is the qualified name from Python 3.11 on, before the bare one. ``line`` is None
    where the compiler put instructions that belong to no line.
    """

    function: str
    file: str
    line: int | None


class Code:
    """A code object as it was read: ``head`` are the bytes that make it known again."""

    def __init__(self, head: bytes, place: tuple[int, int], names: tuple[str, str]) -> None:
        self.head = head
        self.begin, self.size_bytes = place
        self._function, self._file = names
        self.first_line = 0
        self.lines = Lines([], [])
        self.is_internal = False
        self._frames: dict[int, PythonFrame] = {}

    def frame(self, offset: int) -> PythonFrame:
        """The frame whose last instruction began ``offset`` bytes into the bytecode.

        -2 is before the first, of a function that is just being called. Raises TornError where
        there is no instruction.
        """
        found = self._frames.get(offset)
        if found is None:
            if offset % INSTRUCTION_BYTES or not -INSTRUCTION_BYTES <= offset < self.size_bytes:
                raise TornError
            line = self.first_line if offset < 0 else self.lines.at(offset)
            found = self._frames[offset] = PythonFrame(self._function, self._file, line)
        return found


class Codes:
    """The code objects of a process, by address. ``code_type`` is where its PyCode_Type lies."""

    def __init__(self, memory: ProcessMemory, layout: Layout, code_type: int) -> None:
        self._memory, self._layout, self._code_type = memory, layout, code_type
        self._known: dict[int, Code] = {}
        # From the type on: the count of references before it changes all the time.
        fields = (layout.code_filename, layout.code_name, layout.code_lines, layout.code_bytecode)
        last = max(layout.code_first_line, *(fields if layout.has_frame_objects else fields[:3]))
        self._head_bytes = last + 8 - layout.type

    def spans(self, addresses: list[int]) -> list[Span]:
        """What has to be read to know these code objects again."""
        return [(address + self._layout.type, self._head_bytes) for address in addresses]

    def read(self, addresses: list[int]) -> list[Code]:
        """The code objects at these addresses. Raises TornError where one of them is none."""
        if not addresses:
            return []
        data = self._memory.gather(self.spans(addresses))
        step = self._head_bytes
        heads = [data[at : at + step] for at in range(0, len(data), step)]
        found = []
        for address, head in zip(addresses, heads, strict=True):
            code = self._known.get(address)
            if code is None or code.head != head:
                if len(self._known) >= MOST_CODES:
                    self._known.clear()
                code = self._known[address] = self._decode(address, head)
            found.append(code)
        return found

    def _decode(self, address: int, head: bytes) -> Code:
        layout, shift = self._layout, self._layout.type

        def word(offset: int) -> int:
            return int(struct.unpack_from("<Q", head, offset - shift)[0])

        if word(layout.type) != self._code_type:
            raise TornError
        reading = Reading(self._memory)
        names = (
            self._text(reading, word(layout.code_name), LONGEST_FUNCTION_CHARACTERS),
            self._text(reading, word(layout.code_filename), LONGEST_FILE_CHARACTERS),
        )
        if layout.has_frame_objects:
            bytecode = word(layout.code_bytecode)
            begin, size = 0, reading.word(bytecode + layout.size)
        else:
            begin = address + layout.code_bytecode
            size = reading.word(address + layout.size) * INSTRUCTION_BYTES
        if size > LARGEST_BYTECODE_BYTES:
            raise TornError
        code = Code(head, (begin, size), names)
        (code.first_line,) = struct.unpack_from("<i", head, layout.code_first_line - shift)
        table = self._bytes(reading, word(layout.code_lines))
        code.lines = read_lines(layout.line_kind, table, code.first_line)
        # From 3.12 on the interpreter has trampolines of its own, which are in no file.
        code.is_internal = not code.first_line and not any(code.lines.lines)
        return code

    def _bytes(self, reading: Reading, address: int) -> bytes:
        size = reading.word(address + self._layout.size)
        if size > LARGEST_TABLE_BYTES:
            raise TornError
        data, at = reading.find(address + self._layout.bytes_value, size)
        return data[at : at + size]

    def _text(self, reading: Reading, address: int, longest: int) -> str:
        layout = self._layout
        length = reading.word(address + layout.text_length)
        state = reading.word(address + layout.text_state)
        width = state >> _KIND & 7
        if width not in _ENCODINGS or not state >> _COMPACT & 1 or length >= 1 << 32:
            raise TornError
        begin = layout.text_ascii if state >> _ASCII & 1 else layout.text_compact
        size = min(length, longest) * width
        data, at = reading.find(address + begin, size)
        text = data[at : at + size].decode(_ENCODINGS[width], errors="replace")
        # Line feeds and escape sequences would reach terminals and logs.
        cleaned = "".join(sign for sign in text if sign.isprintable())
        return cleaned if length <= longest else f"{cleaned}…"
