"""The operations that a calibration times, as PyTorch calls on random data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gnomon.hardware.calibration.points import CalibrationError, Kind, Task

Call = Callable[[], Any]
# More copies than this say nothing more: 64 x 8 MB are ten times an L2 of 50 MB.
MOST_COPIES = 64


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, as calls that do the same on different copies of what must be cold."""

    calls: Sequence[Call]

    def times(self, cycles: int) -> Callable[[], None]:
        """Return a function that makes all calls ``cycles`` times."""

        def repeat() -> None:
            for _ in range(cycles):
                for call in self.calls:
                    call()

        return repeat


def build(task: Task, device: Any, cold_bytes: int) -> Operation:
    """Return a task's operation; ``cold_bytes``: what must be touched until caches are cold."""
    if task.kind is Kind.GEMM:
        return Operation(_products(task, device, _copies(_weight_bytes(task), cold_bytes)))
    if task.kind is Kind.PREFILL:
        return Operation([_prefill(task, device)])
    if task.kind is Kind.DECODE:
        copies = _copies(task.moved_bytes, cold_bytes)
        return Operation([_decode(task, device) for _ in range(copies)])
    if task.kind is Kind.LAUNCH:
        return Operation([_empty_kernel(device)])
    if task.kind in (Kind.READ, Kind.COPY, Kind.H2D, Kind.D2H):
        return Operation([_stream(task, device)])
    raise CalibrationError(f"{task.name}: no single device can measure this")


def _copies(size_bytes: float, cold_bytes: int) -> int:
    return max(1, min(MOST_COPIES, math.ceil(cold_bytes / size_bytes)))


def _weight_bytes(task: Task) -> float:
    m, n, k = task.shape
    return task.moved_bytes * n * k / (m * n + m * k + n * k)


def _products(task: Task, device: Any, copies: int) -> list[Call]:
    import torch  # noqa: PLC0415  this module is imported where torch is known to be there

    m, n, k = task.shape
    if task.dtype == "fp8":
        return _fp8_products(task, device, copies)
    if task.dtype == "int8":
        left = torch.randint(-127, 128, (m, k), device=device, dtype=torch.int8)
        rights = [
            torch.randint(-127, 128, (n, k), device=device, dtype=torch.int8).t()
            for _ in range(copies)
        ]
        return [partial(torch._int_mm, left, right) for right in rights]  # noqa: SLF001
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16, "tf32": torch.float32}[task.dtype]
    left = torch.randn(m, k, device=device, dtype=kind)
    # As a linear layer keeps its weights: (n, k), read transposed.
    weights = [torch.randn(n, k, device=device, dtype=kind).t() for _ in range(copies)]
    out = torch.empty(m, n, device=device, dtype=kind)
    return [partial(torch.mm, left, right, out=out) for right in weights]


def _fp8_products(task: Task, device: Any, copies: int) -> list[Call]:
    import torch  # noqa: PLC0415

    m, n, k = task.shape

    def narrow(rows: int) -> Any:
        wide = torch.randn(rows, k, device=device, dtype=torch.bfloat16)
        return wide.to(torch.float8_e4m3fn)

    left, rights = narrow(m), [narrow(n).t() for _ in range(copies)]
    one = torch.ones((), device=device)

    def product(right: Any) -> Any:
        # Sums in the tensor cores' own precision, as serving engines choose for fp8.
        return torch._scaled_mm(  # noqa: SLF001
            left, right, one, one, out_dtype=torch.bfloat16, use_fast_accum=True
        )

    return [partial(product, right) for right in rights]


def _prefill(task: Task, device: Any) -> Call:
    import torch  # noqa: PLC0415

    batch, heads, kv_heads, length, head_dim = task.shape
    queries, keys, values = (
        torch.randn(batch, count, length, head_dim, device=device, dtype=torch.bfloat16)
        for count in (heads, kv_heads, kv_heads)
    )

    def attend() -> Any:
        with _kernel(task.kernel):
            return torch.nn.functional.scaled_dot_product_attention(
                queries, keys, values, is_causal=True, enable_gqa=True
            )

    return attend


def _decode(task: Task, device: Any) -> Call:
    """Attend from one new token a sequence to its whole cache.

    The query heads that share a key-value head are put as queries over the same keys, so that the
    cache is read once.
    """
    import torch  # noqa: PLC0415

    batch, heads, kv_heads, length, head_dim = task.shape
    keys, values = (
        torch.randn(batch, kv_heads, length, head_dim, device=device, dtype=torch.bfloat16)
        for _ in range(2)
    )
    grouped = (batch, kv_heads, heads // kv_heads, head_dim)
    queries = torch.randn(grouped, device=device, dtype=torch.bfloat16)

    def attend() -> Any:
        with _kernel(task.kernel):
            return torch.nn.functional.scaled_dot_product_attention(queries, keys, values)

    return attend


def _kernel(name: str) -> Any:
    """Return a context in which attention is done by this kernel, or refused."""
    from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: PLC0415

    backends = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
    return sdpa_kernel(backends[name])


def _empty_kernel(device: Any) -> Call:
    import torch  # noqa: PLC0415

    if torch.device(device).type != "cuda":
        one = torch.zeros(1, device=device)
        return lambda: one.add_(0)
    # A spin of 0 cycles ends at once: what remains is the launch.
    return lambda: torch.cuda._sleep(0)  # noqa: SLF001


def _stream(task: Task, device: Any) -> Call:
    import torch  # noqa: PLC0415

    (size_bytes,) = task.shape
    if task.kind is Kind.READ:
        numbers = torch.randn(size_bytes // 4, device=device)
        return partial(torch.sum, numbers)
    on_host = {"device": "cpu", "pin_memory": torch.device(device).type == "cuda"}
    on_device = {"device": device}
    source = on_host if task.kind is Kind.H2D else on_device
    target = on_host if task.kind is Kind.D2H else on_device
    # What goes over PCIe costs the same whatever it is, and random numbers take the host a second.
    read = torch.full((size_bytes,), 85, dtype=torch.uint8, **source)
    if task.kind is Kind.COPY:
        read.random_(0, 256)
    written = torch.empty(size_bytes, dtype=torch.uint8, **target)
    return partial(written.copy_, read, non_blocking=True)
