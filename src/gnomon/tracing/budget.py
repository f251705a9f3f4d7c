"""How much is kept, and how much the target pays: thresholds, samples, and windows for launches.

Each operation gets a share of the rows that may be kept: none needs more than it has calls, and the
rest is shared alike (max-min fairness). Of its share, half is for the longest calls, which are all
kept; the others are kept by chance, with a chance that makes up the rest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gnomon.tracing import layouts
from gnomon.tracing.slots import bucket_edges_ns

Rates = npt.NDArray[np.float64]

KEPT_A_SECOND = 2_000.0
# Of an operation's share, what calls that are kept for their length may use.
OUTLIER_SHARE = 0.5
# Rates fall this much a second in our memory, and rise at once: bursts come again.
MEMORY = 0.7
WHOLE_CHANCE = 1 << 32
NEVER_NS = (1 << 64) - 1
# A pair of traps and our programs: 0.83 us at 112,000 calls/s on a virtual machine, Linux 6.18.
PAIR_NS = 850.0
# What of it lies between the two clocks of a call, and so in its duration.
FLOOR_NS = 300.0
LAUNCH_BUDGET = 0.02
WINDOW_NS = 50_000_000
LONGEST_PERIOD_NS = 60_000_000_000
# Launches are traced all the time again where that costs this much less than the budget.
SLACK = 0.8


class Limit(NamedTuple):
    """Durations from ``threshold_ns`` on are kept, shorter ones with a chance of sample / 2^32."""

    threshold_ns: int
    sample: int


KEEP_ALL = Limit(0, 0)


def fair_share(rates: Rates, budget: float) -> float:
    """The level L at which the sum of min(rate, L) is the budget; infinite where all fit."""
    if rates.sum() <= budget:
        return float("inf")
    ascending = np.sort(rates)
    # Were all up to i kept whole, the others would share what is left alike.
    whole = np.concatenate([[0.0], np.cumsum(ascending)[:-1]])
    levels = (budget - whole) / np.arange(len(ascending), 0, -1)
    return float(levels[np.argmax(levels <= ascending)])


def limit_for(rate_by_bucket: Rates, share: float) -> Limit:
    """What keeps at most ``share`` rows a second of calls that come at these rates."""
    total = float(rate_by_bucket.sum())
    if total <= share:
        return KEEP_ALL
    at_least = np.cumsum(rate_by_bucket[::-1])[::-1]
    fitting = np.flatnonzero(at_least <= OUTLIER_SHARE * share)
    # No bucket fits where the longest alone is too many.
    first = int(fitting[0]) if len(fitting) else layouts.BUCKETS
    outliers = float(at_least[first]) if len(fitting) else 0.0
    threshold_ns = int(bucket_edges_ns()[first]) if len(fitting) else NEVER_NS
    chance = (share - outliers) / (total - outliers)
    # Never 0: what has no chance stands for nothing.
    return Limit(threshold_ns, min(WHOLE_CHANCE - 1, max(1, int(chance * WHOLE_CHANCE))))


class EventBudget:
    """Limits of several kinds of records that share ``a_second`` rows, from what was counted."""

    def __init__(self, kinds: int, a_second: float = KEPT_A_SECOND) -> None:
        self._a_second = a_second
        self._rates: Rates = np.zeros((kinds, layouts.BUCKETS))

    def update(
        self, counts: npt.NDArray[np.int64], seconds: npt.NDArray[np.float64]
    ) -> list[Limit]:
        """The limits from now on.

        ``counts`` by kind and bucket, of the last ``seconds``, which are 0 for kinds that were not
        looked at.
        """
        is_seen = seconds > 0
        now = counts[is_seen] / seconds[is_seen, None]
        fading = MEMORY ** seconds[is_seen, None]
        self._rates[is_seen] = np.maximum(now, self._rates[is_seen] * fading)
        # What comes less than once a minute is gone.
        self._rates[self._rates < 1 / 60] = 0.0
        rates = self._rates.sum(1)
        level = fair_share(rates, self._a_second)
        return [limit_for(of_kind, level) for of_kind in self._rates]


class LaunchBudget(NamedTuple):
    """When to trace launches; ``pair_ns``: what tracing one call costs its thread."""

    pair_ns: float = PAIR_NS
    share: float = LAUNCH_BUDGET
    window_ns: int = WINDOW_NS

    def cost(self, calls_a_second: float) -> float:
        """The share of a thread's time that tracing so many calls takes."""
        return calls_a_second * self.pair_ns / 1e9

    def is_over(self, calls_a_second: float) -> bool:
        return self.cost(calls_a_second) > self.share

    def is_well_under(self, calls_a_second: float) -> bool:
        return self.cost(calls_a_second) < SLACK * self.share

    def period_ns(self, calls_a_second: float, on_ns: float) -> int:
        """From one window to the next, so that ``on_ns`` of tracing stay within the share."""
        period_ns = on_ns * self.cost(calls_a_second) / self.share
        return int(min(max(period_ns, on_ns), LONGEST_PERIOD_NS))
