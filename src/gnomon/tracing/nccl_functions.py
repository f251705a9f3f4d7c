"""Which functions of NCCL are traced, and where their arguments lie.

Arguments are numbers of words of a call, as in `operations`. Signatures and data types are those
of nccl.h of NCCL 2.28, and of later ones where they add to it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from gnomon.tracing import layouts
from gnomon.tracing.layouts import NcclRole

# enum ncclDataType_t: names as numpy and ml_dtypes have them, and bytes of an element
DATA_TYPES: tuple[tuple[str, int], ...] = (
    ("int8", 1),
    ("uint8", 1),
    ("int32", 4),
    ("uint32", 4),
    ("int64", 8),
    ("uint64", 8),
    ("float16", 2),
    ("float32", 4),
    ("float64", 8),
    ("bfloat16", 2),
    ("float8_e4m3", 1),
    ("float8_e5m2", 1),
)


class NcclFunction(NamedTuple):
    """One function; ``words`` are its arguments by their names in NCCL_OPERATION.

    ``made`` points to where it puts the communicator that it makes, of ``ranks`` ranks, itself
    ``rank``. ``identity`` is the word at which its unique id begins on the stack, ``identity_at``
    the one that points to it. ``peer`` is the other side of a send or receive, or the root.
    """

    name: str
    role: NcclRole
    words: Mapping[str, int]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Its exported names: a form with a configuration has one argument more, the last."""
        is_collective = self.role is NcclRole.COLLECTIVE
        return (self.name, f"{self.name}Config") if is_collective else (self.name,)


def _function(name: str, /, **words: int) -> NcclFunction:
    return NcclFunction(name, NcclRole.OTHER_NCCL_CALL, words)


def _acting(role: NcclRole, name: str, /, **words: int) -> NcclFunction:
    return NcclFunction(name, role, words)


def _collective(name: str, /, **words: int) -> NcclFunction:
    return NcclFunction(name, NcclRole.COLLECTIVE, words)


def _makes(name: str, /, **words: int) -> NcclFunction:
    return NcclFunction(name, NcclRole.MAKES_COMMUNICATOR, words)


_REDUCES = {"count": 3, "datatype": 4, "communicator": 6, "stream": 7}
_GATHERS = {"count": 3, "datatype": 4, "communicator": 5, "stream": 6}
_HAS_ROOT = {"count": 3, "datatype": 4, "peer": 5, "communicator": 6, "stream": 7}
_HAS_ONE_BUFFER = {"count": 2, "datatype": 3, "peer": 4, "communicator": 5, "stream": 6}

FUNCTIONS: tuple[NcclFunction, ...] = (
    _collective("ncclAllReduce", **_REDUCES),
    _collective("ncclReduceScatter", **_REDUCES),
    _collective("ncclAllGather", **_GATHERS),
    _collective("ncclAlltoAll", **_GATHERS),
    _collective("ncclBroadcast", **_HAS_ROOT),
    _collective("ncclGather", **_HAS_ROOT),
    _collective("ncclScatter", **_HAS_ROOT),
    _collective("ncclReduce", count=3, datatype=4, peer=6, communicator=7, stream=8),
    _collective("ncclBcast", **_HAS_ONE_BUFFER),
    _function("ncclSend", **_HAS_ONE_BUFFER),
    _function("ncclRecv", **_HAS_ONE_BUFFER),
    _acting(NcclRole.GROUP_BEGINS, "ncclGroupStart"),
    _acting(NcclRole.GROUP_ENDS, "ncclGroupEnd"),
    _acting(NcclRole.GROUP_ENDS, "ncclGroupSimulateEnd"),
    # The unique id of 128 bytes is passed by value: on the stack, and takes no register.
    _makes("ncclCommInitRank", made=1, ranks=2, identity=7, rank=3),
    _makes("ncclCommInitRankConfig", made=1, ranks=2, identity=7, rank=3),
    _makes("ncclCommInitRankScalable", made=1, ranks=2, rank=3, identity_at=5),
    _makes("ncclCommSplit", communicator=1, color=2, key=3, made=4),
    _makes("ncclCommShrink", communicator=1, made=4),
    _acting(NcclRole.MAKES_EVERY_RANK, "ncclCommInitAll", made=1, ranks=2),
    _function("ncclCommFinalize", communicator=1),
    _acting(NcclRole.ENDS_COMMUNICATOR, "ncclCommDestroy", communicator=1),
    _acting(NcclRole.ENDS_COMMUNICATOR, "ncclCommAbort", communicator=1),
)


def describe(function: NcclFunction, row: np.void) -> None:
    """Write a function as the programs read it: a row of NCCL_OPERATION."""
    for argument, word in function.words.items():
        row[argument] = word
    # The unique id is read by itself.
    words = (word for argument, word in function.words.items() if argument != "identity")
    row["words_on_stack"] = max(words, default=0) > 6
    row["role"] = function.role


def datatype_bytes() -> bytes:
    """Bytes of an element by data type: the variable ``datatype_bytes`` of nccl.bpf.o."""
    return bytes(size for _, size in DATA_TYPES).ljust(layouts.DATA_TYPES, b"\0")
