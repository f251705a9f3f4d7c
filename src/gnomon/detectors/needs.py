"""What detectors must have to see anything, and what a recording lacks of it.

A detector's module names its needs (``NEEDS``). It runs in any case, and says what it can: a need
that is not met tells the reader that silence is no proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from gnomon.analysis.recorded import Lost, Recorded

# Rows that lack something in so small a share do not hide a loss that would be worth a word.
NEGLIGIBLE_SHARE = 0.01


class Need(StrEnum):
    """Something that a recorder brings, or leaves out."""

    CALLS = "calls"
    ALL_CALLS = "all_calls"
    ALL_ROWS = "all_rows"
    CALL_ORDER = "call_order"
    SCHEDULING = "scheduling"
    CLASSES = "classes"
    WAKERS = "wakers"
    COUNTERS = "counters"
    COLLECTIVES = "collectives"
    MEMORY_READINGS = "memory_readings"
    HOST_READINGS = "host_readings"


# A detector without these sees nothing, whatever else there is.
BLIND_WITHOUT = (Need.CALLS, Need.SCHEDULING)


def lacking(held: Recorded) -> Mapping[Need, str]:
    """Return the needs that are not met, or not wholly, with a sentence that says so."""
    found: dict[Need, str | None] = {
        Need.CALLS: None if held.calls else "no CUDA calls are recorded",
        Need.ALL_CALLS: _in_part(
            held.calls_biased,
            held.calls,
            "recorded CUDA calls were kept for being slow or rare: sums and percentiles are not of "
            "all",
        ),
        Need.ALL_ROWS: what_was_lost(
            Lost(held.calls_lost, held.stays_lost, held.losses_uncounted), held.calls, held.stays
        ),
        Need.CALL_ORDER: _in_part(
            held.calls - held.calls_order_known,
            held.calls,
            "recorded CUDA calls may have been the first of their function, which was not told",
        ),
        Need.SCHEDULING: _scheduling(held),
        Need.CLASSES: _classes(held),
        Need.WAKERS: _in_part(
            held.stays_unexplained,
            held.stays,
            "recorded stays off the CPU have neither waker nor stack: what they waited for is not "
            "known",
        ),
        Need.COUNTERS: None if held.gpus else "no GPU counters are recorded",
        Need.COLLECTIVES: None if held.collectives else "no collectives are recorded",
        Need.MEMORY_READINGS: None
        if held.vram_readings or held.rss_readings
        else "no readings of device or process memory are recorded",
        Need.HOST_READINGS: None if held.host_readings else "no readings of the host are recorded",
    }
    return {need: said for need, said in found.items() if said is not None}


def what_was_lost(lost: Lost, calls: int, stays: int) -> str | None:
    """Return what says that more than a negligible share of rows was lost; None where not.

    ``calls``, ``stays``: those that were kept.
    """
    if lost.losses_uncounted:
        return "CUDA calls or stays off the CPU were lost, and nobody counted how many"
    return _in_part(
        lost.stays_lost, lost.stays_lost + stays, "rows of stays off the CPU were lost"
    ) or _in_part(lost.calls_lost, lost.calls_lost + calls, "rows of CUDA calls were lost")


def _scheduling(held: Recorded) -> str | None:
    """Say that nobody recorded when threads ran: neither their stays nor a call's own sum."""
    if held.stays or held.calls_followed:
        return None
    return "when threads were off the CPU is not recorded"


def _classes(held: Recorded) -> str | None:
    if not held.stays:
        return _in_part(
            held.calls_unclassed, held.calls_off_cpu, "recorded calls off the CPU" + _UNCLASSED
        )
    return _in_part(held.stays_unclassed, held.stays, "recorded stays off the CPU" + _UNCLASSED)


_UNCLASSED = " do not tell a wait for a CPU from other waits"


def _in_part(without: int, of: int, said: str) -> str | None:
    if without <= NEGLIGIBLE_SHARE * of:
        return None
    return f"{without:,} of {of:,} {said}"
