"""What must be known of this machine before ``gnomon-pm`` is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon._errors import SourceError
from gnomon.sources import _nvml_errors as errors
from gnomon.sources import _nvml_session, _pm_access, _pm_helper, _pm_library
from gnomon.sources._nvml_gpus import Gpu, list_gpus
from gnomon.sources.base import Missing

ADMIN_REASON = "the driver lets only administrators read counters"
ADMIN_REMEDY = (
    "run as root, or let every user read counters: "
    "options nvidia NVreg_RestrictProfilingToAdminUsers=0 in /etc/modprobe.d, then reboot"
)


@dataclass(frozen=True, slots=True)
class Machine:
    """The helper, its library, the GPUs to sample, and those that cannot be.

    ``has_gpm``: every one of the GPUs has counters without PM sampling too.
    """

    helper: Path
    library: _pm_library.Library
    gpus: tuple[Gpu, ...]
    refused: tuple[Missing, ...]
    has_gpm: bool = True


def inspect(environment: Mapping[str, str]) -> Machine:
    """Find the helper, the GPUs and the libcupti. Raises SourceError for what is in the way."""
    helper = _pm_helper.find(environment)
    gpus, refused, driver_cuda, has_gpm = _gpus()
    if _pm_access.refused():
        raise SourceError(ADMIN_REASON, ADMIN_REMEDY)
    library = _pm_library.choose(
        _pm_library.candidates(environment),
        driver_cuda,
        lambda path: _pm_library.ask_version(helper, path),
    )
    return Machine(helper, library, gpus, refused, has_gpm)


def _gpus() -> tuple[tuple[Gpu, ...], tuple[Missing, ...], int, bool]:
    """Return the whole GPUs, those in MIG mode as missing, the driver's CUDA, and GPM on all."""
    session = _nvml_session.SESSION
    session.acquire()
    try:
        with session.reading():
            nvml = _nvml_session.binding()
            listed, unreachable = list_gpus(nvml)
            driver_cuda = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
            whole = tuple(gpu for gpu in listed if not gpu.mig_mode)
            has_gpm = all(_has_gpm(nvml, gpu) for gpu in whole)
    except errors.DriverGoneError as error:
        raise SourceError(f"the NVIDIA driver is gone: {error}", "see `nvidia-smi`") from error
    finally:
        session.release()
    refused = (
        *unreachable,
        *(
            Missing("pm", "CUPTI cannot sample a GPU in MIG mode", "", gpu.uuid)
            for gpu in listed
            if gpu.mig_mode
        ),
    )
    if not whole:
        raise SourceError(refused[0].reason, refused[0].remedy)
    return whole, refused, driver_cuda, has_gpm


def _has_gpm(nvml: Any, gpu: Gpu) -> bool:
    try:
        return bool(nvml.nvmlGpmQueryDeviceSupport(gpu.handle).isSupportedDevice)
    except nvml.NVMLError:
        return False
