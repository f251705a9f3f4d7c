"""Keeps this process small: what libraries set aside for work that gnomon never does.

The variables set here are ours alone: a workload that we start must not inherit them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

LINEAR_ALGEBRA_THREADS = "OPENBLAS_NUM_THREADS"
ARROW_POOL = "ARROW_DEFAULT_MEMORY_POOL"
# <malloc.h> of glibc.
M_ARENA_MAX = -8
ARENAS = 2
_ours: list[str] = []


def use_one_thread() -> None:
    """Keep numpy from starting a thread on every core for linear algebra.

    On a host of 16 cores those threads cost 2 s of CPU at start and tens of MB.
    """
    _choose(LINEAR_ALGEBRA_THREADS, "1")


def stay_small() -> None:
    """Prefer little memory to speed, in a program that is always there; before Arrow is imported.

    Each thread of a recorder would keep an arena of its own, and Arrow a pool: 14 MB on an H200
    host.
    """
    _choose(ARROW_POOL, "system")
    with contextlib.suppress(OSError, AttributeError):  # no glibc: its own allocator, its own ways
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def keep_pandas_out() -> None:
    """Let Arrow find no pandas: it loads it where it is installed, to recognize its objects.

    That would be 40 MB and the third of a second, for objects that gnomon never has. Arrow looks
    once; afterwards pandas can be imported by whoever wants it.
    """
    if "pandas" in sys.modules:
        return
    sys.meta_path.insert(0, _WithoutPandas)
    try:
        import pyarrow as pa  # noqa: PLC0415

        pa.array([0])
    finally:
        sys.meta_path.remove(_WithoutPandas)


class _WithoutPandas:
    """A finder that says of pandas that it is not there, and nothing of anything else."""

    @classmethod
    def find_spec(cls, fullname: str, *_: object) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname, name=fullname)


def give_back() -> None:
    """Return freed memory to the system: starting up, and closing a segment, leave much of it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def users_environment() -> dict[str, str]:
    """Return the environment as the user gave it to us."""
    return {name: value for name, value in os.environ.items() if name not in _ours}


def _choose(variable: str, value: str) -> None:
    """Set a variable in this process, unless the user has."""
    if variable not in os.environ:
        os.environ[variable] = value
        _ours.append(variable)
