"""The thread that feeds the GPU does work of its own in Python between the steps.

It looks like contention: the GPU waits for a thread that is late. Control: the same work by code
that takes next to no time.
"""

from __future__ import annotations

import inspect
import math
import re
import time
from collections.abc import Callable
from random import Random

from lab.scenarios.clocks import Stopwatch
from lab.scenarios.stage import Program, Scenario, Stage
from lab.scenarios.truth import Injected, SourceLines

VARIANTS = ("tokenise", "filter_logits")
WORDS = ("speed", "of", "light", "kernel", "graph", "stream", "wait", "launch")
_WORD = re.compile(r"\w+")
LOGITS = 4096


def tokenise(text: str) -> list[int]:
    """Cut a text into words, letter by letter, and number them."""
    numbers: dict[str, int] = {}
    tokens: list[int] = []
    word = ""
    for letter in text:
        if letter.isalnum():
            word += letter
        elif word:
            tokens.append(numbers.setdefault(word, len(numbers)))
            word = ""
    return tokens


def filter_logits(logits: list[float]) -> list[int]:
    """Return the likeliest places, which together have 90 % of the probability."""
    largest = max(logits)
    weights = [math.exp(value - largest) for value in logits]
    total = sum(weights)
    kept, so_far = [], 0.0
    for place in sorted(range(len(weights)), key=lambda at: -weights[at]):
        kept.append(place)
        so_far += weights[place]
        if so_far >= 0.9 * total:
            break
    return kept


def tokenise_fast(text: str) -> list[int]:
    """The same without a loop in Python over letters."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(word, len(numbers)) for word in _WORD.findall(text)]


def likeliest(logits: list[float]) -> list[int]:
    """Return the one likeliest place: greedy sampling instead."""
    return [logits.index(max(logits))]


def build(stage: Stage) -> Program:
    random, gpu = stage.random, stage.gpu
    variant = stage.variant(VARIANTS)
    work_ms, launches = random.uniform(4.0, 10.0), random.randrange(15, 30, 5)
    slow, once = _task(variant, random)
    fast: Callable[[], object] = _fast_task(variant, random)
    rounds = max(1, round(work_ms * 1e6 / _lasting_ns(once)))
    product = gpu.product(200.0)
    own = Stopwatch(time.thread_time_ns)

    def work() -> None:
        for _ in range(rounds):
            once()

    def step() -> None:
        for _ in range(launches):
            product()
        gpu.wait()
        with own:
            (work if stage.fault else fast)()

    def injected() -> Injected:
        counts = {"rounds_a_step": rounds, "own_ns": own.total_ns, "pieces": own.count}
        if not stage.fault:
            return Injected(counts=counts)
        # Beside it there is the Python around launches.
        return Injected(own.total_ns, 0.7, 1.3, counts, sources=(lines_of(slow),))

    return Program(step, injected, variant, own.reset)


def lines_of(function: Callable[..., object]) -> SourceLines:
    """Return where a function stands."""
    lines, first = inspect.getsourcelines(function)
    file = inspect.getsourcefile(function) or ""
    return SourceLines(function.__name__, file, first, first + len(lines) - 1)


def _task(variant: str, random: Random) -> tuple[Callable[..., object], Callable[[], object]]:
    """Return the function that is slow, and one call of it."""
    if variant == "tokenise":
        text = " ".join(random.choices(WORDS, k=400)) + " "
        return tokenise, lambda: tokenise(text)
    logits = [random.gauss(0, 3) for _ in range(LOGITS)]
    return filter_logits, lambda: filter_logits(logits)


def _fast_task(variant: str, random: Random) -> Callable[[], object]:
    if variant == "tokenise":
        text = " ".join(random.choices(WORDS, k=400))
        return lambda: tokenise_fast(text)
    logits = [random.gauss(0, 3) for _ in range(LOGITS)]
    return lambda: likeliest(logits)


def _lasting_ns(once: Callable[[], object], times: int = 20) -> float:
    """Return how long a call takes, warm."""
    for _ in range(times):
        once()
    timed = Stopwatch()
    with timed:
        for _ in range(times):
            once()
    return timed.total_ns / times


SCENARIO = Scenario(
    name="host_bound",
    cause="host_bound",
    shows="tokens or logits handled in pure Python between the steps, by the dispatching thread",
    control="the same by code that takes next to no time",
    build=build,
)
