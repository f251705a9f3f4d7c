"""Keeps numpy from starting a thread on every core for linear algebra that gnomon never does.

On a host of 16 cores those threads cost 2 s of CPU at start and tens of MB. The variable that
prevents it is ours alone: a workload that we start must not inherit it.
"""

from __future__ import annotations

import os

VARIABLE = "OPENBLAS_NUM_THREADS"
_ours: list[str] = []


def use_one_thread() -> None:
    """Limit numpy's threads in this process, unless the user has chosen a number."""
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = "1"
        _ours.append(VARIABLE)


def users_environment() -> dict[str, str]:
    """Return the environment as the user gave it to us."""
    return {name: value for name, value in os.environ.items() if name not in _ours}
