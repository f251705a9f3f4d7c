"""What ``dcgmi dmon -e ...`` prints: a line that names the fields, then a line an entity.

It has no times. MIG instances (GPU-I, GPU-CI) have lines of their own, without their GPU.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable

from gnomon.hardware import dcgm_fields
from gnomon.recording.importers.counter_text import (
    Parsed,
    Reading,
    Target,
    WrongFileError,
    is_no_value,
    number,
    take,
)
from gnomon.recording.importers.sink import BadLine

ENTITY = re.compile(r"(GPU|GPU-I|GPU-CI|Switch|CPU|Link)\s+(\d+)\s+(\S.*)", re.IGNORECASE)
TARGETS = {
    field.short_name: Target(field.column, field.factor, is_counter=field.is_counter)
    for field in dcgm_fields.FIELDS
}
PREFERENCE = {field.short_name: at for at, field in enumerate(dcgm_fields.FIELDS)}
# Where dcgmi writes several words for no value, of which each would be a column.
NO_VALUES = re.compile(r"Not (?:Supported|Found|Permissioned)", re.IGNORECASE)


def parse(
    lines: Iterable[str], _zone: dt.tzinfo, columns: tuple[str, ...], unknown: set[str]
) -> Parsed:
    """Yield a reading a line of a GPU. ``columns``: names or ids, for a text without headings.

    Raises WrongFileError where no fields are named.
    """
    names: tuple[str, ...] = _short_names(columns, unknown)
    for number_of_line, line in enumerate(lines, start=1):
        words = line.replace("#", " ").split()
        if words and words[0].lower() == "entity":
            names = _short_names(words[1:], unknown)
            continue
        found = ENTITY.fullmatch(NO_VALUES.sub("N/A", line.strip()))
        if found is None:
            # The line of units, which begins with ID, and empty ones.
            if words and words[0].lower() != "id":
                yield BadLine(number_of_line, "it is no line of an entity (GPU 0 ...)")
            continue
        if not names:
            raise WrongFileError(
                "no line names the fields (#Entity ...); where it was cut away, say them: "
                "--columns 203,1001,1004"
            )
        kind, entity, rest = found.groups()
        if kind.upper() != "GPU":
            unknown.add(f"lines of {kind}")
            continue
        yield _reading(number_of_line, entity, names, rest.split())
    if not names:
        raise WrongFileError("no line names the fields (#Entity ...)")


def _short_names(words: Iterable[str], unknown: set[str]) -> tuple[str, ...]:
    """Return the short name of each field, as it stands where we have no column for it."""
    found = []
    for word in words:
        field = dcgm_fields.find(word)
        found.append(field.short_name if field else word)
        if field is None:
            unknown.add(word)
    return tuple(found)


def _reading(line: int, gpu: str, names: tuple[str, ...], words: list[str]) -> Reading | BadLine:
    if len(words) != len(names):
        return BadLine(line, f"{len(words)} values where {len(names)} fields are named")
    reading = Reading(line, gpu, None, {})
    told = dict(zip(names, words, strict=True))
    try:
        for name in sorted(told.keys() & PREFERENCE.keys(), key=PREFERENCE.__getitem__):
            text, target = told[name], TARGETS[name]
            is_blank = not is_no_value(text) and dcgm_fields.is_blank(_plain(text, target))
            take(reading, target, None if is_blank else number(text, target))
    except ValueError as error:
        return BadLine(line, str(error))
    return reading


def _plain(text: str, target: Target) -> float:
    return number(text, Target(target.column)) or 0.0
