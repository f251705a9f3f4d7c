"""Launches are traced all the time, or in windows where that would cost too much."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum

from gnomon.tracing.budget import LaunchBudget


class Mode(Enum):
    ALWAYS = "always"
    CLOSED = "closed"
    OPEN = "open"


class LaunchWindows:
    """Switches the probes of launches; times are CLOCK_MONOTONIC ns.

    A window lasts from ``began_ns``, when probes have been attached, until they begin to be
    detached. ``due_ns`` is when it is to be opened or closed, None while launches are always on.
    """

    def __init__(
        self,
        switch: Callable[[bool], None],
        budget: LaunchBudget,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """``switch`` attaches the probes, or takes them away, and returns when that is done."""
        self.mode = Mode.ALWAYS
        self.due_ns: int | None = None
        self.began_ns = clock_ns()
        self._switch, self._budget, self._clock_ns = switch, budget, clock_ns
        self._opening_ns = self.began_ns

    def look(self, calls_a_second: float) -> bool:
        """Take the rate of launches of the busiest thread; whether windows begin now."""
        if self.mode is not Mode.ALWAYS or not self._budget.is_over(calls_a_second):
            return False
        # Attaching and detaching belong to what a window costs, and are not known yet.
        self._opening_ns = self._clock_ns() - self._budget.window_ns
        self._shut(calls_a_second)
        return True

    def open(self) -> None:
        """Begin the window that is due."""
        self._opening_ns = self._clock_ns()
        self._switch(True)
        self.mode = Mode.OPEN
        self.begin(self._clock_ns())

    def begin(self, now_ns: int) -> None:
        """Let the window that is open begin now: what was counted before is none of it."""
        self.began_ns, self.due_ns = now_ns, now_ns + self._budget.window_ns

    def close(self, calls_a_second: float) -> None:
        """End a window in which launches came at this rate; it stays open where they are few."""
        if self._budget.is_well_under(calls_a_second):
            self.mode, self.due_ns = Mode.ALWAYS, None
        else:
            self._shut(calls_a_second)

    def _shut(self, calls_a_second: float) -> None:
        self._switch(False)
        now_ns = self._clock_ns()
        self.mode = Mode.CLOSED
        on_ns = now_ns - self._opening_ns
        self.due_ns = self._opening_ns + max(
            self._budget.period_ns(calls_a_second, on_ns), on_ns + self._budget.window_ns
        )
