"""All that ``gnomon doctor`` tells, found out once: GPUs, sources, tracing, machine, recorder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gnomon import configuration
from gnomon.cli import environment, source_loading
from gnomon.cli.environment import Fact
from gnomon.hardware import profile
from gnomon.recording.announcement import find_current
from gnomon.sources.base import Capability, Description
from gnomon.tracing.requirements import requirements

GPU_SOURCE = "nvml"


@dataclass(frozen=True, slots=True)
class Checkup:
    """What was found: lines to read, and ``capabilities`` by source.

    ``tracing``: what `gnomon trace` needs of this machine, whose remedies are only for it.
    """

    gpus: Sequence[Fact]
    capabilities: Mapping[str, Capability]
    tracing: Sequence[Fact]
    facts: Sequence[Fact]

    @property
    def complete(self) -> bool:
        """Whether nothing at all is missing."""
        return all(each.ready and not each.missing for each in self.capabilities.values()) and all(
            fact.ok for fact in (*self.gpus, *self.tracing, *self.facts)
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "gpus": [fact.to_json() for fact in self.gpus],
            "sources": {name: asdict(each) for name, each in self.capabilities.items()},
            "tracing": [fact.to_json() for fact in self.tracing],
            "environment": [fact.to_json() for fact in self.facts],
        }


def examine() -> Checkup:
    """Look at this machine; takes as long as the slowest source, and at most some seconds."""
    settings = configuration.load()
    sources, broken = source_loading.create_sources(settings)
    capabilities = source_loading.check_all(sources) | broken
    described = Description()
    for source in sources:
        if source.name == GPU_SOURCE and capabilities[source.name].ready:
            described = source_loading.describe(source)
    facts = environment.facts(settings.state_directory)
    cuda = described.host.get("cuda_driver_version")
    if cuda is not None:
        facts.append(Fact("CUDA of the driver", str(cuda)))
    running = find_current(settings.runtime_directory)
    facts.append(Fact("running recorder", "none" if running is None else str(running)))
    gpus = [_gpu(uuid, gpu) for uuid, gpu in described.gpus.items()]
    tracing = [
        Fact(one.name, one.value, one.ok, "" if one.ok else one.remedy) for one in requirements()
    ]
    return Checkup(gpus, capabilities, tracing, facts)


def _gpu(uuid: str, facts: Mapping[str, Any]) -> Fact:
    """Say which GPU it is, and where the peaks it is measured against come from."""
    known = profile(facts)
    index = facts.get("index")
    name = "GPU" if index is None else f"GPU {index}"
    value = f"{known.name}, {uuid}"
    if facts.get("mig_mode"):
        value += ", MIG enabled"
    if known.peak_source != "computed":
        return Fact(name, f"{value}; peaks: {known.peak_source}")
    return Fact(
        name,
        f"{value}; not in the GPU table: its peaks are computed from its own facts",
        ok=False,
        remedy="tell us its name and datasheet, so that it can be added to the table",
    )
