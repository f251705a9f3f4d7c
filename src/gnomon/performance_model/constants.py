"""The efficiencies that the best kernels reach, and where each number is from.

An efficiency is a share of the datasheet's dense peak, so that it holds for every GPU of its
kind. Those of ``DEFAULT`` are what the best public kernels do on a GPU that has rested; under a
power cap they keep less for seconds (an H200: docs/measurements/ceiling.md). Production lies 15 to
45 % lower, and that is shown apart, as typical. A calibration file has what one device did.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gnomon._errors import ModelError
from gnomon.hardware import DTYPES, HardwareProfile, load
from gnomon.hardware.matching import match
from gnomon.hardware.peaks import PIPE_OF_DTYPE

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
            **{
                f"compute {dtype}": "as bf16: the same kind of kernels; not fitted"
                for dtype in ("fp16", "tf32", "fp32")
            },
            **{f"compute {dtype}": "as fp8: not fitted" for dtype in ("int8", "fp4")},
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
"""Those of the best public kernels; each number's source is in its ``origins``."""


def read_calibration(path: Path, gpu: HardwareProfile) -> Constants:
    """Return the constants that were measured on a device; DEFAULT's where one was not.

    The file is JSON with ``schema`` 1, ``gpu_uuid``, ``gpu_name``, ``driver``, ``created_ns``, and
    of what was measured: ``flops`` {dtype: {"burst", "sustained"}} in FLOP/s,
    ``memory_bytes_per_s``, ``attention_flops`` (prefill), ``decode_attention_bytes_per_s``,
    ``launch_s``, ``product_launch_s``, ``attention_launch_s``, and of links ``collective_s`` and
    ``link_bytes_per_s`` (one direction). What else is there (points, fits) is not looked at.
    Raises ModelError where the file cannot be read, is of another GPU than ``gpu``, or a field
    makes no sense, by name.
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
    _check_device(found, gpu, path)
    return from_calibration(found, gpu, str(path))


def _check_device(found: Mapping[str, Any], gpu: HardwareProfile, path: Path) -> None:
    """Raise ModelError where a calibration was measured on a GPU of another kind.

    By SKU where the table has both, whatever the spelling of their names, else by name.
    """
    name = found.get("gpu_name")
    if not isinstance(name, str) or not name:
        raise ModelError(
            f"the calibration {path} does not name its GPU (gpu_name): run gnomon calibrate again"
        )
    spec = load().get(str(found.get("sku"))) or match(name)
    is_same = spec.sku == gpu.sku if spec else name.casefold() == gpu.name.casefold()
    if not is_same:
        raise ModelError(
            f"the calibration {path} was measured on {name}, and the GPU asked for is {gpu.name}"
            f"{f' ({gpu.sku})' if gpu.sku else ''}: run gnomon calibrate on one, or leave "
            "--constants out"
        )


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
    """Return the constants of a calibration's fields; see ``read_calibration``.

    A dtype is calibrated where its sustained rate was measured. Others are derived from those,
    and are never above their own burst. An all-reduce that starts later than the default's custom
    kernels do leaves the default. Of fields that measure nothing ``source`` is "default".
    """
    sustained, burst = _compute_shares(found, gpu, where)
    compute, origins = _every_dtype(sustained, burst)
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
    if measured.get("collective_s", 0.0) > DEFAULT.collective_s:
        # NCCL's, where engines have kernels of their own: it would put the ceiling below them.
        del measured["collective_s"], origins["collective_s"]
    is_calibrated = _CALIBRATED in origins.values()
    return replace(
        DEFAULT,
        **measured,
        compute=MappingProxyType(compute),
        burst=MappingProxyType(burst),
        source=_CALIBRATED if is_calibrated else DEFAULT.source,
        origins=MappingProxyType({**DEFAULT.origins, **origins}),
        gpu_name=found.get("gpu_name"),
        gpu_uuid=found.get("gpu_uuid"),
        driver=found.get("driver"),
        created_ns=found.get("created_ns"),
    )


def _compute_shares(
    found: Mapping[str, Any], gpu: HardwareProfile, where: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Return dtype -> share of peak, sustained and in bursts, of what was measured."""
    shares: dict[str, dict[str, float]] = {"sustained": {}, "burst": {}}
    for dtype, roofs in _mapping(found, "flops", where).items():
        peak = gpu.flops(dtype) if dtype in DTYPES else None
        if peak is None:
            raise ModelError(f"{where}: flops names {dtype!r}, which {gpu.name} does not have")
        for kind, of_kind in shares.items():
            measured = _positive(roofs, kind, f"{where}: flops {dtype}")
            if measured is not None:
                of_kind[dtype] = _share(measured, peak)
    return shares["sustained"], shares["burst"]


def _every_dtype(
    sustained: Mapping[str, float], burst: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, str]]:
    """Return dtype -> share of peak with what was not measured derived, and the origins.

    A pipe has one power budget: what a measured dtype keeps of its default share, others of its
    pipe keep of theirs. Beside a measured share, a default one would rank dtypes falsely.
    """
    compute = {**DEFAULT.compute, **sustained}
    origins = {f"compute {dtype}": _CALIBRATED for dtype in sustained}
    for dtype in DEFAULT.compute.keys() - sustained.keys():
        share, origin = DEFAULT.compute[dtype], DEFAULT.source
        relative = _relative(dtype, sustained)
        if relative is not None:
            share = min(1.0, share * sustained[relative] / DEFAULT.compute[relative])
            origin = f"derived from {relative}"
        if dtype in burst and burst[dtype] < share:
            share, origin = burst[dtype], f"{origin}, capped by the measured burst"
        if origin != DEFAULT.source:
            compute[dtype], origins[f"compute {dtype}"] = share, origin
    return compute, origins


def _relative(dtype: str, sustained: Mapping[str, float]) -> str | None:
    """Return the measured dtype of the same pipe that is the most alike: by its default share."""
    alike = [
        one
        for one in DEFAULT.compute
        if one in sustained and PIPE_OF_DTYPE[one] is PIPE_OF_DTYPE[dtype]
    ]
    return min(alike, key=lambda one: DEFAULT.compute[one] != DEFAULT.compute[dtype], default=None)


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
