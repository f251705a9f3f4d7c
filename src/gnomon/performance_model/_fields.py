"""Reading single fields of a model's config, so that a wrong one is an error that names it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gnomon._errors import ModelError

# The largest value that is still a size and no damage: an order of magnitude and more above any
# model that was ever published.
LARGEST = 1 << 24
LARGEST_LAYERS = 10_000


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one config under their usual names.

    ``renamed`` lists, by usual name, the other names that a family uses. ``defaults`` are the
    values of fields that the config omits; one that is there and null stays null, as it does in
    transformers. ``where`` is the file or model that errors name.
    """

    config: Mapping[str, Any]
    where: str
    defaults: Mapping[str, Any] = field(default_factory=dict)
    renamed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def get(self, key: str) -> Any:
        """Return a field as it stands, of whatever type; None where it is absent."""
        present = [self.config[name] for name in self._names(key) if name in self.config]
        if not present:
            return self.defaults.get(key)
        return next((value for value in present if value is not None), None)

    def count(self, key: str, largest: int = LARGEST) -> int:
        """Return a field that must be a whole number from 1; ModelError where it is not."""
        value = self.optional_count(key, largest=largest)
        if value is None:
            names = " or ".join(self._names(key))
            raise ModelError(f"{self.where} has no {names}: the model cannot be counted without it")
        return value

    def optional_count(self, key: str, least: int = 1, largest: int = LARGEST) -> int | None:
        """Return a whole number from ``least``, or None where it is absent or null."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= largest:
            raise self.wrong(key, f"not a whole number from {least} to {largest:,}")
        return value

    def first_count(self, keys: Iterable[str], least: int = 1) -> int | None:
        """Return the first of several fields that is neither absent nor null, as a whole number."""
        for key in keys:
            value = self.optional_count(key, least)
            if value is not None:
                return value
        return None

    def flag(self, key: str | bool) -> bool:  # noqa: FBT001 - a family knows it, or names the field
        """Return a field that must be true or false; absent and null are false."""
        value = self.get(key) if isinstance(key, str) else key
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.wrong(str(key), "neither true nor false")
        return value

    def number(self, key: str, otherwise: float) -> float:
        """Return a field that must be a number above 0, or ``otherwise`` where it is absent."""
        value = self.get(key)
        if value is None:
            return otherwise
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < LARGEST:
            raise self.wrong(key, "not a number above 0")
        return float(value)

    def listed(self, key: str, kind: type) -> list[Any] | None:
        """Return a list of which each entry is of ``kind``, or None where it is absent or null."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(type(entry) is kind for entry in value):
            raise self.wrong(key, f"not a list of {kind.__name__}")
        return value

    def wrong(self, key: str, because: str) -> ModelError:
        """Return the error that says what a field is and why that cannot be."""
        value = repr(self.get(key))
        short = value if len(value) <= 80 else f"{value[:77]}..."
        present = next((name for name in self._names(key) if name in self.config), key)
        return ModelError(f"{self.where}: {present} is {short}, which is {because}")

    def _names(self, key: str) -> tuple[str, ...]:
        return (key, *self.renamed.get(key, ()))
