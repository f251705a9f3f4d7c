"""Capabilities that every program inherits that a thread of ours starts."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator

# linux/prctl.h
PR_CAP_AMBIENT = 47
IS_SET, RAISE, CLEAR_ALL = 1, 2, 4
MOST_CAPABILITIES = 64


@contextlib.contextmanager
def without_ambient_capabilities() -> Iterator[None]:
    """What this thread starts meanwhile gets none of the privileges that were handed to us.

    They are this thread's again afterwards; those of other threads stay as they are.
    """
    prctl = ctypes.CDLL(None).prctl
    held = [
        one for one in range(MOST_CAPABILITIES) if prctl(PR_CAP_AMBIENT, IS_SET, one, 0, 0) == 1
    ]
    if held:
        prctl(PR_CAP_AMBIENT, CLEAR_ALL, 0, 0, 0)
    try:
        yield
    finally:
        for one in held:
            prctl(PR_CAP_AMBIENT, RAISE, one, 0, 0)
