"""What the helper is to trace: told by the recorder as a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Plan:
    """``pids``, ``names``, ``every_gpu_process``, ``follow_children``: as in `processes.Wanted`.

    ``command``: of a process that waits to be traced before it begins, its only pid. ``observers``
    are the recorder's own processes, which are left out. ``kept_a_second``: rows that may be kept
    of calls, and of stays off the CPU. ``launch_share``: of a thread's time, what tracing its
    launches may take.
    """

    pids: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    every_gpu_process: bool = False
    follow_children: bool = True
    command: tuple[str, ...] = ()
    observers: tuple[int, ...] = ()
    kept_a_second: float = 2_000.0
    launch_share: float = 0.02

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ValueError where the text is no plan."""
        document: Mapping[str, Any] = json.loads(text)
        names = {field.name for field in fields(cls)}
        if not isinstance(document, dict) or not document.keys() <= names:
            raise ValueError(f"this is no plan of a trace: {text[:200]}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in document.items()
        }
        return cls(**values)
