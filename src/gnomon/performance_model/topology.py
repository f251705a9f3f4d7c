"""What the model takes for granted about the links between GPUs, said where it may not hold.

Every GPU is counted as if it reached every other at its full link rate, all at once. That is true
behind NVLink switches; the network between nodes is several times slower, and is not modelled.
"""

from __future__ import annotations

from gnomon.hardware import HardwareProfile
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import MicroStep, Phase

NODE_GPUS = 8
"""GPUs that NVLink switches join on an HGX board (NVIDIA HGX datasheet). A rack of GB200 joins 72:
up to there the warning is too careful for it."""


def communicating_gpus(layout: Layout, phase: Phase) -> int:
    """Return how many GPUs hear of one another in a step.

    Replicas do so in training, for their gradients, and where they share experts.
    """
    if isinstance(phase, MicroStep):
        return layout.gpus
    return layout.pp * max(layout.tp, layout.ep)


def wire_warnings(gpu: HardwareProfile, layout: Layout, phase: Phase) -> tuple[str, ...]:
    """Return what is assumed of the links of a layout and may not hold; empty on one GPU."""
    group = communicating_gpus(layout, phase)
    if group == 1:
        return ()
    found = []
    if gpu.nvlink_bytes_per_s is None and gpu.pcie_bytes_per_s is not None:
        found.append(
            f"{gpu.name} has no NVLink: counted at its PCIe rate, "
            f"{gpu.pcie_bytes_per_s / 1e9:.1f} GB/s each way, as if every GPU had it to every other"
        )
    if group > NODE_GPUS:
        link = "PCIe switch" if gpu.nvlink_bytes_per_s is None else "NVLink domain"
        found.append(
            f"{group:,} GPUs exchange data, counted as if one {link}: a network between nodes "
            "is slower"
        )
    return tuple(found)
