"""Many workloads from one: every combination of the values that axes take.

An axis is ``name=values``: ``batch=1..512`` doubles, ``batch=1..512:8`` goes in steps of 8, and
``tp=1,2,4,8`` or ``dtype=bf16,fp8`` names each.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gnomon._errors import ModelError
from gnomon.performance_model._checks import one_of
from gnomon.performance_model.ceiling import Ceiling
from gnomon.performance_model.operators import KV_BYTES
from gnomon.performance_model.weight_formats import DTYPES
from gnomon.performance_model.workload import Workload

MOST_POINTS = 100_000

_COUNTED = ("batch", "prompt", "output", "context", "cached-prefix", "tp", "pp", "ep", "dp")
_LATER = ("batch", "output")
_NAMED = {"dtype": DTYPES, "kv-dtype": tuple(KV_BYTES)}

AXES = (*_COUNTED, *_NAMED)
"""What can be swept, by the names of the options."""

_RANGE = re.compile(r"(\d+)\.\.(\d+)(?::(\d+))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Axis:
    """An option and the values that it takes in turn."""

    name: str
    values: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A combination of values with its ceiling; or with ``error``, where it cannot be."""

    values: Mapping[str, int | str]
    ceiling: Ceiling | None
    fits: bool | None
    error: str | None = None


def axis(text: str) -> Axis:
    """Read an axis such as ``batch=1..512``. Raises ModelError that names it."""
    name, _, values = text.partition("=")
    name = name.strip().removeprefix("--").replace("_", "-")
    if name not in AXES:
        raise ModelError(f"--sweep {text}: {name!r} is none of {', '.join(AXES)}")
    parts = [part.strip() for part in values.split(",") if part.strip()]
    if not parts:
        raise ModelError(f"--sweep {text}: no values; write {_EXAMPLES[name in _NAMED]}")
    if name in _NAMED:
        for part in parts:
            one_of(f"--sweep {text}: {name}", part, _NAMED[name])
        return Axis(name, tuple(dict.fromkeys(parts)))
    numbers = [number for part in parts for number in _numbers(part, text)]
    return Axis(name, tuple(dict.fromkeys(numbers)))


_EXAMPLES = {False: "batch=1..512, batch=8..64:8 or tp=1,2,4,8", True: "dtype=bf16,fp8"}


def _numbers(part: str, text: str) -> Iterator[int]:
    found = _RANGE.fullmatch(part)
    if found is None:
        if not re.fullmatch(r"\d{1,12}", part, re.ASCII):
            raise ModelError(
                f"--sweep {text}: {part!r} is no number or range; write {_EXAMPLES[False]}"
            )
        yield int(part)
        return
    yield from _range(int(found[1]), int(found[2]), found[3], f"--sweep {text}")


def _range(first: int, last: int, step: str | None, where: str) -> Iterator[int]:
    if first > last:
        raise ModelError(f"{where}: {first} is above {last}; write the smaller number first")
    if step is None:
        yield from doubling(first, last, where)
        return
    if int(step) == 0 or (last - first) / int(step) > MOST_POINTS:
        raise ModelError(f"{where}: steps of {step} make no range; take larger ones")
    yield from range(first, last + 1, int(step))


def doubling(first: int, last: int, where: str) -> tuple[int, ...]:
    """Return first, 2 first, 4 first ... and last. Raises ModelError for a range that is none."""
    if not 1 <= first <= last:
        raise ModelError(f"{where}: write a range that doubles from 1 or more, such as 1..512")
    steps = math.floor(math.log2(last / first) + 1e-9)
    return tuple(dict.fromkeys((*(first << step for step in range(steps + 1)), last)))


def size(axes: Sequence[Axis]) -> int:
    """Return how many points the axes make. Raises ModelError where they are too many."""
    names = [one.name for one in axes]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ModelError(f"--sweep {twice.pop()} is given twice: put its values in one list")
    points = math.prod(len(one.values) for one in axes)
    if points > MOST_POINTS:
        raise ModelError(
            f"--sweep makes {points:,} points, at most {MOST_POINTS:,} are computed: take fewer "
            "values"
        )
    return points


def sweep(workload: Workload, axes: Sequence[Axis]) -> Iterator[Point]:
    """Return a point for every combination of values, made one by one; the last axis is fastest.

    A combination that cannot be (heads that TP does not divide) is a point with its error. Raises
    ModelError, before the first point, where axes are too many or given twice.
    """
    size(axes)
    names = [one.name for one in axes]
    products = itertools.product(*(one.values for one in axes))
    return _points(workload, (dict(zip(names, values, strict=True)) for values in products))


def _points(workload: Workload, combinations: Iterable[Mapping[str, int | str]]) -> Iterator[Point]:
    # The first token of a prompt alone does not know of batch and output: half of the work saved.
    first_token_s: dict[tuple[tuple[str, int | str], ...], float | None] = {}
    for values in combinations:
        options = {name.replace("-", "_"): value for name, value in values.items()}
        key = tuple((name, value) for name, value in values.items() if name not in _LATER)
        try:
            changed = workload.changed(**options)
            answer = changed.ceiling(first_token_s.get(key))
            yield Point(values, answer, changed.fits())
        except ModelError as error:
            yield Point(values, None, None, str(error))
            continue
        if workload.request.phase == "serve":
            first_token_s[key] = answer.ttft_s


@dataclass(frozen=True, slots=True)
class Climb:
    """The ceiling with ``clients`` at once; ``running`` of them have room in the cache."""

    clients: int
    running: int
    ceiling: Ceiling


def climb(workload: Workload, clients: Sequence[int]) -> Iterator[Climb]:
    """Yield the ceilings as more clients come: from what memory binds to what arithmetic binds.

    Those for whom the cache has no room wait. Where not even one fits, or the memory of the GPU
    is not known, all run. Raises ModelError for phases without a batch of clients.
    """
    if workload.request.phase in {"train", "lora"}:
        raise ModelError(
            f"--concurrency is of clients, and --phase {workload.request.phase} has none"
        )
    most = workload.capacity().max_batch or math.inf
    for many in clients:
        running = int(min(many, most))
        yield Climb(many, running, workload.changed(batch=running).ceiling())
