"""Names of kernels: as their authors wrote them, short enough to read, and what they are for.

Compilers write a kernel's whole type into its name. ``demangled`` asks the C++ runtime to undo
that, ``short_name`` leaves what tells kernels apart, ``Families`` says by patterns what it is for.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from gnomon._errors import GnomonError
from gnomon.enums import KernelFamily
from gnomon.tracing import native_symbols

# Kernels that run whatever they are given: what that is tells them apart.
GENERIC = re.compile(
    r"(elementwise_kernel\w*|reduce_kernel|multi_tensor_apply_kernel\w*|_kernel_agent"
    r"|distribution_\w+|static_kernel|ForEachKernel|for_each_kernel)$",
    re.IGNORECASE,
)
# Those whose own name says nothing at all.
WRAPPERS = frozenset({"Kernel", "Kernel2", "kernel", "device_kernel", "run", "main_kernel"})
# What stands between such a kernel and what it runs.
_IN_BETWEEN = re.compile(
    r"(enable_\w+|gpu_kernel\w*|ReduceOp|func_wrapper_t|opmath_\w+|(un|de)signed|signed|void|bool"
    r"|char|short|int|long|float|double|half|Half|BFloat16|bfloat16\w*|half_t|__nv_bfloat16|__half"
    r"|u?int\d+_t|size_t|true|false|const|lambda|operator|auto|anonymous|namespace|std|array"
    r"|complex|Float8\w*|tuple|TensorListMetadata|(B|A)UnaryFunctor|BinaryFunctor|UnaryFunctor"
    r"|CompareFunctor|u?l+|u|Array|OffsetCalculator|C|integral_constant)$"
)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
_CLOSED_BY = {"<": ">", "(": ")", "{": "}", "[": "]"}
_AFTER_PARAMETERS = re.compile(r"\s*($|const\b|noexcept\b|\[clone)")
# In a mangled name: references and numbers, which are skipped, and the length of a word.
_LENGTH = re.compile(r"[ST][0-9A-Z]*_|L[a-z]+n?\d+E|E\d*_|([1-9]\d{0,3})", re.ASCII)
_OPERATOR = re.compile(r"operator\s*(\(\)|<=>|<<=|>>=|->\*?|<=|>=|<<|>>|<|>)")


class FamilyError(GnomonError):
    """A file of families that cannot be used; the message names the file and what is wrong."""


def demangled(name: str) -> str:
    """Return a C++ name as it was written; any other, or without a C++ runtime, as it is."""
    return native_symbols.demangled(name.encode()).decode(errors="replace")


@lru_cache(maxsize=4096)
def short_name(name: str) -> str:
    """Return a demangled name without namespaces, template arguments and parameters.

    A kernel that runs whatever it is given has that in brackets: ``reduce_kernel[MaxOps]``.
    """
    if name.startswith("_Z"):
        words = _mangled_words(name)
        if not words:
            return name
        last, inner = words[0], next(filter(_tells, words[1:]), None)
        return _with_inner(last, inner)
    plain = _OPERATOR.sub("operator", name.replace("(anonymous namespace)::", ""))
    parts = _qualified(plain)
    if not parts:
        return name
    last, arguments = parts[-1]
    outer = f"{parts[-2][0]}::" if len(parts) > 1 and last in WRAPPERS else ""
    return _with_inner(f"{outer}{last}", _first_told(arguments))


def _with_inner(name: str, inner: str | None) -> str:
    """Return a kernel's name, of a generic one with what it runs, of a wrapper only that."""
    last = name.rpartition("::")[2]
    if inner is None or not (last in WRAPPERS or GENERIC.search(last)):
        return name
    return inner if last in WRAPPERS else f"{name}[{inner}]"


@dataclass(frozen=True, slots=True)
class Families:
    """Patterns of names and the family of each; the first that is found decides."""

    rules: Sequence[tuple[KernelFamily, re.Pattern[str]]]

    def of(self, name: str) -> KernelFamily:
        """Return the family of a demangled name."""
        for family, pattern in self.rules:
            if pattern.search(name):
                return family
        return KernelFamily.OTHER


def load_families(own: Path | None = None) -> Families:
    """Return the built-in families, behind those of a file of the user's own.

    Raises FamilyError where that file cannot be read or says what is no family or no pattern.
    """
    if own is None:
        return _built_in()
    try:
        text = own.read_text(encoding="utf-8")
    except OSError as error:
        raise FamilyError(f"cannot read kernel families of {own}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FamilyError(f"{own} is not text in UTF-8: {error}") from error
    return Families([*_parsed(text, str(own)), *_built_in().rules])


@cache
def _built_in() -> Families:
    file = resources.files("gnomon.analysis").joinpath("kernel_families.toml")
    return Families(_parsed(file.read_text(encoding="utf-8"), file.name))


def _parsed(text: str, where: str) -> list[tuple[KernelFamily, re.Pattern[str]]]:
    """Read the TOML of a file of families."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FamilyError(f"{where} is not valid TOML: {error}") from error
    rules = document.get("rules")
    if set(document) != {"rules"} or not isinstance(rules, list):
        raise FamilyError(
            f"{where}: kernel families are [[rules]] with family and patterns, and nothing else"
        )
    return [_rule(rule, where) for rule in rules]


def _rule(rule: Any, where: str) -> tuple[KernelFamily, re.Pattern[str]]:
    if not isinstance(rule, Mapping) or set(rule) != {"family", "patterns"}:
        raise FamilyError(f"{where}: each of [[rules]] has family and patterns, not {rule!r}")
    family, patterns = rule["family"], rule["patterns"]
    if family not in list(KernelFamily):
        known = ", ".join(KernelFamily)
        raise FamilyError(f"{where}: {family!r} is no family of kernels; there are: {known}")
    if not isinstance(patterns, list) or not patterns or not all(map(_is_text, patterns)):
        raise FamilyError(f"{where}: patterns of {family!r} must be a list of texts")
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise FamilyError(f"{where}: pattern {pattern!r} of {family!r}: {error}") from error
    joined = "|".join(f"(?:{pattern})" for pattern in patterns)
    return KernelFamily(family), re.compile(joined, re.IGNORECASE)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _mangled_words(name: str) -> list[str]:
    """Return the names in a mangled one, without those of namespaces, in their order.

    Each word has its length before it, and what another word follows is a namespace.
    """
    words, place = [], 2
    while found := _LENGTH.search(name, place):
        place = found.end()
        if found[1] is not None:
            begin, place = place, place + int(found[1])
            if place <= len(name) and not name[place : place + 1].isdigit():
                words.append(name[begin:place])
    return words


def _qualified(name: str) -> list[tuple[str, str]]:
    """Take a function's name apart at ``::``: each part with its template arguments.

    What is before the name (a return type) and after it (parameters) is left out.
    """
    parts: list[tuple[str, str]] = []
    word, arguments = "", ""
    place = 0
    while place < len(name):
        letter = name[place]
        if letter in _CLOSED_BY:
            end = _closing(name, place)
            if letter == "(" and word and _AFTER_PARAMETERS.match(name, end + 1):
                break
            arguments = name[place + 1 : end] if letter == "<" else arguments
            place = end
        elif letter == ":":
            parts += [(word, arguments)] if word else []
            word, arguments = "", ""
        elif letter.isspace():
            parts, word, arguments = [], "", ""
        elif letter.isidentifier() or letter.isdigit() or letter == "~":
            word += letter
        place += 1
    return [*parts, (word, arguments)] if word else parts


def _closing(name: str, begin: int) -> int:
    """Return where the bracket that opens at ``begin`` closes; the end where it does not.

    Within parentheses ``>`` is a comparison.
    """
    opened: list[str] = []
    for place in range(begin, len(name)):
        letter = name[place]
        if letter in _CLOSED_BY:
            opened.append(_CLOSED_BY[letter])
        elif letter == opened[-1]:
            opened.pop()
            if not opened:
                return place
    return len(name)


def _first_told(arguments: str) -> str | None:
    """Return the first name among template arguments that says what is run."""
    for found in _IDENTIFIER.finditer(arguments):
        # A number's suffix ("4u") and a namespace say nothing.
        is_suffix = arguments[: found.start()][-1:].isdigit()
        is_namespace = arguments.startswith("::", found.end())
        if not (is_suffix or is_namespace) and _tells(found[0]):
            return found[0]
    return None


def _tells(word: str) -> bool:
    return not _IN_BETWEEN.match(word)
