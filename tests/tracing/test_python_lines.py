"""Lines of instructions, against what this interpreter says of its own code."""

import ast
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.tracing import python_layouts
from gnomon.tracing.python_lines import read_lines

KINDS = [
    python_layouts.LINE_NUMBER_TABLE,
    python_layouts.LINE_TABLE,
    python_layouts.LOCATION_TABLE,
]


def all_code(code):
    yield code
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield from all_code(one)


def test_every_instruction_of_a_module_has_the_line_that_python_says():
    module = compile(Path(ast.__file__).read_text(), ast.__file__, "exec")
    codes = [*all_code(module)]
    for code in codes:
        lines = read_lines(python_layouts.LOCATION_TABLE, code.co_linetable, code.co_firstlineno)
        for begin, end, line in code.co_lines():
            assert {lines.at(offset) for offset in range(begin, end, 2)} == {line}

    assert len(codes) > 100


@pytest.mark.parametrize(
    ("kind", "table", "expected"),
    [
        # Objects/lnotab_notes.txt of CPython 3.9: its own example, and a step back.
        ("lnotab", [0, 1, 6, 1, 44, 5, 255, 0, 45, 1], {0: 2, 6: 3, 50: 8, 349: 8, 350: 9}),
        ("lnotab", [4, 255], {0: 1, 4: 0}),
        # Objects/lnotab_notes.txt of CPython 3.10: the last is without a line.
        ("linetable", [6, 1, 4, 255, 2, 128, 2, 1], {0: 2, 6: 1, 10: None, 12: 2, 14: None}),
    ],
)
def test_older_tables_are_read_as_their_notes_say(kind, table, expected):
    lines = read_lines(kind, bytes(table), 1)

    assert {offset: lines.at(offset) for offset in expected} == expected


@given(st.sampled_from(KINDS), st.binary(max_size=200), st.integers(0, 1 << 31))
def test_bytes_that_no_compiler_made_do_no_harm(kind, table, first_line):
    lines = read_lines(kind, table, first_line)

    assert lines.ends == sorted(lines.ends)
    lines.at(0)
