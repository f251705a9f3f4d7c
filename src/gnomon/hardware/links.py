"""Line rates of DRAM, PCIe and NVLink; links in one direction, after encoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.hardware._facts import positive
from gnomon.hardware.matching import is_mig
from gnomon.hardware.specs import GpuSpec, Rates

# GT/s per lane x payload share of the encoding / 8 bits. Generations 1 and 2 send 8 bits as 10,
# 3 to 5 send 128 as 130 (PCI Express Base Specification 5.0, 4.2.2); 6 sends 256-byte flits of
# which 242 bytes are left after CRC and FEC (Base Specification 6.0, flit mode).
PCIE_BYTES_PER_S_PER_LANE: Mapping[int, float] = {
    1: 2.5e9 * 8 / 10 / 8,
    2: 5.0e9 * 8 / 10 / 8,
    3: 8.0e9 * 128 / 130 / 8,
    4: 16.0e9 * 128 / 130 / 8,
    5: 32.0e9 * 128 / 130 / 8,
    6: 64.0e9 * 242 / 256 / 8,
}


def dram_bytes_per_s(facts: Mapping[str, Any]) -> float | None:
    """Return the DRAM bandwidth that clock and bus give: two transfers a clock on every bit.

    Within 3 % of the datasheet where both are known (H100 SXM: 2619 MHz x 5120 bit gives 3352
    of 3350 GB/s; H200: 3201 MHz x 6144 bit gives 4917 of 4800).
    """
    clock_mhz, bus_bits = (
        positive(facts, "max_memory_clock_mhz"),
        positive(facts, "memory_bus_bits"),
    )
    if clock_mhz is None or bus_bits is None:
        return None
    return clock_mhz * 1e6 * 2 * bus_bits / 8


def pcie_bytes_per_s(facts: Mapping[str, Any], spec: GpuSpec | None = None) -> float | None:
    """Return the line rate of a GPU's PCIe link in one direction, as configured, else as specified.

    None for an unknown generation. Packet headers come off this still: a large copy reaches 80 to
    90 % of it.
    """
    generation = positive(facts, "pcie_generation_max") or (spec.pcie_generation if spec else 0)
    lanes = positive(facts, "pcie_lanes_max") or (spec.pcie_lanes if spec else 0)
    per_lane = PCIE_BYTES_PER_S_PER_LANE.get(int(generation or 0))
    return None if per_lane is None or not lanes else per_lane * lanes


def nvlink_bytes_per_s(
    facts: Mapping[str, Any], rates: Rates | None, spec: GpuSpec | None = None
) -> float | None:
    """Return what all NVLinks together carry in one direction.

    That is the links the device has times the rate of one; the datasheet's total where the device
    does not tell how many it has. None for MIG devices, which have no NVLink, and without links.
    """
    if is_mig(facts):
        return None
    count = facts.get("nvlink_count")
    if isinstance(count, bool) or not isinstance(count, int):
        return spec.nvlink_bytes_per_s if spec else None
    per_link = rates.nvlink_bytes_per_s_per_link if rates else None
    return None if count <= 0 or per_link is None else count * per_link
