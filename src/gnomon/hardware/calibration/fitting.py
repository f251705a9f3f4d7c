"""From measured points to constants: pure arithmetic.

Time of what is bound by memory or a link: t = t0 + bytes / rate, by relative least squares, so
that 5 us weigh as much as 5 ms. Compute roofs are medians over large shapes. What is sustained
is measured on few shapes; its ratio to the burst of the same shape holds for the others.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gnomon.hardware.calibration.plan import LARGE_M, SMALL_M
from gnomon.hardware.calibration.points import Kind, Point, Task

# Narrower products do not fill the GPU's SMs, and say little of its roof.
LEAST_WIDTH = 4096
# Shorter prompts spend much of a core on its edges; DEFAULT's share is of long ones, too.
LONG_PROMPT = 4096


@dataclass(frozen=True, slots=True)
class Line:
    """t = t0 + bytes / rate; ``residual_pct`` is the root mean square of relative errors."""

    t0_s: float
    bytes_per_s: float
    residual_pct: float
    points: int


def fit_line(pairs: Sequence[tuple[float, float]]) -> Line | None:
    """Fit (bytes, seconds), none of them 0; None where sizes do not differ or times do not grow.

    Minimizes sum(((t0 + bytes / rate - t) / t)^2): two normal equations. A floor below 0 has no
    meaning, so it is then held at 0.
    """
    if len({size for size, _ in pairs}) < 2:
        return None
    # Relative errors: each equation t0 / t + (bytes / t) / rate = 1. Bytes in units of their
    # largest keep the two columns of like size.
    unit = max(size for size, _ in pairs)
    a = [1.0 / seconds for _, seconds in pairs]
    b = [size / unit / seconds for size, seconds in pairs]
    aa, ab, bb = _dot(a, a), _dot(a, b), _dot(b, b)
    determinant = aa * bb - ab * ab
    if determinant <= 1e-12 * aa * bb:
        return None
    t0_s = (bb * sum(a) - ab * sum(b)) / determinant
    slope = (aa * sum(b) - ab * sum(a)) / determinant
    if t0_s < 0:
        t0_s, slope = 0.0, sum(b) / bb
    if slope <= 0:
        return None
    errors = [t0_s * x + slope * y - 1 for x, y in zip(a, b, strict=True)]
    residual = math.sqrt(_dot(errors, errors) / len(errors))
    return Line(t0_s, unit / slope, 100 * residual, len(pairs))


def constants(points: Iterable[Point]) -> dict[str, Any]:
    """Return the fields of ``performance_model/constants`` that these points determine.

    Beyond them ``pcie`` (bytes/s each way) and ``fits``, the lines behind the constants.
    """
    every = _fastest(points)
    settled = _sustained_ratios(every)
    brief = [point for point in every if not point.task.is_sustained]
    fits = {name: line for name, line in _lines(brief).items() if line is not None}
    found: dict[str, Any] = {
        "flops": _compute_roofs(brief, settled),
        "memory_bytes_per_s": _stream_rate(every, fits),
        "attention_flops": _prefill_roof(brief, settled),
        "launch_s": _median(p.seconds for p in brief if p.task.kind is Kind.LAUNCH),
    }
    if "gemm_bf16" in fits:
        found["product_launch_s"] = fits["gemm_bf16"].t0_s or None
    if "decode_attention" in fits:
        slowdown = settled.get((Kind.DECODE, "bf16"), 1.0)
        found["decode_attention_bytes_per_s"] = fits["decode_attention"].bytes_per_s / slowdown
        found["attention_launch_s"] = fits["decode_attention"].t0_s or None
    if "all_reduce" in fits:
        found["collective_s"] = fits["all_reduce"].t0_s or None
        found["link_bytes_per_s"] = fits["all_reduce"].bytes_per_s
    pcie = {
        f"{kind}_bytes_per_s": max(p.bytes_per_s for p in brief if p.task.kind is kind)
        for kind in (Kind.H2D, Kind.D2H)
        if any(p.task.kind is kind for p in brief)
    }
    known = {name: value for name, value in found.items() if value}
    return known | {"pcie": pcie, "fits": {name: asdict(line) for name, line in fits.items()}}


def fastest_kernels(points: Iterable[Point]) -> dict[Kind, str]:
    """Return the kernel that was the fastest at the largest shape of each kind of attention."""
    largest: dict[Kind, Task] = {}
    for task in (point.task for point in _fastest(points) if point.task.kernel):
        held = largest.get(task.kind)
        if held is None or (task.flops, task.moved_bytes) > (held.flops, held.moved_bytes):
            largest[task.kind] = task
    return {kind: task.kernel for kind, task in largest.items()}


def _key(task: Task) -> tuple[Kind, str, tuple[int, ...], bool]:
    return task.kind, task.dtype, task.shape, task.is_sustained


def _fastest(points: Iterable[Point]) -> list[Point]:
    """Keep the fastest kernel of each shape: attainable is what the best one does."""
    best: dict[Any, Point] = {}
    for point in points:
        key = _key(point.task)
        if key not in best or point.seconds < best[key].seconds:
            best[key] = point
    return list(best.values())


def _sustained_ratios(points: Iterable[Point]) -> dict[tuple[Kind, str], float]:
    """Return sustained over burst time by kind and dtype: the median over shapes with both."""
    seconds = {_key(point.task): point.seconds for point in points}
    ratios: dict[tuple[Kind, str], list[float]] = {}
    for (kind, dtype, shape, is_sustained), value in seconds.items():
        burst = seconds.get((kind, dtype, shape, False))
        if is_sustained and burst:
            ratios.setdefault((kind, dtype), []).append(value / burst)
    return {key: statistics.median(values) for key, values in ratios.items()}


def _compute_roofs(
    brief: Sequence[Point], settled: Mapping[tuple[Kind, str], float]
) -> dict[str, dict[str, float]]:
    """Return {dtype: {"burst", "sustained"}} in FLOP/s; sustained only where it was measured."""
    roofs: dict[str, dict[str, float]] = {}
    for dtype in {point.task.dtype for point in brief if point.task.kind is Kind.GEMM}:
        burst = _median(p.flops_per_s for p in brief if p.task.dtype == dtype and _is_large(p.task))
        if burst is None:
            continue
        roofs[dtype] = {"burst": burst}
        if (slowdown := settled.get((Kind.GEMM, dtype))) is not None:
            roofs[dtype]["sustained"] = burst / slowdown
    return dict(sorted(roofs.items()))


def _is_large(task: Task) -> bool:
    if task.kind is not Kind.GEMM:
        return False
    m, n, k = task.shape
    return m >= min(LARGE_M) and min(n, k) >= LEAST_WIDTH


def _prefill_roof(
    brief: Sequence[Point], settled: Mapping[tuple[Kind, str], float]
) -> float | None:
    def is_long(task: Task) -> bool:
        return task.kind is Kind.PREFILL and task.named_shape["length"] >= LONG_PROMPT

    burst = _median(point.flops_per_s for point in brief if is_long(point.task))
    return None if burst is None else burst / settled.get((Kind.PREFILL, "bf16"), 1.0)


def _stream_rate(points: Sequence[Point], fits: Mapping[str, Line]) -> float | None:
    """Return the best of what streams for seconds and of the weights that products read."""
    streams = [
        point.bytes_per_s
        for point in points
        if point.task.kind in (Kind.READ, Kind.COPY) and point.task.is_sustained
    ]
    if "gemm_bf16" in fits:
        streams.append(fits["gemm_bf16"].bytes_per_s)
    return max(streams, default=None)


def _lines(brief: Sequence[Point]) -> dict[str, Line | None]:
    """Return the line of each dtype's products of few rows, of decode cores and of all-reduces."""
    chosen: dict[str, list[tuple[float, float]]] = {}
    for point in brief:
        task = point.task
        if task.kind is Kind.GEMM and task.shape[0] <= SMALL_M:
            name = f"{task.kind}_{task.dtype}"
        elif task.kind in (Kind.DECODE, Kind.ALL_REDUCE):
            name = str(task.kind)
        else:
            continue
        chosen.setdefault(name, []).append((task.moved_bytes, point.seconds))
    return {name: fit_line(pairs) for name, pairs in chosen.items()}


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(left, right, strict=True))


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return statistics.median(known) if known else None
