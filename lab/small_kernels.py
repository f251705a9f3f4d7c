"""Kernels of known size: so many SMs, so long, so many FMAs, so much sleep between them.

The kernel notes ``clock64`` at its start and end on each SM. That counter runs on between
kernels, so the share of cycles in which an SM held a block is known without any profiler.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from lab.activity import Activity
from lab.known_work import Work, fused_multiply_adds

THREADS = 1024
FMAS_PER_ROUND = 128  # 8 independent chains, 16 deep
QUEUED = 3
_SHARED_BYTES_LEFT_FREE = 8192

_SOURCE = """
extern "C" __global__ void fma_rounds(long long* first, long long* last,
                                      unsigned long long* active, unsigned long long* blocks,
                                      float* sink, int rounds) {
  extern __shared__ float only_one_block_fits[];
  const long long begin = clock64();
  float chain[8];
  for (int j = 0; j < 8; ++j) chain[j] = threadIdx.x + j;
  for (int i = 0; i < rounds; ++i) {
#pragma unroll
    for (int k = 0; k < 16; ++k)
#pragma unroll
      for (int j = 0; j < 8; ++j) chain[j] = fmaf(chain[j], 0.999f, 0.5f);
  }
  float sum = 0;
  for (int j = 0; j < 8; ++j) sum += chain[j];
  if (sum == -1.0f) sink[0] = sum + only_one_block_fits[threadIdx.x];
  __syncthreads();
  if (threadIdx.x == 0) {
    const long long end = clock64();
    unsigned sm;
    asm("mov.u32 %0, %%smid;" : "=r"(sm));
    atomicMin(first + sm, begin);
    atomicMax(last + sm, end);
    atomicAdd(active + sm, (unsigned long long)(end - begin));
    atomicAdd(blocks + sm, 1ull);
  }
}
"""
_MAX_SMS = 1024


@dataclass(slots=True)
class FmaKernel:
    """The compiled kernel and what it noted since ``reset``, one slot an SM."""

    kernel: Any
    notes: Any  # cupy arrays: first, last, active, blocks
    sink: Any
    shared_bytes: int
    sm_count: int

    @classmethod
    def build(cls) -> FmaKernel:
        import cupy

        attributes = cupy.cuda.Device().attributes
        # So much shared memory that a second block does not fit on the SM, yet room for a probe.
        shared = attributes["MaxSharedMemoryPerBlockOptin"] - _SHARED_BYTES_LEFT_FREE
        kernel = cupy.RawKernel(_SOURCE, "fma_rounds")
        kernel.max_dynamic_shared_size_bytes = shared
        notes = tuple(cupy.zeros(_MAX_SMS, dtype=kind) for kind in ("i8", "i8", "u8", "u8"))
        sink = cupy.zeros(1, dtype=cupy.float32)
        built = cls(kernel, notes, sink, shared, attributes["MultiProcessorCount"])
        built.reset()
        return built

    def launch(self, blocks: int, rounds: int) -> None:
        """Launch on torch's current stream: ``blocks`` blocks, one an SM."""
        import cupy
        import torch

        with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            arguments = (*self.notes, self.sink, cupy.int32(rounds))
            self.kernel((blocks,), (THREADS,), arguments, shared_mem=self.shared_bytes)

    def reset(self) -> None:
        import torch

        torch.cuda.synchronize()
        first, last, active, blocks = self.notes
        first.fill(2**62)
        last.fill(0)
        active.fill(0)
        blocks.fill(0)
        torch.cuda.synchronize()

    def sm_shares(self) -> tuple[float, int]:
        """Return the percentage of its cycles in which an SM held a block, mean over all SMs
        of the GPU, and the number of SMs that held any.
        """
        first, last, active, blocks = (note.get() for note in self.notes)
        used = blocks > 0
        shares = active[used] / (last[used] - first[used])
        return float(shares.sum()) / self.sm_count * 100.0, int(used.sum())


def partial_grid(share: float, rounds: int = 4096) -> Activity:
    """Kernels of over 1 ms on this share of the SMs, back to back (4096 rounds: 2.1 ms)."""
    kernel = FmaKernel.build()
    blocks = round(kernel.sm_count * share)
    one = fused_multiply_adds(blocks, THREADS, rounds * FMAS_PER_ROUND)

    def truth(_count: int, _seconds: float) -> dict[str, float]:
        active_pct, sms = kernel.sm_shares()
        if sms != blocks:
            raise RuntimeError(f"{blocks} blocks ran on {sms} SMs, not on one each")
        return {"sm_active_pct": active_pct, "sms": sms}

    return Activity(lambda: kernel.launch(blocks, rounds), one.times, QUEUED, kernel.reset, truth)


def graph_of_short_kernels(kernels: int = 500, rounds: int = 8) -> Activity:
    """A CUDA graph of full-grid kernels of about 4 us (8 rounds: 1,024 FMAs a thread)."""
    import torch

    kernel = FmaKernel.build()
    kernel.launch(kernel.sm_count, rounds)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        for _ in range(kernels):
            kernel.launch(kernel.sm_count, rounds)
    one = fused_multiply_adds(kernel.sm_count, THREADS, rounds * FMAS_PER_ROUND * kernels)

    def truth(count: int, seconds: float) -> dict[str, float]:
        return {
            "sm_active_pct": kernel.sm_shares()[0],
            "kernel_period_us": seconds / (count * kernels) * 1e6,
        }

    return Activity(graph.replay, one.times, QUEUED, kernel.reset, truth)


def sleep_share(share: float, burst_launches: int = 10, rounds: int = 4096) -> Activity:
    """Bursts of full-grid kernels (about 20 ms), then sleep so that it takes this share of time."""
    import torch

    kernel = FmaKernel.build()
    bursts: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
    blocks = kernel.sm_count

    def step() -> None:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began = time.monotonic()
        begin.record()
        for _ in range(burst_launches):
            kernel.launch(blocks, rounds)
        end.record()
        end.synchronize()
        bursts.append((begin, end))
        time.sleep((time.monotonic() - began) * share / (1 - share))

    def truth(_count: int, seconds: float) -> dict[str, float]:
        return {"idle_pct": 100.0 * (1 - _busy_seconds(bursts) / seconds)}

    one = fused_multiply_adds(blocks, THREADS, rounds * FMAS_PER_ROUND * burst_launches)
    return Activity(step, one.times, 0, bursts.clear, truth)


def one_thread(milliseconds: float = 20.0) -> Activity:
    """One thread spins: the GPU calls itself busy, one SM of all holds one warp."""
    import torch

    cycles = int(milliseconds * 1.9e6)
    sms = torch.cuda.get_device_properties(0).multi_processor_count

    def truth(_count: int, _seconds: float) -> dict[str, float]:
        return {"sm_active_pct": 100.0 / sms, "compute_sol_pct": 0.0}

    return Activity(lambda: torch.cuda._sleep(cycles), lambda _n: Work(), QUEUED, truth=truth)  # noqa: SLF001


def idle() -> Activity:
    """Nothing runs."""
    return Activity(
        lambda: time.sleep(0.01), truth=lambda _n, _s: {"idle_pct": 100.0, "sm_active_pct": 0.0}
    )


def pinned_transfer(size_bytes: int, duty: float = 1.0) -> Activity:
    """Copy from pinned host memory to the device for this share of the time, sleep for the rest."""
    import torch

    source = torch.empty(size_bytes, dtype=torch.uint8, pin_memory=True)
    target = torch.empty(size_bytes, dtype=torch.uint8, device="cuda")
    copies: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
    each_step = 4

    def step() -> None:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began = time.monotonic()
        begin.record()
        for _ in range(each_step):
            target.copy_(source, non_blocking=True)
        end.record()
        copies.append((begin, end))
        if duty < 1.0:
            end.synchronize()
            time.sleep((time.monotonic() - began) * (1 - duty) / duty)

    def truth(count: int, seconds: float) -> dict[str, float]:
        share = 100.0 * _busy_seconds(copies) / seconds
        rate = count * each_step * size_bytes / seconds
        return {"copying_pct": share, "idle_pct": 100.0 - share, "pcie_rx_bytes_per_s": rate}

    queued = QUEUED if duty == 1.0 else 0
    return Activity(step, lambda _n: Work(), queued, copies.clear, truth)


def _busy_seconds(pairs: list[tuple[Any, Any]]) -> float:
    return float(sum(begin.elapsed_time(end) for begin, end in pairs)) / 1e3
