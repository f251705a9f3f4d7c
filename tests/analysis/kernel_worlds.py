"""Sequences of kernels whose counters are known, as PM sampling would see them."""

import numpy as np

from gnomon.analysis.intervals import Intervals
from gnomon.analysis.kernel_overlap import Operations
from gnomon.analysis.kernel_sol import Ran, SampleSet
from gnomon.analysis.kernel_sol_types import KernelKey
from gnomon.analysis.kernel_types import Shape
from gnomon.hardware import profile, sku_facts

H200 = profile(sku_facts("H200-SXM-141GB"))
BEGIN_NS = 1_795_202_475_000_000_000
US = 1_000


def sequence(order, length_ns, gap_ns, rng):
    """Return kernels of these groups one after the other: lengths by group, gaps exponential."""
    order = np.asarray(order)
    length_ns = (np.asarray(length_ns)[order] * rng.uniform(0.9, 1.1, len(order))).astype(int)
    gap_ns = rng.exponential(gap_ns, len(order)).astype(int) + 200
    end_ns = BEGIN_NS + np.cumsum(length_ns + gap_ns)
    return Intervals(end_ns - length_ns, end_ns), order


def ran(spans, group, names=None, on_sms=None):
    """Return operations, each group a kernel of its own name."""
    many = int(group.max()) + 1
    names = names or [f"kernel {at}" for at in range(many)]
    keys = tuple(KernelKey(name, Shape(at, None, None)) for at, name in enumerate(names))
    return Ran(Operations(spans, group, many), keys, on_sms or (True,) * many)


def moved(spans, by_ns):
    return Intervals(spans.start_ns + by_ns, spans.end_ns + by_ns)


def sampled(spans, group, truth, every_ns, rng, noise=0.5, clock_mhz=1464.0):
    """Return samples of operations that may overlap, whose values (groups,) then add up."""
    edges = np.arange(
        spans.start_ns.min() - 20 * every_ns, spans.end_ns.max() + 20 * every_ns, every_ns
    )
    edges += rng.integers(-every_ns // 200, every_ns // 200 + 1, len(edges))
    samples = Intervals(edges[:-1], edges[1:])
    columns = {}
    for name, values in truth.items():
        rate = _integral(spans, np.asarray(values, dtype=float)[group], edges)
        mean = np.diff(rate) / np.diff(edges)
        columns[name] = np.clip(mean + rng.normal(0, noise, len(mean)) * (mean > 0), 0, 100)
    columns["sm_clock_mhz"] = np.full(len(samples), clock_mhz)
    return SampleSet("throughput", samples, columns)


def _integral(spans, value, at_ns):
    """Return the integral of value over time up to each moment, by its corners."""
    corner_ns = np.concatenate((spans.start_ns, spans.end_ns))
    slope = np.concatenate((value, -value))
    order = np.argsort(corner_ns, kind="stable")
    corner_ns, level = corner_ns[order], np.cumsum(slope[order])
    total = np.concatenate(([0.0], np.cumsum(level[:-1] * np.diff(corner_ns))))
    return np.interp(at_ns - corner_ns[0], corner_ns - corner_ns[0], total)
