"""How long per-kernel speed of light takes over a million samples, and how right it is.

    python -m benchmarks.kernel_sol [--kernels 1000000] [--shapes 100] [--sample-us 50]

Makes a random sequence of kernels of known values and the samples that a GPU would give of it,
with noise of a point and clocks that lie 7 us apart. Needs no GPU. Prints the time, the largest
resident memory, the offset that was found, and how far values lie from the truth.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import Any

import numpy as np

from gnomon.analysis.intervals import Intervals
from gnomon.analysis.kernel_overlap import Operations
from gnomon.analysis.kernel_sol import Ran, SampleSet, kernel_sol
from gnomon.analysis.kernel_sol_types import KernelKey
from gnomon.analysis.kernel_types import Shape
from gnomon.hardware import profile, sku_facts

BEGIN_NS = 1_795_000_000_000_000_000
OFFSET_NS = 7_000
MEAN_NS = 30_000
COUNTERS = {"sm_active_pct": "sm_active_pct", "dram_active_pct": "dram_active_pct"}
COUNTERS |= {"tensor_active_pct": "tensor_pipe_pct"}


def sequence(rng: np.random.Generator, kernels: int, shapes: int) -> tuple[Any, Any]:
    """Return kernels one after the other, some with a pause before them, and their shapes."""
    shape = rng.integers(0, shapes, kernels)
    length_ns = MEAN_NS * rng.uniform(0.3, 2, shapes)[shape] * rng.uniform(0.95, 1.05, kernels)
    pauses_ns = np.where(rng.random(kernels) < 0.3, rng.exponential(MEAN_NS, kernels), 1_000)
    end_ns = BEGIN_NS + np.cumsum(length_ns + pauses_ns).astype(np.int64)
    return Intervals(end_ns - length_ns.astype(np.int64), end_ns), shape


def samples(rng: np.random.Generator, spans: Any, shape: Any, truth: Any, every_ns: int) -> Any:
    """Return what a GPU would read of them."""
    first_ns = int(spans.start_ns[0])
    edges = np.arange(first_ns, int(spans.end_ns[-1]), every_ns)
    corners = np.stack((spans.start_ns, spans.end_ns), axis=1).ravel() - first_ns
    columns = {"sm_clock_mhz": rng.normal(1_500, 5, len(edges) - 1)}
    for name, values in truth.items():
        work = np.zeros(len(corners))
        work[1::2] = np.cumsum(values[shape] * (spans.end_ns - spans.start_ns))
        work[2::2] = work[1:-1:2]
        mean = np.diff(np.interp(edges - first_ns, corners, work)) / every_ns
        columns[name] = np.clip(mean + rng.normal(0, 1, len(mean)), 0, 100)
    return SampleSet("throughput", Intervals(edges[:-1], edges[1:]), columns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kernels", type=int, default=1_000_000)
    parser.add_argument("--shapes", type=int, default=100)
    parser.add_argument("--sample-us", type=int, default=50)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    spans, shape = sequence(rng, asked.kernels, asked.shapes)
    truth = {name: rng.uniform(5, 95, asked.shapes) for name in COUNTERS}
    given = samples(rng, spans, shape, truth, asked.sample_us * 1_000)
    moved = Intervals(spans.start_ns - OFFSET_NS, spans.end_ns - OFFSET_NS)
    keys = tuple(KernelKey(f"kernel {at}", Shape(at, None, None)) for at in range(asked.shapes))
    ran = Ran(Operations(moved, shape, asked.shapes), keys, (True,) * asked.shapes)

    began_s = time.perf_counter()
    answer = kernel_sol("GPU-0", [given], ran, profile(sku_facts("H200-SXM-141GB")))
    took_s = time.perf_counter() - began_s

    off = [
        abs(one.values_pct[told] - truth[name][one.key.shape.name_hash])
        for one in answer.kernels
        if one.key.shape is not None
        for name, told in COUNTERS.items()
        if told in one.values_pct
    ]
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{answer.samples:,} samples, {asked.kernels:,} kernels, {asked.shapes} shapes")
    print(f"{took_s:.2f} s, {peak_gb:.2f} GB resident at most")
    print(f"offset {answer.offset.offset_ns} +- {answer.offset.uncertainty_ns} of {OFFSET_NS} ns")
    print(f"{len(off)} of {3 * asked.shapes} values told; off by {max(off, default=0):.2f} at most")


if __name__ == "__main__":
    main()
