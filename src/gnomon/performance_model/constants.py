"""The efficiencies that the best kernels reach, and where each number is from.

An efficiency is a share of the datasheet's dense peak, so that it holds for every GPU of its
kind. Those of ``DEFAULT`` are what the best public kernels do; production lies 15 to 45 % lower,
and that is shown apart, as typical. A calibration file has what one device did.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gnomon._errors import ModelError
from gnomon.hardware import DTYPES, HardwareProfile

SCHEMA = 1
_CALIBRATED = "calibrated"
_SHIPPED = Path(__file__).parent / "calibrations"


@dataclass(frozen=True, slots=True)
class Constants:
    """Shares of peak (0 to 1) and fixed costs, of kernels and links.

    ``compute`` is a GEMM's share of peak by dtype, sustained; ``burst`` the same before power
    caps the clock, where it was measured. ``memory`` is the share of DRAM bandwidth of anything
    that streams, ``decode_attention`` that of a decode core; ``attention_compute`` a core's share
    of the 16-bit peak. ``link`` is the share of a link's one-directional rate. ``launch_s`` is the
    floor of any kernel; that of a product and of a decode core is higher where it was measured,
    because they fill and drain the GPU. ``origins`` says where each number is from.
    """

    compute: Mapping[str, float]
    memory: float
    attention_compute: float
    decode_attention: float
    launch_s: float
    collective_s: float
    link: float
    source: str = "default"
    origins: Mapping[str, str] = field(default_factory=dict)
    burst: Mapping[str, float] = field(default_factory=dict)
    gpu_name: str | None = None
    gpu_uuid: str | None = None
    driver: str | None = None
    created_ns: int | None = None
    product_launch_s: float | None = None
    attention_launch_s: float | None = None

    def __post_init__(self) -> None:
        shares = {
            **{f"compute {dtype}": share for dtype, share in self.compute.items()},
            "memory": self.memory,
            "attention_compute": self.attention_compute,
            "decode_attention": self.decode_attention,
            "link": self.link,
        }
        for name, share in shares.items():
            if not 0 < share <= 1:
                raise ModelError(f"efficiency {name} is {share!r}: it must be above 0, at most 1")
        for name in ("launch_s", "collective_s", "product_launch_s", "attention_launch_s"):
            cost_s = getattr(self, name)
            if cost_s is not None and not 0 <= cost_s < 1:
                raise ModelError(f"{name} is {cost_s!r}: it must be a time from 0 to 1 s")

    @property
    def product_floor_s(self) -> float:
        """The least time of a product; never below that of any kernel."""
        return max(self.launch_s, self.product_launch_s or 0.0)

    @property
    def decode_attention_floor_s(self) -> float:
        """The least time of a decode core; never below that of any kernel."""
        return max(self.launch_s, self.attention_launch_s or 0.0)


_KERNEL_TABLES = "fit to the kernel tables of NVIDIA aiconfigurator (vLLM kernels, H100 and H200)"

DEFAULT = Constants(
    compute=MappingProxyType(
        {
            "bf16": 0.80,
            "fp16": 0.80,
            "tf32": 0.80,
            "fp8": 0.72,
            "int8": 0.72,
            "fp4": 0.72,
            "fp32": 0.80,
        }
    ),
    memory=0.92,
    attention_compute=0.68,
    decode_attention=0.90,
    launch_s=2.0e-6,
    collective_s=5.0e-6,
    link=0.75,
    origins=MappingProxyType(
        {
            "compute bf16": f"median of compute-bound GEMMs, {_KERNEL_TABLES}; 794.5 of 989.4 "
            "TFLOP/s is the best shape on an H100 (stas00/ml-engineering, accelerator/README)",
            "compute fp8": "1403 (H100) and 1453 (H200) of 1978.9 TFLOP/s at the best shape "
            "(stas00/ml-engineering); quantising activations is a pass of its own",
            "compute fp16, tf32, fp32": "as bf16: the same pipes and kernels; not fitted",
            "compute int8, fp4": "as fp8: not fitted",
            "memory": f"best share of bandwidth above 300 MB (p99), {_KERNEL_TABLES}",
            "attention_compute": "causal prefill of 16k tokens, head dim 128, FlashAttention 3, "
            f"{_KERNEL_TABLES}",
            "decode_attention": f"median for caches above 1 GB, {_KERNEL_TABLES}",
            "launch_s": "floor of a kernel in a CUDA graph: 1.5 to 2.5 us",
            "collective_s": "custom all-reduce of up to 8 KB in a CUDA graph on 2 to 8 H200: "
            "4.4 to 4.7 us",
            "link": "NCCL all-reduce, bus bandwidth over 450 GB/s on 2, 4, 8 H200 without "
            "multicast: 70, 77, 80 %",
        }
    ),
)
"""Constants with which 60 published TensorRT-LLM throughput rows (H100, H200) stay below 1."""


def read_calibration(path: Path, gpu: HardwareProfile) -> Constants:
    """Return the constants that were measured on a device; DEFAULT's where one was not.

    The file is JSON with ``schema`` 1, ``gpu_uuid``, ``gpu_name``, ``driver``, ``created_ns``, and
    of what was measured: ``flops`` {dtype: {"burst", "sustained"}} in FLOP/s,
    ``memory_bytes_per_s``, ``attention_flops`` (prefill), ``decode_attention_bytes_per_s``,
    ``launch_s``, ``product_launch_s``, ``attention_launch_s``, and of links ``collective_s`` and
    ``link_bytes_per_s`` (one direction). What else is there (points, fits) is not looked at.
    Raises ModelError where the file cannot be read or a field makes no sense, by name.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read the calibration {path}: {error}") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        version = found.get("schema") if isinstance(found, dict) else None
        raise ModelError(
            f"the calibration {path} has schema {version!r} and this version reads {SCHEMA}: "
            "run gnomon calibrate again"
        )
    return from_calibration(found, gpu, str(path))


def shipped(gpu: HardwareProfile) -> Constants | None:
    """Return the constants that ship with us for a GPU of this SKU; None where none do.

    They were measured on another device of its kind, so their ``source`` is "default", and
    ``origins`` says what was measured.
    """
    path = _SHIPPED / f"{gpu.sku}.json"
    if gpu.sku is None or not path.is_file():
        return None
    found = read_calibration(path, gpu)
    where = f"measured on one {found.gpu_name}, driver {found.driver}"
    origins = {name: where if text == _CALIBRATED else text for name, text in found.origins.items()}
    return replace(found, source="default", gpu_uuid=None, origins=MappingProxyType(origins))


def from_calibration(
    found: Mapping[str, Any], gpu: HardwareProfile, where: str = "calibration"
) -> Constants:
    """Return the constants of a calibration's fields; see ``read_calibration``."""
    compute, burst, origins = dict(DEFAULT.compute), {}, {}
    for dtype, roofs in _mapping(found, "flops", where).items():
        peak = gpu.flops(dtype) if dtype in DTYPES else None
        if peak is None:
            raise ModelError(f"{where}: flops names {dtype!r}, which {gpu.name} does not have")
        sustained = _positive(roofs, "sustained", f"{where}: flops {dtype}")
        if sustained is not None:
            compute[dtype] = _share(sustained, peak)
            origins[f"compute {dtype}"] = _CALIBRATED
        best = _positive(roofs, "burst", f"{where}: flops {dtype}")
        if best is not None:
            burst[dtype] = _share(best, peak)
    sixteen = gpu.flops("bf16") or gpu.flops("fp16")
    link = gpu.nvlink_bytes_per_s or gpu.pcie_bytes_per_s
    peaks = {
        "memory": ("memory_bytes_per_s", gpu.dram_bytes_per_s),
        "attention_compute": ("attention_flops", sixteen),
        "decode_attention": ("decode_attention_bytes_per_s", gpu.dram_bytes_per_s),
        "link": ("link_bytes_per_s", link),
        **{
            name: (name, 1.0)
            for name in ("launch_s", "product_launch_s", "attention_launch_s", "collective_s")
        },
    }
    measured: dict[str, Any] = {}
    for name, (key, peak) in peaks.items():
        value = _positive(found, key, where)
        if value is not None and peak:
            measured[name] = _share(value, peak)
            origins[name] = _CALIBRATED
    defaults = {name: text for name, text in DEFAULT.origins.items() if name not in origins}
    return replace(
        DEFAULT,
        **measured,
        compute=MappingProxyType(compute),
        burst=MappingProxyType(burst),
        source=_CALIBRATED,
        origins=MappingProxyType(origins | defaults),
        gpu_name=found.get("gpu_name"),
        gpu_uuid=found.get("gpu_uuid"),
        driver=found.get("driver"),
        created_ns=found.get("created_ns"),
    )


def _share(measured: float, peak: float) -> float:
    # Above 1 the clock ran above the datasheet's; a share of more than all has no meaning here.
    return min(1.0, measured / peak)


def _mapping(found: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    value = found.get(key) or {}
    if not isinstance(value, dict):
        raise ModelError(f"{where}: {key} must be an object")
    return value


def _positive(found: Any, key: str, where: str) -> float | None:
    value = found.get(key) if isinstance(found, dict) else None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e18:
        raise ModelError(f"{where}: {key} is {value!r}: it must be a positive number")
    return float(value)
