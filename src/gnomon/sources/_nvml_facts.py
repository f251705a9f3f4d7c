"""What NVML knows of a GPU that does not change by the second: the facts of ``meta``.

The keys are those that ``recording.base.Meta`` names; a fact that the driver refuses is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gnomon.sources._nvml_gpus import Gpu

CLOCK_SM = 1
CLOCK_MEMORY = 2
FIELD_NVLINK_COUNT = 91  # NVML_FI_DEV_NVLINK_LINK_COUNT

# fp32 lanes of an SM by compute capability: CUDA C++ Programming Guide, "Arithmetic
# Instructions", results per clock per SM of 32-bit floating-point add. NVML counts lanes
# ("cores"), the ledger needs SMs.
FP32_LANES_PER_SM: Mapping[str, int] = {
    "6.0": 64,
    "6.1": 128,
    "7.0": 64,
    "7.5": 64,
    "8.0": 64,
    "8.6": 128,
    "8.7": 128,
    "8.9": 128,
    "9.0": 128,
    "10.0": 128,
    "10.3": 128,
    "11.0": 128,
    "12.0": 128,
    "12.1": 128,
}


def _capability(nvml: Any, handle: Any) -> str:
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return f"{major}.{minor}"


def _sm_count(nvml: Any, handle: Any) -> int | None:
    lanes = FP32_LANES_PER_SM.get(_capability(nvml, handle))
    cores = nvml.nvmlDeviceGetNumGpuCores(handle)
    return None if lanes is None else int(cores) // lanes


def _limits(nvml: Any, handle: Any, which: int) -> float:
    return float(nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)[which]) / 1e3


def _nvlink_count(nvml: Any, handle: Any) -> int | None:
    field = nvml.nvmlDeviceGetFieldValues(handle, [FIELD_NVLINK_COUNT])[0]
    return int(field.value.uiVal) if field.nvmlReturn == 0 else None


FACTS: Mapping[str, Callable[[Any, Any], Any]] = {
    "pci_bus_id": lambda n, h: n.nvmlDeviceGetPciInfo_v3(h).busId,
    "compute_capability": _capability,
    "sm_count": _sm_count,
    "vram_total_bytes": lambda n, h: int(n.nvmlDeviceGetMemoryInfo(h).total),
    "memory_bus_bits": lambda n, h: n.nvmlDeviceGetMemoryBusWidth(h),
    "max_sm_clock_mhz": lambda n, h: float(n.nvmlDeviceGetMaxClockInfo(h, CLOCK_SM)),
    "max_memory_clock_mhz": lambda n, h: float(n.nvmlDeviceGetMaxClockInfo(h, CLOCK_MEMORY)),
    "power_limit_watts": lambda n, h: n.nvmlDeviceGetEnforcedPowerLimit(h) / 1e3,
    "power_limit_default_watts": lambda n, h: n.nvmlDeviceGetPowerManagementDefaultLimit(h) / 1e3,
    "power_limit_min_watts": lambda n, h: _limits(n, h, 0),
    "power_limit_max_watts": lambda n, h: _limits(n, h, 1),
    "persistence_mode": lambda n, h: bool(n.nvmlDeviceGetPersistenceMode(h)),
    "ecc_mode": lambda n, h: bool(n.nvmlDeviceGetEccMode(h)[0]),
    "mig_mode": lambda n, h: bool(n.nvmlDeviceGetMigMode(h)[0]),
    "pcie_generation_max": lambda n, h: n.nvmlDeviceGetMaxPcieLinkGeneration(h),
    "pcie_lanes_max": lambda n, h: n.nvmlDeviceGetMaxPcieLinkWidth(h),
    "nvlink_count": _nvlink_count,
    "driver_version": lambda n, _: n.nvmlSystemGetDriverVersion(),
    "vbios_version": lambda n, h: n.nvmlDeviceGetVbiosVersion(h),
}


def gpu_facts(nvml: Any, gpu: Gpu) -> dict[str, Any]:
    """Return the facts of one GPU; ``mig_instances`` (uuid -> facts) only where there are any."""
    facts: dict[str, Any] = {"name": gpu.name, "index": gpu.index}
    for name, read in FACTS.items():
        value = _optional(nvml, read, gpu.handle)
        if value is not None:
            facts[name] = value
    if gpu.mig_instances:
        facts["mig_instances"] = {mig.uuid: _mig_facts(nvml, mig) for mig in gpu.mig_instances}
    return facts


def _mig_facts(nvml: Any, mig: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "gpu_instance_id": mig.gpu_instance_id,
        "compute_instance_id": mig.compute_instance_id,
    }
    attributes = _optional(nvml, lambda n, h: n.nvmlDeviceGetAttributes_v2(h), mig.handle)
    if attributes is not None:
        facts["sm_count"] = int(attributes.multiprocessorCount)
        facts["vram_total_bytes"] = int(attributes.memorySizeMB) * 2**20
    return facts


def host_facts(nvml: Any) -> dict[str, Any]:
    """Return driver_version, nvml_version and cuda_driver_version ("13.0") of this host."""
    facts: dict[str, Any] = {}
    calls: Mapping[str, Callable[[Any, Any], Any]] = {
        "driver_version": lambda n, _: n.nvmlSystemGetDriverVersion(),
        "nvml_version": lambda n, _: n.nvmlSystemGetNVMLVersion(),
        "cuda_driver_version": lambda n, _: _cuda(n.nvmlSystemGetCudaDriverVersion_v2()),
    }
    for name, read in calls.items():
        value = _optional(nvml, read, None)
        if value is not None:
            facts[name] = value
    return facts


def _cuda(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"


def _optional(nvml: Any, read: Callable[[Any, Any], Any], handle: Any) -> Any:
    try:
        return read(nvml, handle)
    except nvml.NVMLError:
        return None
