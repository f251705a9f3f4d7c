"""Answers as JSON text of bounded size, in which words of observed programs are marked as data.

An agent reads the answer as a part of its conversation. So every text that an observed program
could choose (names, command lines, phases, messages) is an object of one key, ``from_process``,
and characters that a person would not see are written as escapes. Answers are text and not
structured content: a client that parses JSON into doubles would round Unix nanoseconds.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MARK = "from_process"
LONGEST_TEXT = 300
# Clients cut answers, or refuse them, at some 25,000 tokens; digits take a token every two or
# three characters.
MOST_BYTES = 48_000
# Decimals that no measurement carries cost tokens only, and so does the noise around 0.
SIGNIFICANT_DIGITS = 5
DECIMALS = 6

_INVISIBLE = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})
# A name that can be nothing else: no blanks, so no sentence.
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.:-]{0,63}", re.ASCII)
_LITERAL = re.compile(r"'(?:[^']|'')*'")


def said(text: object) -> dict[str, str] | None:
    """Mark a text as written by an observed program; None stays None."""
    return None if text is None else {MARK: cut(visible(str(text)))}


def named(text: str | None) -> str | dict[str, str] | None:
    """Return a name plainly where it can only be one; else marked as a process's words."""
    return text if text is None or _IDENTIFIER.fullmatch(text) else said(text)


def marked(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of which every text is a name, or marked."""
    return {name: named(value) if isinstance(value, str) else value for name, value in row.items()}


def visible(text: str) -> str:
    """Replace characters that are not seen (controls, directions, tags) by their escapes."""
    return "".join(
        f"\\u{{{ord(letter):x}}}"
        if unicodedata.category(letter) in _INVISIBLE and letter not in "\n\t"
        else letter
        for letter in text
    )


def rewritten(sql: str, is_kept: Callable[[str], bool]) -> str:
    """Return a query that gives the same answer, with texts that are not kept written as bytes."""

    def literal(found: re.Match[str]) -> str:
        text = found[0][1:-1].replace("''", "'")
        return found[0] if is_kept(text) else f"decode(from_hex('{text.encode().hex()}'))"

    return _LITERAL.sub(literal, sql)


def cut(text: str, longest: int = LONGEST_TEXT) -> str:
    if len(text) <= longest:
        return text
    return f"{text[:longest]}… ({len(text) - longest} more characters)"


def dumps(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def plain(value: Any, *, is_exact: bool = False) -> Any:
    """Return what JSON can hold: numbers rounded, what is not a number null, texts visible."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        rounded = round(float(f"{value:.{SIGNIFICANT_DIGITS}g}"), DECIMALS)
        return value if is_exact or not math.isfinite(rounded) else rounded
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible(str(key)): plain(one, is_exact=is_exact) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one, is_exact=is_exact) for one in value]
    return value


@dataclass(frozen=True, slots=True)
class Answer:
    """``facts`` are few; ``lists`` may be long, and are cut at the end, the last of them first.

    ``totals``: how long a list really is, where the tool itself has cut it already.
    ``advice``: how to ask for what was cut. ``is_exact``: numbers of the lists keep every digit.
    """

    facts: Mapping[str, Any]
    lists: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    advice: str = ""
    totals: Mapping[str, int] = field(default_factory=dict)
    is_exact: bool = False

    def text(self, most_bytes: int = MOST_BYTES) -> str:
        """Return JSON of about ``most_bytes`` at most; ``cut`` in it says what is left out."""
        facts = plain(self.facts)
        left = most_bytes - len(dumps(facts).encode())
        shown: dict[str, list[Any]] = {}
        cuts: dict[str, Any] = {}
        for name, items in self.lists.items():
            shown[name] = []
            for item in items:
                ready = plain(item, is_exact=self.is_exact)
                left -= len(dumps(ready).encode()) + 1
                if left < 0:
                    break
                shown[name].append(ready)
            total = self.totals.get(name, len(items))
            if len(shown[name]) < total:
                cuts[name] = {"shown": len(shown[name]), "of": total}
        if cuts:
            cuts["advice"] = self.advice
            facts["cut"] = cuts
        return dumps(facts | shown)
