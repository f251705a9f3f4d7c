"""Sets what the programs keep, from what was counted, and remembers it for the rows."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt

from gnomon.tracing import layouts
from gnomon.tracing.budget import KEEP_ALL, WHOLE_CHANCE, EventBudget, Limit
from gnomon.tracing.chances import Chances
from gnomon.tracing.slots import Taken

Counts = npt.NDArray[np.int64]
Seconds = npt.NDArray[np.float64]

# A waker's stack delays the wake-up by some us: only where the stay was long.
WAKER_STACK_FROM_NS = 1_000_000
# A caller's stack costs as much as the call's record again.
USER_STACK_FROM_NS = 20_000
NETWORK_FROM_BYTES = 1 << 20
# Where not all requests to disks are kept, those that take this long are.
REQUEST_FROM_NS = 10_000_000
# What is counted of threads without a length is put into this bucket.
ANY = 0


class Limits:
    """Owns the map ``settings``; `update` is called once a second."""

    def __init__(self, settings: npt.NDArray[np.void], chances: Chances, a_second: float) -> None:
        """``settings``: the live view of the map; ``a_second``: rows of each table."""
        self._settings, self._chances = settings, chances
        self._calls = EventBudget(layouts.OPERATIONS, a_second)
        self._failed = EventBudget(1, a_second / 4)
        self._stays = EventBudget(1, a_second)
        self._requests = EventBudget(1, a_second / 4)
        self._sends = EventBudget(1, a_second / 10)
        self._before: dict[int, np.void] = {}
        settings["waker_stack_threshold_ns"] = WAKER_STACK_FROM_NS
        settings["user_stack_threshold_ns"] = USER_STACK_FROM_NS
        settings["network_threshold_bytes"] = NETWORK_FROM_BYTES
        settings["retransmit_sample"] = WHOLE_CHANCE - 1

    def update_calls(self, operation: Counts, histogram: Counts, seconds: Seconds) -> None:
        """Take what was counted by cell, in ``seconds`` by operation (0: not looked at)."""
        calls = np.zeros((layouts.OPERATIONS, layouts.BUCKETS), np.int64)
        np.add.at(calls, operation, histogram)
        looked = np.zeros(layouts.OPERATIONS)
        looked[: len(seconds)] = seconds
        limits = self._calls.update(calls, looked)
        threshold = np.array([one.threshold_ns for one in limits], np.uint64)
        self._chances.set_calls(threshold, time.monotonic_ns())
        self._settings["call_threshold_ns"][0] = threshold
        self._settings["call_sample"][0] = [one.sample for one in limits]

    def update_failed(self, calls: int, seconds: float) -> None:
        """Take how many calls failed in these seconds."""
        counts = np.zeros((1, layouts.BUCKETS), np.int64)
        counts[0, ANY] = calls
        (limit,) = self._failed.update(counts, np.array([seconds]))
        # Of operations that are all kept failed calls are, too, whatever this is.
        self._settings["failed_sample"] = limit.sample

    def update_threads(self, taken: Taken, seconds: float) -> None:
        """Take the totals of threads as they are ``seconds`` after the last ones."""
        stays, requests, sends = self._threads(taken)
        looked = np.array([seconds])
        self._set_stays(*self._stays.update(stays[None, :], looked))
        self._set_requests(*self._requests.update(requests[None, :], looked))
        (of_sends,) = self._sends.update(sends[None, :], looked)
        chance = WHOLE_CHANCE - 1 if of_sends == KEEP_ALL else of_sends.sample
        self._settings["network_sample"] = chance

    def _set_stays(self, limit: Limit) -> None:
        self._chances.set_stays(limit.threshold_ns, time.monotonic_ns())
        self._settings["stay_threshold_ns"] = limit.threshold_ns
        self._settings["stay_sample"] = limit.sample

    def _set_requests(self, limit: Limit) -> None:
        threshold_ns = 0 if limit == KEEP_ALL else REQUEST_FROM_NS
        self._chances.set_requests(threshold_ns, time.monotonic_ns())
        self._settings["block_threshold_ns"] = threshold_ns
        self._settings["block_sample"] = limit.sample

    def _threads(self, taken: Taken) -> tuple[Counts, Counts, Counts]:
        """Stays, block requests, and sends and receives since the last look, by bucket.

        A stay's length is known as two parts; for a limit the larger of them is near enough.
        """
        stays, requests, sends = np.zeros((3, layouts.BUCKETS), np.int64)
        (blank,) = np.zeros(1, layouts.THREAD)
        known = self._before
        self._before = dict(zip(taken.numbers.tolist(), taken.threads, strict=True))
        for number, now in self._before.items():
            before = known.get(number, blank)
            if before["born_ns"] != now["born_ns"]:
                before = blank
            blocked = _more(now, before, "blocked_histogram")
            queued = _more(now, before, "run_queue_histogram")
            share = int(_more(now, before, "preempted_switches")) / max(1, int(queued.sum()))
            stays += blocked + np.round(queued * share).astype(np.int64)
            requests[ANY] += _more(now, before, "block_requests")
            sends[ANY] += _more(now, before, "sends") + _more(now, before, "receives")
        return stays, requests, sends


def _more(now: np.void, before: np.void, name: str) -> Counts:
    """How far a counter of a thread has gone on."""
    more: Counts = np.maximum(0, now[name].astype(np.int64) - before[name].astype(np.int64))
    return more
