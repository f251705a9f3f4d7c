"""What a GPU could do: its peaks, the clocks they hold at, and where the figures come from."""

from gnomon.hardware.matching import match
from gnomon.hardware.profile_types import HardwareProfile
from gnomon.hardware.profiles import profile, sku_facts
from gnomon.hardware.specs import DTYPES, GpuSpec, load, lookup

__all__ = [
    "DTYPES",
    "GpuSpec",
    "HardwareProfile",
    "load",
    "lookup",
    "match",
    "profile",
    "sku_facts",
]
