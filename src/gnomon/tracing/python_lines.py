"""Which line of its file an instruction of Python stands for: the three tables of CPython.

Bytes that no compiler made give some lines or none, never an error: they are another process's.
"""

from bisect import bisect_right
from itertools import accumulate
from typing import NamedTuple

from gnomon.tracing.python_layouts import LINE_NUMBER_TABLE, LINE_TABLE

INSTRUCTION_BYTES = 2
# Kinds of entries in a location table, Objects/locations.md (code.h in 3.11).
_NO_COLUMNS, _LONG, _NONE = 13, 14, 15
_FIRST_ONE_LINE = 10
_NO_LINE_DELTA = -128


class Lines(NamedTuple):
    """``lines[i]`` is the line (None: none) up to before byte ``ends[i]`` of the bytecode."""

    ends: list[int]
    lines: list[int | None]

    def at(self, offset: int) -> int | None:
        """The line of the instruction ``offset`` bytes into the bytecode."""
        place = bisect_right(self.ends, offset)
        return self.lines[place] if place < len(self.lines) else None


def read_lines(kind: str, table: bytes, first_line: int) -> Lines:
    """The lines of a code object by its packed table, of a kind named in python_layouts."""
    if kind == LINE_NUMBER_TABLE:
        return _line_number_table(table, first_line)
    if kind == LINE_TABLE:
        return _line_table(table, first_line)
    return _location_table(table, first_line)


def _line_number_table(table: bytes, first_line: int) -> Lines:
    """Objects/lnotab_notes.txt of 3.9: pairs (bytes up to here, lines from here on)."""
    offsets = list(accumulate(table[::2]))
    deltas = list(map(_signed, table[1::2]))
    lines = list(accumulate(deltas, initial=first_line))
    # The last line lasts to the end, which the table does not tell.
    return Lines([*offsets[: len(deltas)], 1 << 62], [*lines])


def _line_table(table: bytes, first_line: int) -> Lines:
    """Objects/lnotab_notes.txt of 3.10: pairs (bytes of code, line of these less the last one)."""
    made = Lines([], [])
    end, line = 0, first_line
    for length, delta in zip(table[::2], map(_signed, table[1::2]), strict=False):
        end += length
        line += 0 if delta == _NO_LINE_DELTA else delta
        made.ends.append(end)
        made.lines.append(None if delta == _NO_LINE_DELTA else line)
    return made


def _location_table(table: bytes, first_line: int) -> Lines:
    """PEP 626 and 657 as of 3.11: entries of a byte with the top bit, and bytes without it."""
    made = Lines([], [])
    end, line, at = 0, first_line, 0
    while at < len(table):
        kind = table[at] >> 3 & 15
        end += ((table[at] & 7) + 1) * INSTRUCTION_BYTES
        if kind in {_NO_COLUMNS, _LONG}:
            line += _signed_number(table, at + 1)
        elif _FIRST_ONE_LINE <= kind < _NO_COLUMNS:
            line += kind - _FIRST_ONE_LINE
        made.ends.append(end)
        made.lines.append(None if kind == _NONE else line)
        at += 1
        while at < len(table) and table[at] < 128:
            at += 1
    return made


def _signed_number(table: bytes, at: int) -> int:
    """Six bits a byte, the lowest first; bit 6: more follow. The lowest bit is the sign."""
    value = shift = 0
    for byte in table[at : at + 6]:
        value |= (byte & 63) << shift
        shift += 6
        if not byte & 64:
            break
    return -(value >> 1) if value & 1 else value >> 1


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte
