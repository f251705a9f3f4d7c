"""Checks of what is asked for: every refusal names the option, its value and what is allowed."""

from __future__ import annotations

from gnomon._errors import ModelError

# Beyond these a number is a slip of the keyboard, and its answer would be noise.
MOST_SEQUENCES = 10**7
MOST_TOKENS = 10**9
MOST_GPUS = 10**6


def whole(option: str, value: object, least: int, most: int) -> None:
    """Raise ModelError unless the value is a whole number from ``least`` to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ModelError(
            f"{option} is {value!r}: it must be a whole number from {least} to {most:,}"
        )


def number(option: str, value: object, least: float, most: float) -> None:
    """Raise ModelError unless the value is a number from ``least`` to ``most`` (NaN is none)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ModelError(f"{option} is {value!r}: it must be a number from {least:g} to {most:,}")


def one_of(option: str, value: object, allowed: tuple[object, ...]) -> None:
    """Raise ModelError unless the value is one of those allowed."""
    if value not in allowed:
        names = ", ".join(str(name) for name in allowed)
        raise ModelError(f"{option} is {value!r}: it must be one of {names}")
