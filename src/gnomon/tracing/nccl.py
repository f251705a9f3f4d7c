"""Which communicator a NCCL call used, and what it moved: the book of communicators.

A communicator is a pointer of a process; what it is the same on all ranks by is known from the
calls that made it. One that was made before tracing began has no id, no rank and no sequence.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from gnomon.tracing import layouts, operations
from gnomon.tracing.layouts import CommunicatorEvent
from gnomon.tracing.nccl_functions import DATA_TYPES

Records = npt.NDArray[np.void]

# A record of a call comes at most so long after the call.
TOLD_AFTER_NS = 60_000_000_000
EVERY_RANK = frozenset({"ncclReduceScatter", "ncclAlltoAll"})
ROOT_ALONE = frozenset({"ncclBroadcast", "ncclBcast"})
ROOT_FOR_EVERY_RANK = frozenset({"ncclScatter"})
NOTHING = frozenset({"ncclRecv"})


@dataclass
class Communicator:
    """One rank of a communicator, from when until when its pointer stood for it.

    ``id`` is the same on all ranks, None where it was made out of one that is not known.
    """

    pid: int
    made_by_tid: int
    from_ns: int
    id: str | None
    rank: int | None
    world_size: int | None
    until_ns: int | None = None


@dataclass
class Split:
    """The ranks that were seen to split one communicator: all of its own, once it is complete.

    ``members``: by rank in the parent the color, the key, and what became of it.
    """

    parent_size: int
    members: dict[int, tuple[int, int, Communicator | None]] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether all ranks of the parent have been seen."""
        return len(self.members) >= self.parent_size

    def settle(self) -> None:
        """Give each its rank: ranks of one color, by key and then by their rank before."""
        made: dict[int, list[Communicator]] = {}
        for _, _, color, one in sorted(
            ((key, rank, color, one) for rank, (color, key, one) in self.members.items()),
            key=itemgetter(0, 1),
        ):
            if one is not None:
                made.setdefault(color, []).append(one)
        for children in made.values():
            for rank, one in enumerate(children):
                one.rank, one.world_size = rank, len(children)


class Told(NamedTuple):
    """What the book adds to NCCL records: lists with an entry each. None is not known, or none.

    ``bytes`` are those this rank brings in. ``sequence`` is the communicator's collectives before
    this one. ``group`` tells the calls of one outermost group of a thread: what is in it is
    launched when its ncclGroupEnd with ``group_depth`` 0 is called.
    """

    communicator: list[str | None]
    rank: list[int | None]
    world_size: list[int | None]
    sequence: list[int | None]
    bytes: list[int | None]
    datatype: list[str | None]
    peer_rank: list[int | None]
    group: list[int | None]


class Book:
    """Communicators of all traced processes. Records may come in any batches, by their order."""

    def __init__(self) -> None:
        self._by_pointer: dict[tuple[int, int], list[Communicator]] = {}
        self._by_call: dict[tuple[int, int], Communicator] = {}
        self._splits: dict[tuple[str, int], Split] = {}

    def enter(self, records: Records) -> None:
        """Take records of communicators that were made or ended (COMMUNICATOR_RECORD)."""
        for record in _rows(records):
            if record["event"] == CommunicatorEvent.ENDED:
                self._end(record)
            else:
                self._make(record)

    def tell(self, records: Records) -> Told:
        """What NCCL_RECORD records were, after the communicators of their batch were entered."""
        columns = zip(*map(self._row, _rows(records)), strict=True)
        return Told(*map(list, columns)) if len(records) else Told(*([] for _ in Told._fields))

    def forget(self, pid: int) -> None:
        """Drop what is known of a process that has ended, or executed another program."""
        self._by_pointer = {key: one for key, one in self._by_pointer.items() if key[0] != pid}
        self._by_call = {key: one for key, one in self._by_call.items() if one.pid != pid}
        self._splits = {
            key: split
            for key, split in self._splits.items()
            if any(one is not None and one.pid != pid for _, _, one in split.members.values())
        }

    def _make(self, record: dict[str, int]) -> None:
        pid, pointer = record["pid"], record["communicator"]
        made = Communicator(
            pid,
            record["tid"],
            record["start_ns"],
            None,
            _known(record["rank"]),
            _known(record["ranks"]),
        )
        if record["event"] == CommunicatorEvent.SPLIT:
            self._split(record, made)
        else:
            made.id = _made_id(record)
        if pointer:
            self._drop_old((pid, pointer), made.from_ns)
            self._by_pointer.setdefault((pid, pointer), []).append(made)
            self._by_call[made.made_by_tid, made.from_ns] = made

    def _split(self, record: dict[str, int], made: Communicator) -> None:
        """A child is known by its parent, how many splits that had had, and its color."""
        parent = self._at(record["pid"], record["parent"], record["start_ns"])
        number = record["splits"]
        if parent is None or parent.id is None or number == layouts.NO_SEQUENCE:
            return
        made.id = f"{parent.id}.{number}.{record['color']}"
        if parent.rank is None or parent.world_size is None:
            return
        split = self._splits.setdefault((parent.id, number), Split(parent.world_size))
        child = made if record["communicator"] else None
        split.members[parent.rank] = record["color"], record["key"], child
        if split.is_complete:
            split.settle()
            del self._splits[parent.id, number]

    def _end(self, record: dict[str, int]) -> None:
        ended = self._at(record["pid"], record["communicator"], record["start_ns"])
        if ended is not None:
            ended.until_ns = record["start_ns"]

    def _drop_old(self, key: tuple[int, int], now_ns: int) -> None:
        """Forget what a pointer stood for so long ago that no call on it is still to be told."""
        kept = []
        for one in self._by_pointer.pop(key, ()):
            if one.until_ns is None or one.until_ns > now_ns - TOLD_AFTER_NS:
                kept.append(one)
            else:
                self._by_call.pop((one.made_by_tid, one.from_ns), None)
        if kept:
            self._by_pointer[key] = kept

    def _at(self, pid: int, pointer: int, at_ns: int) -> Communicator | None:
        """What a pointer stood for at a time: addresses are used again."""
        for one in reversed(self._by_pointer.get((pid, pointer), ())):
            if one.from_ns <= at_ns and (one.until_ns is None or at_ns < one.until_ns):
                return one
        return None

    def _row(self, record: dict[str, int]) -> tuple[object, ...]:
        """The fields of Told of one record."""
        name = operations.OPERATIONS[record["operation"]].name
        one = self._at(record["pid"], record["communicator"], record["start_ns"])
        # The call that made it has no pointer to it yet, or its parent's.
        one = self._by_call.get((record["tid"], record["start_ns"]), one)
        datatype = record["datatype"]
        is_typed = 0 <= datatype < len(DATA_TYPES)
        sequence = record["sequence"]
        is_counted = one is not None and one.id is not None and sequence != layouts.NO_SEQUENCE
        return (
            one.id if one else None,
            one.rank if one else None,
            one.world_size if one else None,
            sequence if is_counted else None,
            bytes_brought_in(name, record["count"], datatype, record["peer"], one)
            if is_typed
            else None,
            DATA_TYPES[datatype][0] if is_typed else None,
            _known(record["peer"]),
            record["group"] or None,
        )


def bytes_brought_in(
    name: str, count: int, datatype: int, root: int, communicator: Communicator | None
) -> int | None:
    """Bytes that this rank sends into a call, before any algorithm: nccl.h says what count means.

    None where it depends on a rank or a number of ranks that is not known.
    """
    size_bytes = count * DATA_TYPES[datatype][1]
    rank = communicator.rank if communicator else None
    ranks = communicator.world_size if communicator else None
    if name in NOTHING:
        return 0
    if name in EVERY_RANK:
        return size_bytes * ranks if ranks is not None else None
    if name in ROOT_ALONE | ROOT_FOR_EVERY_RANK:
        if rank is None or ranks is None:
            return None
        each = ranks if name in ROOT_FOR_EVERY_RANK else 1
        return size_bytes * each if rank == root else 0
    return size_bytes


def _made_id(record: dict[str, int]) -> str:
    """Of a unique id its hash; of a communicator within one process when and where it was made."""
    if record["identity"]:
        return f"{record['identity']:016x}"
    return f"{record['pid']}-{record['call']}"


def _known(number: int) -> int | None:
    return number if number >= 0 else None


def _rows(records: Records) -> Iterator[dict[str, int]]:
    names: Iterable[str] = records.dtype.names or ()
    for row in records.tolist():
        yield dict(zip(names, row, strict=True))
