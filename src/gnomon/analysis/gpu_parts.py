"""What a GPU did in any stretch of its time: compute, collectives, copies, nothing.

Arithmetic of sets: with K the time in which a compute kernel ran, N a collective, C a copy,

    exposed collectives = |K or N| - |K|,   overlapped ones = |N| - exposed
    exposed copies = |K or N or C| - |K or N|,   overlapped ones = |C| - exposed
    host = length - |K or N or C|

so that K, what is exposed and the host's part add up to the length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gnomon.analysis.gpu_step_types import RangeParts
from gnomon.analysis.gpu_work import GpuWork
from gnomon.analysis.interval_sets import Covered, picked, union
from gnomon.analysis.intervals import Intervals, Ints
from gnomon.enums import KernelFamily

# Nearly all operations say when they were enqueued, or they are not asked.
MOST_UNTOLD = 0.01


@dataclass(frozen=True, slots=True)
class Instances:
    """n stretches of time of one name, at least one, in any order; see ``RangeParts``."""

    name: str
    spans: Intervals
    by_launch: bool = False


class GpuParts:
    """The sets of time of one GPU, to be laid over steps and ranges.

    ``kernels``, ``engine`` (what SMs do) and ``anything`` are for who needs more than parts. The
    others may be as large, and are made one after the other for all ranges together.
    """

    def __init__(self, work: GpuWork) -> None:
        self._work = work
        kernels, on_sms = union(work.kernels.spans), work.copies_on_sms()
        self.kernels = self.engine = self.anything = Covered(kernels)
        if len(on_sms):
            self.engine = Covered(union(kernels, on_sms))
        if len(work.copies):
            self.anything = Covered(union(kernels, work.copies.spans))

    def of(self, asked: Sequence[Instances]) -> list[RangeParts]:
        """Return the parts of each."""
        families = self._families(asked)
        collective = KernelFamily.COLLECTIVE
        others = [one for one in families if one is not collective]
        compute, kernels, anything, copies, collectives = (
            _inside(one, asked)
            for one in (
                Covered(union(self._work.of_families(*others))),
                self.kernels,
                self.anything,
                Covered(union(self._work.copies.spans)),
                Covered(union(self._work.of_families(collective))),
            )
        )
        return [
            _parts(
                one,
                Sums(*(sums[at] for sums in (compute, collectives, copies, kernels, anything))),
                {name: sums[at] for name, sums in families.items()},
            )
            for at, one in enumerate(asked)
        ]

    def _families(self, asked: Sequence[Instances]) -> Mapping[KernelFamily, Sequence[int]]:
        present = {one.family for one in self._work.kernel_labels}
        return {
            one: _inside(Covered(union(self._work.of_families(one))), asked)
            for one in KernelFamily
            if one in present
        }


class Sums(NamedTuple):
    """Nanoseconds of sets in all instances of a range."""

    compute: int
    collectives: int
    copies: int
    kernels: int
    anything: int


def _inside(covered: Covered, asked: Sequence[Instances]) -> Sequence[int]:
    return [int(covered.inside(one.spans).sum()) for one in asked]


def _parts(one: Instances, sums: Sums, families: Mapping[KernelFamily, int]) -> RangeParts:
    length_ns = one.spans.end_ns - one.spans.start_ns
    p50_ns, p95_ns = np.quantile(length_ns, (0.5, 0.95), method="inverted_cdf")
    largest = sorted(families.items(), key=lambda item: (-item[1], item[0]))
    exposed_collectives, exposed_copies = sums.kernels - sums.compute, sums.anything - sums.kernels
    return RangeParts(
        name=one.name,
        count=len(one.spans),
        by_launch=one.by_launch,
        total_ns=int(length_ns.sum()),
        p50_ns=int(p50_ns),
        p95_ns=int(p95_ns),
        longest_ns=int(length_ns.max()),
        compute_ns=sums.compute,
        collectives_exposed_ns=exposed_collectives,
        collectives_overlapped_ns=sums.collectives - exposed_collectives,
        copies_exposed_ns=exposed_copies,
        copies_overlapped_ns=sums.copies - exposed_copies,
        host_ns=int(length_ns.sum()) - sums.anything,
        families={name.value: ns for name, ns in largest if ns},
    )


@dataclass(frozen=True, slots=True)
class Launches:
    """Operations in the order in which they were enqueued; arrays (n,), Unix ns."""

    enqueued_ns: Ints
    spans: Intervals

    @classmethod
    def of(cls, work: GpuWork) -> Launches | None:
        """Return those of a GPU; None where it is not known when operations were enqueued."""
        enqueued_ns = np.concatenate((work.kernels.enqueued_ns, work.copies.enqueued_ns))
        told = enqueued_ns > 0
        if not len(told) or np.count_nonzero(~told) > MOST_UNTOLD * len(told):
            return None
        begins = np.concatenate((work.kernels.spans.start_ns, work.copies.spans.start_ns))
        ends = np.concatenate((work.kernels.spans.end_ns, work.copies.spans.end_ns))
        order = np.flatnonzero(told)
        order = order[np.argsort(enqueued_ns[order], kind="stable")]
        return cls(enqueued_ns[order], picked(Intervals(begins, ends), order))

    def ran(self, spans: Intervals) -> Intervals:
        """Return, of each stretch of time, when what was enqueued in it ran, first to last.

        Stretches in which nothing was enqueued have none.
        """
        first = np.searchsorted(self.enqueued_ns, spans.start_ns, side="left")
        last = np.searchsorted(self.enqueued_ns, spans.end_ns, side="right")
        some = last > first
        if not some.any():
            return picked(spans, some)
        # Every other result is that of a range; its neighbour lies between two of them.
        edges = np.stack((first[some], last[some]), axis=1).ravel()
        begins = np.append(self.spans.start_ns, self.spans.start_ns[-1])
        ends = np.append(self.spans.end_ns, self.spans.end_ns[-1])
        return Intervals(
            np.minimum.reduceat(begins, edges)[::2], np.maximum.reduceat(ends, edges)[::2]
        )
