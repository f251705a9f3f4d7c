"""Why the clock was held down in a window, by the driver's own account."""

from __future__ import annotations

import numpy as np

from gnomon.analysis.tracks import Track
from gnomon.enums import THROTTLE_BITS, ThrottleReason

# Below these shares of the window a reason explains nothing.
LEAST_SHARE_OF_TIME = 0.005
LEAST_SHARE_OF_READINGS = 0.05

DURATION_COLUMNS = {
    "throttle_sw_power_cap_ns": ThrottleReason.SW_POWER_CAP,
    "throttle_sync_boost_ns": ThrottleReason.SYNC_BOOST,
    "throttle_sw_thermal_ns": ThrottleReason.SW_THERMAL,
    "throttle_hw_thermal_ns": ThrottleReason.HW_THERMAL,
    "throttle_hw_power_brake_ns": ThrottleReason.HW_POWER_BRAKE,
}
# An idle GPU lowers its clock because nothing runs: no loss, no reason.
NOT_A_LOSS = frozenset({ThrottleReason.GPU_IDLE})


def throttle_reasons(track: Track, from_ns: int, to_ns: int) -> tuple[str, ...]:
    """Return the reasons that held the clock down, the longest first.

    Durations from the driver's counters count where it has them; for other reasons the share
    of instant readings that show the bit.
    """
    shares: dict[ThrottleReason, float] = {}
    window_ns = max(to_ns - from_ns, 1)
    timed = set()
    for column, reason in DURATION_COLUMNS.items():
        spent_ns = track.share_sum(column, from_ns, to_ns)
        if spent_ns is None:
            continue
        timed.add(reason)
        if spent_ns / window_ns >= LEAST_SHARE_OF_TIME:
            shares[reason] = spent_ns / window_ns
    shares |= {
        reason: share
        for reason, share in _shares_of_readings(track, from_ns, to_ns).items()
        if reason not in timed and share >= LEAST_SHARE_OF_READINGS
    }
    ordered = sorted(shares, key=lambda reason: -shares[reason])
    return tuple(reason.value for reason in ordered if reason not in NOT_A_LOSS)


def _shares_of_readings(track: Track, from_ns: int, to_ns: int) -> dict[ThrottleReason, float]:
    source = track.source_of("throttle_reasons")
    if source is None:
        return {}
    values = source.columns["throttle_reasons"][source.intervals.inside(from_ns, to_ns)]
    bits = values[~np.isnan(values)].astype(np.int64)
    if not len(bits):
        return {}
    return {
        reason: float((bits & bit != 0).mean())
        for bit, reason in THROTTLE_BITS.items()
        if (bits & bit).any()
    }
