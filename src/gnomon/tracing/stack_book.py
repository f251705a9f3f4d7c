"""Stacks that rows refer to, each told once, as rows of `stacks`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from gnomon.tracing import layouts
from gnomon.tracing.columns import signed
from gnomon.tracing.maps import Map
from gnomon.tracing.python_stacks import PythonFrame

Row = dict[str, object]
Keys = npt.NDArray[np.uint64]
PYTHON, NATIVE, KERNEL = "python", "native", "kernel"
# So many stacks are remembered as told; more are told again, which costs room and no truth.
MOST_TOLD = 1 << 16


class Named(NamedTuple):
    """What an address means; None where it could not be resolved."""

    symbol: str | None
    module: str | None


class Namer(Protocol):
    """Tells what lies at an address of the kernel, or of a process."""

    def __call__(self, pid: int, address: int, /) -> Named: ...


class StackBook:
    """``maps``: those of the programs."""

    def __init__(self, maps: Mapping[str, Map], kernel: Namer, native: Namer) -> None:
        self._maps = maps
        self._namers = {KERNEL: kernel, NATIVE: native}
        self._told: set[int] = set()
        self._lost = 0

    def kernel(self, keys: Keys, ts_ns: int) -> Iterator[Row]:
        """Rows of stacks in the map ``stacks`` that have not been told; 0 is none."""
        for key in np.unique(keys[keys != 0]).tolist():
            yield from self._of_map("stacks", KERNEL, key, 0, ts_ns)

    def native(self, keys: Keys, pids: npt.NDArray[np.uint32], ts_ns: int) -> Iterator[Row]:
        """Likewise of ``user_stacks``, of the processes that they were taken in."""
        found, places = np.unique(keys, return_index=True)
        for key, place in zip(found.tolist(), places.tolist(), strict=True):
            if key:
                yield from self._of_map("user_stacks", NATIVE, key, int(pids[place]), ts_ns)

    def python(
        self, hashes: Iterable[int], frames: Callable[[int], Iterable[PythonFrame]], ts_ns: int
    ) -> Iterator[Row]:
        """Rows of Python stacks that have not been told."""
        for stack_hash in hashes:
            if self._is_new(stack_hash):
                for depth, frame in enumerate(frames(stack_hash)):
                    yield {
                        **_head(stack_hash, depth, ts_ns),
                        "kind": PYTHON,
                        "symbol": frame.function,
                        "file": frame.file,
                        "line": frame.line,
                    }

    def take_lost(self) -> int:
        """How many stacks were gone when their frames were asked for, since the last call."""
        lost, self._lost = self._lost, 0
        return lost

    def _of_map(self, name: str, kind: str, key: int, pid: int, ts_ns: int) -> Iterator[Row]:
        stack_hash = int(np.uint64(key).astype(np.int64))
        if name not in self._maps or not self._is_new(stack_hash):
            return
        raw = self._maps[name].lookup(key.to_bytes(8, "little"))
        if raw is None:
            self._lost += 1
            return
        (stack,) = np.frombuffer(raw, layouts.STACK)["addresses"]
        for depth, address in enumerate(stack[stack != 0]):
            # Behind the innermost stand addresses to return to: a call may be a function's last.
            named = self._namers[kind](pid, int(address) - (depth > 0))
            yield {
                **_head(stack_hash, depth, ts_ns),
                "kind": kind,
                "symbol": named.symbol,
                "module": named.module,
                "address": int(signed(np.array([address]))[0]),
            }

    def _is_new(self, stack_hash: int) -> bool:
        if stack_hash in self._told:
            return False
        if len(self._told) >= MOST_TOLD:
            self._told.clear()
        self._told.add(stack_hash)
        return True


def _head(stack_hash: int, depth: int, ts_ns: int) -> Row:
    return {"ts_ns": ts_ns, "duration_ns": 0, "stack_hash": stack_hash, "depth": depth}
