"""Columns that are read less often than their rows are written: each value covers more than a row.

The energy counter costs the driver 3 to 4 ms, so the nvml source reads it every two seconds and
leaves it null in between. Its value then covers the time since the value before it, not the one
row it stands in.
"""

from __future__ import annotations

import numpy as np

from gnomon.analysis.intervals import Floats, Intervals

# The columns that nvml reads at a period of their own (``sources/_nvml_metrics``) and that are
# growth since the value before. Busy is not: the driver averages it over its own 1/6 to 1 s.
SELDOM_READ = frozenset(
    {
        "power_watts",
        "energy_joules",
        "throttle_sw_power_cap_ns",
        "throttle_sync_boost_ns",
        "throttle_sw_thermal_ns",
        "throttle_hw_thermal_ns",
        "throttle_hw_power_brake_ns",
    }
)
# A value covers no more than this: a longer silence is a gap, and gaps are not filled in.
LONGEST_NS = 5_000_000_000


def covered(intervals: Intervals, values: Floats) -> tuple[Intervals, Floats]:
    """Return the values that are there, on the intervals that they cover; shapes (m,), m <= n."""
    known = ~np.isnan(values)
    if known.all() or not known.any():
        return intervals, values
    end_ns = intervals.end_ns[known]
    start_ns = intervals.start_ns[known]
    if len(end_ns) > 1:
        # Readings come at an even pace: the first one covers what the second one does.
        before_ns = np.concatenate([[end_ns[0] - (end_ns[1] - end_ns[0])], end_ns[:-1]])
        start_ns = np.minimum(start_ns, np.maximum(before_ns, end_ns - LONGEST_NS))
    return Intervals(start_ns, end_ns), values[known]
