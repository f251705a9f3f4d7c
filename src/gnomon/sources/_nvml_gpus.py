"""The GPUs and MIG instances that NVML lists, by UUID."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gnomon._errors import SourceError
from gnomon.sources import _nvml_errors as errors
from gnomon.sources.base import Missing


@dataclass(slots=True)
class MigInstance:
    """A MIG device: a compute instance inside a GPU instance."""

    handle: Any
    uuid: str
    gpu_instance_id: int
    compute_instance_id: int


@dataclass(slots=True)
class Gpu:
    """A GPU and its handle; ``lost_reason`` is set while it does not answer."""

    handle: Any
    uuid: str
    index: int
    name: str
    mig_mode: bool = False
    mig_instances: tuple[MigInstance, ...] = ()
    lost_reason: str = ""


def list_gpus(nvml: Any) -> tuple[list[Gpu], list[Missing]]:
    """Return every GPU that answers, in NVML's (PCI) order, and those that do not.

    Raises SourceError where NVML lists none, or none that answers; DriverGoneError.
    """
    try:
        count = nvml.nvmlDeviceGetCount()
    except nvml.NVMLError as error:
        code = errors.code_of(error)
        if code in errors.DRIVER_GONE:
            raise errors.DriverGoneError(f"nvmlDeviceGetCount returned {code}") from error
        raise SourceError(*errors.library_reason(code)) from error
    if count == 0:
        raise SourceError(
            "the NVIDIA driver runs, but lists no GPU",
            "see `lspci | grep -i nvidia` and `dmesg | grep -i nvrm`; in a container, "
            "pass GPUs in with --gpus all",
        )
    gpus: list[Gpu] = []
    missing: list[Missing] = []
    for index in range(count):
        try:
            gpus.append(_gpu(nvml, index))
        except nvml.NVMLError as error:
            missing.append(_unreachable(index, errors.code_of(error)))
    if not gpus:
        raise SourceError(missing[0].reason, missing[0].remedy)
    return gpus, missing


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    uuid = nvml.nvmlDeviceGetUUID(handle)
    try:
        name = nvml.nvmlDeviceGetName(handle)
    except nvml.NVMLError:
        name = "NVIDIA GPU"
    return Gpu(handle, uuid, index, name, mig_enabled(nvml, handle), list_mig(nvml, handle))


def _unreachable(index: int, code: int) -> Missing:
    metric = f"GPU {index}"
    if code == errors.NO_PERMISSION:
        return Missing(
            metric,
            f"no permission to open GPU {index}",
            f"give this user access to /dev/nvidia{index}, or run as root",
        )
    if code in errors.GPU_GONE:
        return Missing(
            metric,
            f"GPU {index} is lost: it fell off the bus or needs a reset (NVML error {code})",
            "see `dmesg | grep -i xid`; reset it with `nvidia-smi -r` or reboot",
        )
    return Missing(metric, f"GPU {index} does not answer (NVML error {code})", "see `nvidia-smi`")


def mig_enabled(nvml: Any, handle: Any) -> bool:
    """Return whether the GPU is in MIG mode; a GPU or driver without MIG is not."""
    try:
        return int(nvml.nvmlDeviceGetMigMode(handle)[0]) == 1
    except nvml.NVMLError:
        return False


def list_mig(nvml: Any, handle: Any) -> tuple[MigInstance, ...]:
    """Return the MIG devices of a GPU that exist and that this user may see."""
    if not mig_enabled(nvml, handle):
        return ()
    found: list[MigInstance] = []
    try:
        slots = nvml.nvmlDeviceGetMaxMigDeviceCount(handle)
    except nvml.NVMLError:
        return ()
    for slot in range(slots):
        try:
            mig = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, slot)
            found.append(
                MigInstance(
                    mig,
                    nvml.nvmlDeviceGetUUID(mig),
                    nvml.nvmlDeviceGetGpuInstanceId(mig),
                    nvml.nvmlDeviceGetComputeInstanceId(mig),
                )
            )
        except nvml.NVMLError:
            continue  # an empty slot answers NOT_FOUND, one of another user NO_PERMISSION
    return tuple(found)
