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
    count = positive(facts, "sm_count")
    return None if count is None else int(count)


def name_of(facts: Mapping[str, Any], otherwise: str = "unknown GPU") -> str:
    """Return NVML's name of the device."""
    return str(facts.get("name") or otherwise)


def of_mig_instance(facts: Mapping[str, Any], mig_uuid: str) -> dict[str, Any]:
    """Return the facts of a MIG instance, from those of its GPU (``mig_instances``).

    ``mig_memory_eighths`` is its share of the GPU's memory; SMs and memory of the whole GPU never
    stand in for the instance's own.
    """
    whole = dict(facts)
    instances = whole.pop("mig_instances", None) or {}
    own: dict[str, Any] = dict(instances.get(mig_uuid, {}))
    part, total = positive(own, "vram_total_bytes"), positive(facts, "vram_total_bytes")
    for key in ("sm_count", "vram_total_bytes"):
        whole.pop(key, None)
    eighths = min(8, max(1, round(8 * part / total))) if part and total else None
    return whole | own | {"mig_uuid": mig_uuid, "mig_memory_eighths": eighths}
