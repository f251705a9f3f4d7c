"""NVML's return codes in words for a user: what happened, and what to try.

Codes: nvmlReturn_t of nvml.h. They are spelled here so that no pynvml is needed to explain
why there is none.
"""

from __future__ import annotations

from gnomon._errors import GnomonError

UNINITIALIZED = 1
INVALID_ARGUMENT = 2
NOT_SUPPORTED = 3
NO_PERMISSION = 4
NOT_FOUND = 6
DRIVER_NOT_LOADED = 9
TIMEOUT = 10
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
RESET_REQUIRED = 16
LIB_RM_VERSION_MISMATCH = 18
ARGUMENT_VERSION_MISMATCH = 25
DEPRECATED = 26
GPU_NOT_FOUND = 28
UNKNOWN = 999

# Answers that stay the same until the driver changes: not asked again until then.
PERMANENT = frozenset(
    {
        INVALID_ARGUMENT,
        NOT_SUPPORTED,
        NO_PERMISSION,
        FUNCTION_NOT_FOUND,
        ARGUMENT_VERSION_MISMATCH,
        DEPRECATED,
    }
)
GPU_GONE = frozenset({GPU_IS_LOST, RESET_REQUIRED, GPU_NOT_FOUND})
DRIVER_GONE = frozenset({UNINITIALIZED, DRIVER_NOT_LOADED, LIB_RM_VERSION_MISMATCH})

_METRIC_REASONS = {
    INVALID_ARGUMENT: ("this driver does not know it", "update the NVIDIA driver"),
    NOT_SUPPORTED: ("not supported by this GPU or in its present mode", ""),
    NO_PERMISSION: (
        "the driver does not permit it to this user",
        "run as root, or ask the administrator to permit it",
    ),
    FUNCTION_NOT_FOUND: ("this driver is too old to have it", "update the NVIDIA driver"),
    ARGUMENT_VERSION_MISMATCH: ("this driver has another version of it", "update gnomon"),
    DEPRECATED: ("this driver no longer has it", ""),
}

_LIBRARY_REASONS = {
    LIBRARY_NOT_FOUND: (
        "no NVIDIA driver: libnvidia-ml.so.1 not found",
        "install the driver, or run `gnomon demo` (in a container: start it with --gpus all)",
    ),
    DRIVER_NOT_LOADED: (
        "the NVIDIA driver is installed, but its kernel module is not loaded",
        "run `sudo modprobe nvidia`; where that fails, `dmesg | grep -i nvidia` tells why",
    ),
    NO_PERMISSION: (
        "the NVIDIA driver refuses this user: no permission to open /dev/nvidiactl",
        "add the user to the group that owns /dev/nvidia* (`ls -l /dev/nvidia*`), or run as root",
    ),
    LIB_RM_VERSION_MISMATCH: (
        "libnvidia-ml.so.1 and the loaded kernel module are of different driver versions",
        "reboot, or reload the nvidia kernel modules, then start gnomon again",
    ),
    FUNCTION_NOT_FOUND: (
        "the NVIDIA driver is too old: libnvidia-ml.so.1 lacks a function that gnomon needs",
        "update the NVIDIA driver",
    ),
}


class GpuLostError(GnomonError):
    """One GPU no longer answers; the others may."""


class DriverGoneError(GnomonError):
    """The driver as a whole no longer answers: unloaded, replaced or reset."""


def code_of(error: Exception) -> int:
    """Return the nvmlReturn_t of a ``pynvml.NVMLError``, UNKNOWN for any other exception."""
    value = getattr(error, "value", UNKNOWN)
    return value if isinstance(value, int) else UNKNOWN


def metric_reason(code: int) -> tuple[str, str]:
    """Return (reason, remedy) for one metric that the driver refused."""
    reason, remedy = _METRIC_REASONS.get(code, ("the driver failed to read it", ""))
    return f"{reason} (NVML error {code})", remedy


def library_reason(code: int) -> tuple[str, str]:
    """Return (reason, remedy) where NVML as a whole cannot be used."""
    if code in _LIBRARY_REASONS:
        return _LIBRARY_REASONS[code]
    return (
        f"NVML could not be started: error {code}",
        "see whether `nvidia-smi` works and what `dmesg | grep -i nvrm` says",
    )
