"""What is measured on a device and what came of it, in plain types; FLOPs and bytes from shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from gnomon._errors import GnomonError


class CalibrationError(GnomonError):
    """A calibration, or one point of it, cannot be measured; the message says what and why."""


class Kind(StrEnum):
    """What a point exercises."""

    GEMM = "gemm"
    READ = "read"
    COPY = "copy"
    PREFILL = "prefill_attention"
    DECODE = "decode_attention"
    LAUNCH = "launch"
    H2D = "h2d"
    D2H = "d2h"
    ALL_REDUCE = "all_reduce"


ATTENTION_SHAPE = ("batch", "heads", "kv_heads", "length", "head_dim")
SHAPE_NAMES: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        Kind.GEMM: ("m", "n", "k"),
        Kind.PREFILL: ATTENTION_SHAPE,
        Kind.DECODE: ATTENTION_SHAPE,
        Kind.LAUNCH: (),
        Kind.ALL_REDUCE: ("bytes", "gpus"),
    }
)
INPUT_BYTES: Mapping[str, int] = MappingProxyType(
    {"bf16": 2, "fp16": 2, "tf32": 4, "fp8": 1, "int8": 1}
)
# fp8 products are written as bf16, int8 ones as int32 (torch._scaled_mm, torch._int_mm).
OUTPUT_BYTES: Mapping[str, int] = MappingProxyType(dict(INPUT_BYTES) | {"fp8": 2, "int8": 4})


@dataclass(frozen=True, slots=True)
class Task:
    """One point to be measured.

    ``shape`` is named by ``SHAPE_NAMES``, (bytes,) where it is not there. ``kernel``: which
    implementation, where there are several. ``is_sustained``: seconds of it, until power has
    settled, instead of milliseconds on a rested GPU.
    """

    kind: Kind
    shape: tuple[int, ...] = ()
    dtype: str = ""
    kernel: str = ""
    is_sustained: bool = False

    @property
    def named_shape(self) -> dict[str, int]:
        """The shape by its names."""
        return dict(zip(SHAPE_NAMES.get(self.kind, ("bytes",)), self.shape, strict=True))

    @property
    def name(self) -> str:
        """For people: kind, dtype, shape, kernel, and whether it is sustained."""
        numbers = [f"{key} {value}" for key, value in self.named_shape.items()]
        words = [str(self.kind).replace("_", " "), self.dtype, *numbers, self.kernel]
        return " ".join(filter(None, [*words, "sustained" if self.is_sustained else ""]))

    @property
    def flops(self) -> float:
        """FLOPs of one operation: 2 m n k, or 4 h d for each causal (query, key) pair."""
        if self.kind is Kind.GEMM:
            return 2.0 * math.prod(self.shape)
        if self.kind is Kind.PREFILL:
            batch, heads, _, length, head_dim = self.shape
            return 4.0 * batch * heads * head_dim * (length * (length + 1) // 2)
        if self.kind is Kind.DECODE:
            batch, heads, _, length, head_dim = self.shape
            return 4.0 * batch * heads * head_dim * length
        return 0.0

    @property
    def moved_bytes(self) -> float:
        """Bytes that must cross the memory interface, or the wire of one GPU, in one operation.

        An all-reduce of n GPUs sends 2 (n - 1) / n of its buffer from each (ring).
        """
        if self.kind is Kind.GEMM:
            m, n, k = self.shape
            inputs = (m + n) * k * INPUT_BYTES[self.dtype]
            return float(inputs + m * n * OUTPUT_BYTES[self.dtype])
        if self.kind in (Kind.PREFILL, Kind.DECODE):
            batch, heads, kv_heads, length, head_dim = self.shape
            queries = length if self.kind is Kind.PREFILL else 1
            elements = batch * head_dim * (2 * heads * queries + 2 * kv_heads * length)
            return float(elements * INPUT_BYTES[self.dtype])
        if self.kind is Kind.ALL_REDUCE:
            size_bytes, gpus = self.shape
            return 2.0 * (gpus - 1) / gpus * size_bytes
        if self.kind is Kind.LAUNCH:
            return 0.0
        return float(self.shape[0] * (2 if self.kind is Kind.COPY else 1))


@dataclass(frozen=True, slots=True)
class Conditions:
    """The GPU during a point; ``sm_clock_source`` as in ``gpu_counters``. None: not read."""

    sm_clock_mhz: float | None = None
    sm_clock_source: str | None = None
    power_watts: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """A task and how long one operation of it took."""

    task: Task
    seconds: float
    conditions: Conditions = Conditions()

    @property
    def flops_per_s(self) -> float:
        """FLOPs of the shape over the time; 0 for what computes nothing."""
        return self.task.flops / self.seconds

    @property
    def bytes_per_s(self) -> float:
        """Bytes of the shape over the time."""
        return self.task.moved_bytes / self.seconds

    def to_json(self) -> dict[str, Any]:
        """Return everything in plain types; rates are None where they have no meaning."""
        task, now = self.task, self.conditions
        return {
            "kind": str(task.kind),
            "dtype": task.dtype or None,
            "shape": task.named_shape,
            "kernel": task.kernel or None,
            "sustained": task.is_sustained,
            "seconds": self.seconds,
            "flops_per_s": self.flops_per_s or None,
            "bytes_per_s": self.bytes_per_s or None,
            "sm_clock_mhz": now.sm_clock_mhz,
            "sm_clock_source": now.sm_clock_source,
            "power_watts": now.power_watts,
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """A point that was not measured, and why."""

    name: str
    reason: str
