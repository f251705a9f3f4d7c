"""What bounds a GPU: the nearest roof, else the largest loss.

The order of the questions:

1. Is a roof near? A pipe (share of cycles, so a throttled chip counts as near), DRAM or NVLink
   whose use is at least ``NEAR_ROOF`` of what is attainable; or compute and memory together,
   because real steps alternate between kernels under one roof and kernels under the other.
   The nearer roof names the bound. A pipe near its roof on a chip whose largest loss is the
   clock is bound by the clock.
2. Otherwise the largest term of the loss ledger names it.

Every number is in ``THRESHOLDS``, with where it comes from.
"""

from __future__ import annotations

from dataclasses import dataclass

from gnomon.analysis.summary_types import ComputeLedger
from gnomon.enums import BoundBy


@dataclass(frozen=True, slots=True)
class Threshold:
    """A named number that decides something, and its derivation."""

    value: float
    unit: str
    derivation: str


THRESHOLDS: dict[str, Threshold] = {
    "attainable_pipe_pct": Threshold(
        93.0,
        "% of elapsed cycles",
        "tensor pipe of a cuBLAS bf16 GEMM 8192^3 on an H200 (driver 580): 93.1 % by GPM and PM",
    ),
    "attainable_dram_pct": Threshold(
        88.4,
        "% of datasheet bandwidth",
        "device-to-device copy of gigabytes on an H200: 88.4 % by GPM, 4,264 GB/s by the program",
    ),
    "attainable_link_pct": Threshold(
        80.0,
        "% of line rate",
        "large NCCL messages reach 75 to 85 % of NVLink's line rate after protocol overhead",
    ),
    "near_roof": Threshold(
        0.6,
        "share of attainable",
        "prefill of 1 x 2048 tokens on an H200 (tensor 56.7 % of cycles) is compute-bound and "
        "reads 0.61; prefill of 1 x 512, starved by its host, reads 0.31",
    ),
    "near_roofs_together": Threshold(
        0.75,
        "sum of shares of attainable",
        "LoRA training 8 x 1024 on an H200 alternates GEMMs and memory-bound kernels: 0.49 + 0.41 "
        "at 99.5 % engine time; decode b512, launch-bound, reads 0.05 + 0.33",
    ),
    "idle_engine_pct": Threshold(
        1.0, "% of time", "an H200 with an open context and no work reads 0.0 to 0.3"
    ),
    "idle_in_gaps": Threshold(
        0.5,
        "share of idle time",
        "idle time inside intervals in which something ran is a host feeding too slowly; whole "
        "idle intervals are a GPU with nothing to do",
    ),
    "busy_thread_pct": Threshold(
        80.0,
        "% of one core",
        "eager decode on an H200 keeps its dispatch thread at 97 to 100 %; above 80 the thread "
        "has no slack that matters",
    ),
}


@dataclass(frozen=True, slots=True)
class BoundEvidence:
    """What the decision rests on; None where it was not measured."""

    ledger: ComputeLedger
    pipe_active_pct: float
    engine_active_pct: float
    dram_pct: float | None
    nvlink_sol_pct: float | None
    idle_in_gaps: float | None
    copy_over_nvlink: bool = False


def bound_by(evidence: BoundEvidence) -> BoundBy:
    """Return what bounds the GPU, by nearest roof, else by largest loss."""
    roof = _nearest_roof(evidence)
    largest = _largest_loss(evidence.ledger)
    if roof is BoundBy.COMPUTE and largest == "clock_pct":
        return BoundBy.CLOCK
    return roof or _bound_by_loss(largest, evidence)


def _nearest_roof(evidence: BoundEvidence) -> BoundBy | None:
    shares = {
        BoundBy.COMPUTE: evidence.pipe_active_pct / THRESHOLDS["attainable_pipe_pct"].value,
        BoundBy.MEMORY: (evidence.dram_pct or 0.0) / THRESHOLDS["attainable_dram_pct"].value,
        BoundBy.COMMUNICATION: (evidence.nvlink_sol_pct or 0.0)
        / THRESHOLDS["attainable_link_pct"].value,
    }
    nearest = max(shares, key=lambda name: shares[name])
    together = shares[BoundBy.COMPUTE] + shares[BoundBy.MEMORY]
    if shares[nearest] >= THRESHOLDS["near_roof"].value:
        return nearest
    if together >= THRESHOLDS["near_roofs_together"].value:
        return max((BoundBy.COMPUTE, BoundBy.MEMORY), key=lambda name: shares[name])
    return None


def _largest_loss(ledger: ComputeLedger) -> str:
    terms = ("copying_pct", "idle_pct", "sm_empty_pct", "stalled_pct", "clock_pct")
    return max(terms, key=lambda term: getattr(ledger, term) or 0.0)


def _bound_by_loss(largest: str, evidence: BoundEvidence) -> BoundBy:
    if largest == "copying_pct":
        return BoundBy.COMMUNICATION if evidence.copy_over_nvlink else BoundBy.COPY
    if largest == "clock_pct":
        return BoundBy.CLOCK
    if largest != "idle_pct":
        return BoundBy.LATENCY
    if evidence.engine_active_pct < THRESHOLDS["idle_engine_pct"].value:
        return BoundBy.IDLE
    in_gaps = evidence.idle_in_gaps
    fed_too_slowly = in_gaps is None or in_gaps >= THRESHOLDS["idle_in_gaps"].value
    return BoundBy.HOST if fed_too_slowly else BoundBy.IDLE
