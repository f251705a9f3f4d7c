"""Dense products, attention, copies and matrix-vector products: the textbook kernels."""

from __future__ import annotations

from collections.abc import Callable

from lab import known_work
from lab.activity import Activity, need_memory
from lab.known_work import Work

QUEUED = 4
MILLISECONDS_PER_STEP = 4.0


def gemm(m: int, n: int, k: int, dtype: str = "bf16", *, zeros: bool = False) -> Activity:
    """Repeat one product on random data (zeros draw less power, so the chip clocks higher)."""
    import torch

    one = known_work.gemm(m, n, k, dtype, "bf16" if dtype == "fp8" else None)
    need_memory((one.dram_bytes or 0) * 2)
    product = (
        _fp8_product(m, n, k) if dtype == "fp8" else _plain_product((m, n, k), dtype, zeros=zeros)
    )
    launches = _launches(product)

    def step() -> None:
        torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        for _ in range(launches):
            product()

    return Activity(step, lambda count: one.times(count * launches), QUEUED)


def padded_gemm(size: int, useful_share: float) -> Activity:
    """Repeat a square product of which, the program knows, only a share of the rows is useful."""
    whole = gemm(size, size, size)

    def useful(count: int) -> Work:
        work = whole.work(count)
        return Work((work.flops or 0.0) * useful_share, work.flops_dtype)

    def truth(count: int, seconds: float) -> dict[str, float]:
        executed = (whole.work(count).flops or 0.0) / seconds
        return {
            "executed_flops_per_s": executed,
            "padding_flops_per_s": executed * (1 - useful_share),
        }

    return Activity(whole.step, useful, QUEUED, truth=truth)


def attention(batch: int, heads: int, length: int, head_dim: int) -> Activity:
    """Repeat causal scaled dot-product attention in bf16."""
    import torch

    shape = (batch, heads, length, head_dim)
    q, k, v = (torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(3))
    attend = torch.nn.functional.scaled_dot_product_attention

    def product() -> None:
        attend(q, k, v, is_causal=True)

    launches = _launches(product)
    one = known_work.causal_attention(batch, heads, length, head_dim)
    tiled_flops = known_work.tiled_causal_attention_flops(batch, heads, length, head_dim)

    def step() -> None:
        for _ in range(launches):
            product()

    def truth(count: int, seconds: float) -> dict[str, float]:
        return {"executed_flops_per_s": tiled_flops * count * launches / seconds}

    return Activity(step, lambda count: one.times(count * launches), QUEUED, truth=truth)


def device_copy(size_bytes: int) -> Activity:
    """Copy between two buffers of device memory, far larger than any cache."""
    import torch

    need_memory(2 * size_bytes)
    source = torch.randint(0, 256, (size_bytes,), device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)

    def step() -> None:
        target.copy_(source)

    return Activity(step, known_work.device_copy(size_bytes).times, QUEUED)


def gemv(rows: int, columns: int, matrices: int) -> Activity:
    """Multiply one vector with many matrices in turn: every weight is read once and used once."""
    import torch

    need_memory(matrices * rows * columns * 2)
    weights = [
        torch.randn(rows, columns, device="cuda", dtype=torch.bfloat16) for _ in range(matrices)
    ]
    vector = torch.randn(columns, device="cuda", dtype=torch.bfloat16)
    result = torch.empty(rows, device="cuda", dtype=torch.bfloat16)

    def step() -> None:
        for matrix in weights:
            torch.mv(matrix, vector, out=result)

    return Activity(step, known_work.gemv(rows, columns, matrices).times, QUEUED)


def _plain_product(shape: tuple[int, int, int], dtype: str, *, zeros: bool) -> Callable[[], object]:
    import torch

    m, n, k = shape
    kind = {
        "bf16": torch.bfloat16,
        "fp16": torch.float16,
        "tf32": torch.float32,
        "fp32": torch.float32,
        "fp64_tensor": torch.float64,
    }[dtype]
    fill = torch.zeros if zeros else torch.randn
    a, b = fill(m, k, device="cuda", dtype=kind), fill(k, n, device="cuda", dtype=kind)
    out = torch.empty(m, n, device="cuda", dtype=kind)
    torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    return lambda: torch.mm(a, b, out=out)


def _fp8_product(m: int, n: int, k: int) -> Callable[[], object]:
    import torch

    a = torch.randn(m, k, device="cuda").to(torch.float8_e4m3fn)
    b = torch.randn(n, k, device="cuda").to(torch.float8_e4m3fn).t()  # column-major, as it must be
    one = torch.ones((), device="cuda")
    return lambda: torch._scaled_mm(a, b, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)  # noqa: SLF001


def _launches(product: Callable[[], object]) -> int:
    """Return how many launches take about MILLISECONDS_PER_STEP."""
    import torch

    for _ in range(3):
        product()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(5):
        product()
    end.record()
    end.synchronize()
    milliseconds = float(begin.elapsed_time(end)) / 5
    return max(1, round(MILLISECONDS_PER_STEP / milliseconds))
