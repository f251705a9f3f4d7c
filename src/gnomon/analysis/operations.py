"""What a CUDA function does, by its name: the kinds that detectors tell apart."""

from __future__ import annotations

import re
from enum import StrEnum

from gnomon.enums import CallLayer

CUDA_LAYERS = (CallLayer.CUDA_RUNTIME, CallLayer.CUDA_DRIVER)


class Kind(StrEnum):
    """What a call asks for."""

    LAUNCH = "launch"
    GRAPH_LAUNCH = "graph_launch"
    COPY = "copy"
    FILL = "fill"
    SYNCHRONIZATION = "synchronization"
    ALLOCATION = "allocation"
    RELEASE = "release"
    OTHER = "other"


# cudaX and cuX, with the driver's _v2 and _ptsz; the first that matches.
PATTERNS = (
    (Kind.GRAPH_LAUNCH, "cu(da)?GraphLaunch"),
    (Kind.LAUNCH, "cu(da)?Launch(Cooperative)?(Kernel|HostFunc)"),
    (Kind.COPY, "cu(da)?Memcpy"),
    (Kind.FILL, "cu(da)?Memset"),
    (Kind.SYNCHRONIZATION, "cu(da)?(Stream|Device|Event|Ctx|Thread)Synchronize"),
    (Kind.RELEASE, "cu(da)?(Mem)?(Free|Release|Unmap)"),
    (Kind.ALLOCATION, "cu(da)?(Malloc|Host(Alloc|Register)|Mem(Alloc|HostAlloc|Create|Map))"),
)
_COMPILED = tuple((kind, re.compile(f"^{pattern}")) for kind, pattern in PATTERNS)
# What puts work into a stream.
DISPATCH = (Kind.LAUNCH, Kind.GRAPH_LAUNCH, Kind.COPY, Kind.FILL)


def kind_of(operation: str) -> Kind:
    """Return the kind of a CUDA function; ``OTHER`` for anything else."""
    return next((kind for kind, found in _COMPILED if found.match(operation)), Kind.OTHER)


def condition(*kinds: Kind) -> str:
    """Return SQL that is true of ``operation`` where it is of one of these kinds.

    Kinds are tried in the order of PATTERNS, so that a graph's launch is not a kernel's.
    """
    return f"regexp_matches(operation, {_any_of(kinds)})"


def _any_of(kinds: tuple[Kind, ...]) -> str:
    chosen = "|".join(pattern for kind, pattern in PATTERNS if kind in kinds)
    return f"'^({chosen})'"
