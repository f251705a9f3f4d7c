"""Why the clock was held down in a window, by the driver's own account."""

from __future__ import annotations

from collections import Counter

import numpy as np

from gnomon.analysis.tracks import Track
from gnomon.enums import THROTTLE_BITS, ThrottleReason

# Below these shares of the window a reason explains nothing.
LEAST_SHARE_OF_TIME = 0.005
LEAST_SHARE_SHOWN = 0.05

DURATION_COLUMNS = {
    "throttle_sw_power_cap_ns": ThrottleReason.SW_POWER_CAP,
    "throttle_sync_boost_ns": ThrottleReason.SYNC_BOOST,
    "throttle_sw_thermal_ns": ThrottleReason.SW_THERMAL,
    "throttle_hw_thermal_ns": ThrottleReason.HW_THERMAL,
    "throttle_hw_power_brake_ns": ThrottleReason.HW_POWER_BRAKE,
}
# An idle GPU lowers its clock because nothing runs: no loss, no reason.
NOT_A_LOSS = frozenset({ThrottleReason.GPU_IDLE})


class ThrottleTally:
    """What a window's pieces say of throttling."""

    def __init__(self) -> None:
        self._spent_ns: dict[str, float] = {}
        self._read_ns = 0
        self._shown_ns: Counter[int] = Counter()

    def add(self, track: Track, from_ns: int, to_ns: int) -> None:
        """Take a piece [from_ns, to_ns] of the window into account."""
        for column in DURATION_COLUMNS:
            spent_ns = track.share_sum(column, from_ns, to_ns)
            if spent_ns is not None:
                self._spent_ns[column] = self._spent_ns.get(column, 0.0) + spent_ns
        source = track.source_of("throttle_reasons")
        if source is None:
            return
        where = source.intervals.inside(from_ns, to_ns)
        values = source.columns["throttle_reasons"][where]
        read = source.intervals.take(where)
        # By time, not by rows: a row that two pieces share must not count twice.
        held_ns = np.minimum(read.end_ns, to_ns) - np.maximum(read.start_ns, from_ns)
        known = ~np.isnan(values)
        bits, held_ns = values[known].astype(np.int64), held_ns[known]
        self._read_ns += int(held_ns.sum())
        for bit in THROTTLE_BITS:
            self._shown_ns[bit] += int(held_ns[(bits & bit) != 0].sum())

    def reasons(self, window_ns: int) -> tuple[str, ...]:
        """Return the reasons that held the clock down, the longest first.

        Durations from the driver's counters count where it has them; for other reasons the share
        of the time whose readings show the bit.
        """
        timed = {DURATION_COLUMNS[column] for column in self._spent_ns}
        # Whole nanoseconds: the last digit of a sum of pieces must not decide at the threshold.
        spent = {
            DURATION_COLUMNS[column]: round(spent_ns) / max(window_ns, 1)
            for column, spent_ns in self._spent_ns.items()
        }
        shares = {reason: share for reason, share in spent.items() if share >= LEAST_SHARE_OF_TIME}
        for bit, shown_ns in self._shown_ns.items():
            reason = THROTTLE_BITS[bit]
            if reason not in timed and shown_ns and shown_ns >= LEAST_SHARE_SHOWN * self._read_ns:
                shares[reason] = shown_ns / self._read_ns
        ordered = sorted(shares, key=lambda reason: -shares[reason])
        return tuple(reason.value for reason in ordered if reason not in NOT_A_LOSS)
