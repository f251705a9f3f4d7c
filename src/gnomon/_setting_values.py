"""What settings may be: parsers that raise ValueError, and the words for what they allow."""

from __future__ import annotations

import math
import re
from pathlib import Path

from gnomon.enums import Counters, CounterSet

SHORTEST_PERIOD_S = 0.01
LONGEST_PERIOD_S = 3600.0
# A PM row is 100 ms long, and a turn's first sample is of no use.
SHORTEST_TURN_S = 0.1
SHORTEST_INTERVAL_S = 20e-6
LONGEST_INTERVAL_S = 1.0
UNLIMITED = "unlimited"

PERIOD = f"a number of seconds from {SHORTEST_PERIOD_S:g} to {LONGEST_PERIOD_S:g}"
TURN = f"a number of seconds from {SHORTEST_TURN_S:g} to {LONGEST_PERIOD_S:g}"
INTERVAL = f"a number of seconds from {SHORTEST_INTERVAL_S:g} to {LONGEST_INTERVAL_S:g}"
SETS = f"some of {', '.join(CounterSet)}, each once, separated by commas"
WHOLE = f'a whole number above 0, or "{UNLIMITED}"'


def seconds(value: object) -> float:
    number = finite(value)
    if not SHORTEST_PERIOD_S <= number <= LONGEST_PERIOD_S:
        raise ValueError
    return number


def turn(value: object) -> float:
    number = seconds(value)
    if number < SHORTEST_TURN_S:
        raise ValueError
    return number


def turn_or_zero(value: object) -> float:
    number = finite(value)
    return number if number == 0 else turn(number)


def interval(value: object) -> float:
    number = finite(value)
    if not SHORTEST_INTERVAL_S <= number <= LONGEST_INTERVAL_S:
        raise ValueError
    return number


def counters(value: object) -> Counters:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004  one exception for "not this kind of value"
    return Counters(value)


def counter_sets(value: object) -> tuple[CounterSet, ...]:
    words = value.split(",") if isinstance(value, str) else value
    if not isinstance(words, list | tuple):
        raise ValueError  # noqa: TRY004  one exception for "not this kind of value"
    sets = tuple(CounterSet(str(word).strip()) for word in words)
    if not sets or len(set(sets)) < len(sets):
        raise ValueError
    return sets


def cost(value: object) -> float:
    number = finite(value)
    if number < 0:
        raise ValueError
    return number


def rows(value: object) -> float:
    number = finite(value)
    if not 10 <= number <= 1_000_000:
        raise ValueError
    return number


def share(value: object) -> float:
    number = finite(value)
    if not 0 < number <= 100:
        raise ValueError
    return number


def limit(value: object) -> int | None:
    if value == UNLIMITED:
        return None
    number = finite(value)
    if number <= 0 or number != int(number):
        raise ValueError
    return int(number)


def finite(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError  # noqa: TRY004  one exception for "not this kind of value"
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def boolean(value: object) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in words:
        raise ValueError
    return words[value.lower()]


def currency(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Z]{3}", value):
        raise ValueError
    return value


def absolute_path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value):
        raise ValueError
    try:
        path = Path(value).expanduser()
    except RuntimeError as error:  # "~nobody" of an unknown user
        raise ValueError from error
    if not path.is_absolute():
        raise ValueError
    return path
