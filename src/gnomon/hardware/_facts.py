"""Reading facts that come from a driver or from another machine's file: absent or odd is None."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def positive(facts: Mapping[str, Any], key: str) -> float | None:
    """Return a fact that must be a positive number; None where it is absent or odd."""
    value = facts.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < float("inf") else None


def sm_count(facts: Mapping[str, Any]) -> int | None:
    """Return the SMs of the device; of the instance, for a MIG device."""
    count = positive(facts, "mig_sm_count") or positive(facts, "sm_count")
    return None if count is None else int(count)


def name_of(facts: Mapping[str, Any], otherwise: str = "unknown GPU") -> str:
    """Return NVML's name of the device."""
    return str(facts.get("name") or otherwise)
