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


def mig_memory_eighths(nvml_name: str, memory_bytes: int) -> int | None:
    """Return how many eighths of the device's memory a MIG device's name says it has.

    Memory is cut into 8 slices (4 on A30 and RTX PRO 6000, which then are 2 eighths each; NVIDIA
    MIG User Guide); the name holds their size rounded down to gigabytes. None where the name is
    not of a MIG device.
    """
    found = _MIG_SUFFIX.search(nvml_name)
    if found is None:
        return None
    return min(8, max(1, round(int(found["gigabytes"]) * 1e9 * 8 / memory_bytes)))


def is_mig(nvml_name: str) -> bool:
    """Tell whether NVML gives this name to a MIG device."""
    return _MIG_SUFFIX.search(nvml_name) is not None


@cache
def _by_name() -> Mapping[str, GpuSpec]:
    return {_normalize(name): spec for spec in load().values() for name in spec.nvml_names}


def _normalize(name: str) -> str:
    return " ".join(name.casefold().split()).removeprefix("nvidia ")
