"""From the name that NVML gives a GPU to its row in the table.

Names are compared whole, never as prefixes: "NVIDIA A10" begins "NVIDIA A100-SXM4-80GB" and
"NVIDIA A10G", "NVIDIA H20" begins "NVIDIA H200", and a GeForce RTX 4090 Laptop GPU is not a
4090. A name that the table does not have whole is an unknown GPU, whose peaks are computed
from what the device says of itself; that is less exact than the right row and far more exact
than a wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from gnomon.hardware._facts import name_of, positive
from gnomon.hardware.specs import GpuSpec, load

# "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "... MIG 1c.3g.20gb", "... MIG 1g.10gb+me"
_MIG_SUFFIX = re.compile(
    r"\s+MIG\s+(?:\d+c\.)?(?P<slices>\d+)g\.(?P<gigabytes>\d+)gb(?:[+-][a-z.]+)*$", re.IGNORECASE
)


def match(nvml_name: str) -> GpuSpec | None:
    """Return the SKU that NVML calls ``nvml_name``, or None where the table does not have it.

    Upper and lower case, runs of spaces, a missing leading "NVIDIA" (drivers before R470) and
    the suffix of a MIG device make no difference; anything else does.
    """
    return _by_name().get(_normalize(_MIG_SUFFIX.sub("", nvml_name)))


def is_mig(facts: Mapping[str, Any]) -> bool:
    """Tell whether these facts are of a MIG device: by their origin, or by NVML's name."""
    return "mig_uuid" in facts or _MIG_SUFFIX.search(name_of(facts)) is not None


def mig_memory_eighths(facts: Mapping[str, Any], memory_bytes: int | None) -> int | None:
    """Return how many eighths of the GPU's memory a MIG device has; None where it is not told.

    Memory is cut into 8 slices (4 on A30 and RTX PRO 6000, which then are 2 eighths each; NVIDIA
    MIG User Guide); the name of a profile holds their size rounded to gigabytes.
    """
    told = positive(facts, "mig_memory_eighths")
    found = _MIG_SUFFIX.search(name_of(facts))
    if told is not None or found is None or not memory_bytes:
        return None if told is None else int(told)
    return min(8, max(1, round(int(found["gigabytes"]) * 1e9 * 8 / memory_bytes)))


@cache
def _by_name() -> Mapping[str, GpuSpec]:
    return {_normalize(name): spec for spec in load().values() for name in spec.nvml_names}


def _normalize(name: str) -> str:
    return " ".join(name.casefold().split()).removeprefix("nvidia ")
