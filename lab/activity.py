"""One known workload: what it repeats, how much work that is, and what is true of it."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from lab.known_work import Work


class NotPossibleError(Exception):
    """This machine cannot run the phase, for the reason given; the tour goes on without it."""


def _nothing() -> None:
    return None


def _no_truth(_iterations: int, _elapsed_s: float) -> Mapping[str, float]:
    return {}


@dataclass(slots=True)
class Activity:
    """A workload ready to run.

    ``step`` does one iteration; it either ends synchronized (``queued`` 0) or only enqueues
    work, and then at most ``queued`` iterations wait on the GPU at a time. ``work`` maps a
    number of iterations to their Work. ``begin`` runs after the warm-up, just before the phase;
    ``truth`` maps iterations and seconds to what is known of the phase by independent means
    (keys of ``gnomon summary``); ``release`` frees what the phase holds.
    """

    step: Callable[[], None]
    work: Callable[[int], Work] = field(default=lambda _iterations: Work())
    queued: int = 0
    begin: Callable[[], None] = _nothing
    truth: Callable[[int, float], Mapping[str, float]] = _no_truth
    release: Callable[[], None] = _nothing


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of iterations, Unix ns; the GPU was idle at both ends."""

    from_ns: int
    to_ns: int
    iterations: int

    @property
    def seconds(self) -> float:
        return (self.to_ns - self.from_ns) / 1e9


def repeat(activity: Activity, seconds: float) -> Stretch:
    """Repeat the activity for at least ``seconds`` and wait until the GPU has finished."""
    import torch

    waiting: deque[torch.cuda.Event] = deque()
    iterations = 0
    begin_ns = time.time_ns()
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        activity.step()
        iterations += 1
        if activity.queued:
            event = torch.cuda.Event()
            event.record()
            waiting.append(event)
            if len(waiting) >= activity.queued:
                waiting.popleft().synchronize()
    torch.cuda.synchronize()
    return Stretch(begin_ns, time.time_ns(), iterations)


@contextlib.contextmanager
def memory_freed() -> Iterator[None]:
    """Give the framework's cached device memory back at the end, so that phases do not add up."""
    import gc

    import torch

    try:
        yield
    finally:
        gc.collect()
        torch.cuda.empty_cache()


def need_memory(size_bytes: float) -> None:
    """Raise NotPossibleError where the GPU has less than this free."""
    import torch

    free, _total = torch.cuda.mem_get_info()
    if size_bytes > free:
        raise NotPossibleError(
            f"needs {size_bytes / 1e9:.0f} GB of device memory, {free / 1e9:.0f} GB are free"
        )
