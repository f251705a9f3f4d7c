"""Which records the programs keep, as it was when each record was made.

Settings change while programs run. A record tells the chance by which it was kept, but not whether
others like it were dropped: that is remembered here, change by change.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gnomon.tracing import layouts

Records = npt.NDArray[np.void]
Flags = npt.NDArray[np.bool_]
NEVER_NS = (1 << 63) - 1
# The largest chance that can be written: all but one of 2^32 are kept.
WHOLE = (1 << 32) - 1


class _Limit:
    """Thresholds of some kinds, now and before the last change."""

    def __init__(self, kinds: int) -> None:
        self._now_all = np.ones(kinds, np.bool_)
        self._before_all = np.ones(kinds, np.bool_)
        self._changed_ns = np.zeros(kinds, np.int64)
        # From when on some may have been dropped.
        self.complete_until_ns = np.full(kinds, NEVER_NS)

    def change(self, keeps_all: Flags, at_ns: int) -> None:
        changed = keeps_all != self._now_all
        self._before_all[changed] = self._now_all[changed]
        self._now_all[changed] = keeps_all[changed]
        self._changed_ns[changed] = at_ns
        self.interrupt(~keeps_all, at_ns)

    def interrupt(self, kinds: Flags, at_ns: int) -> None:
        self.complete_until_ns[kinds] = np.minimum(self.complete_until_ns[kinds], at_ns)

    def all_kept(self, kinds: npt.NDArray[Any], end_ns: npt.NDArray[np.int64]) -> Flags:
        is_old = end_ns < self._changed_ns[kinds]
        kept: Flags = np.where(is_old, self._before_all[kinds], self._now_all[kinds])
        return kept


class Chances:
    """Written by `set_calls` and the like just before the settings are."""

    def __init__(self) -> None:
        self._calls = _Limit(layouts.OPERATIONS)
        self._stays = _Limit(1)
        self._requests = _Limit(1)
        self._stand_for = np.ones(layouts.OPERATIONS)

    def set_calls(self, threshold_ns: npt.NDArray[np.uint64], at_ns: int) -> None:
        """From ``at_ns`` (CLOCK_MONOTONIC) on these thresholds hold, one an operation."""
        self._calls.change(threshold_ns == 0, at_ns)

    def set_stays(self, threshold_ns: int, at_ns: int) -> None:
        self._stays.change(np.array([threshold_ns == 0]), at_ns)

    def set_requests(self, threshold_ns: int, at_ns: int) -> None:
        self._requests.change(np.array([threshold_ns == 0]), at_ns)

    def lost_calls(self, since_ns: int) -> None:
        """Records of calls were lost after ``since_ns``."""
        self._calls.interrupt(np.ones(layouts.OPERATIONS, np.bool_), since_ns)

    def set_window(self, chosen: Flags, stands_for: float) -> None:
        """Calls of the operations chosen are seen for a time that stands for a longer one."""
        self._stand_for[: len(chosen)][chosen] = stands_for

    def calls_all_kept(self, records: Records) -> Flags:
        """Whether all calls like these were kept at their time."""
        kinds = records["operation"].astype(np.intp)
        is_whole: Flags = self._stand_for[kinds] == 1
        return self._calls.all_kept(kinds, _ends(records)) & is_whole

    def calls_were_all_kept(self, records: Records) -> Flags:
        """Whether all calls of their operation had been kept until then, in all processes."""
        kinds = records["operation"].astype(np.intp)
        is_before: Flags = _ends(records) < self._calls.complete_until_ns[kinds]
        return is_before

    def call_weights(self, records: Records) -> npt.NDArray[np.float64]:
        """How many calls each stands for."""
        stands_for = self._stand_for[records["operation"].astype(np.intp)]
        found: npt.NDArray[np.float64] = weights(records["sample"]) * stands_for
        return found

    def stays_all_kept(self, records: Records) -> Flags:
        return self._stays.all_kept(np.zeros(len(records), np.intp), _ends(records))

    def requests_all_kept(self, records: Records) -> Flags:
        return self._requests.all_kept(np.zeros(len(records), np.intp), _ends(records))

    def stays_were_all_kept(self) -> bool:
        """Whether no stay has been dropped so far."""
        return bool(self._stays.complete_until_ns[0] == NEVER_NS)


def weights(sample: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    """How many a record stands for: kept for itself 1, by a chance of sample / 2^32 its inverse."""
    is_sure = (sample == 0) | (sample == WHOLE)
    return np.where(is_sure, 1.0, 2.0**32 / np.maximum(sample, 1))


def _ends(records: Records) -> npt.NDArray[np.int64]:
    ends: npt.NDArray[np.int64] = (records["start_ns"] + records["duration_ns"]).astype(np.int64)
    return ends
