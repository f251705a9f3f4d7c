"""Threads of the same process that others wait for while they run: holders of a lock.

A thread that is woken by another one of its process waited for a lock, a queue or a result. Where
the other was on the CPU for ``HELD_SHARE`` of these waits, it kept the waiting one from its work.
Threads that feed a GPU themselves take turns with it (PyTorch's backward pass has a thread of its
own) and hold nobody up.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.overlap import Circumstance, Reason, Waits
from gnomon.analysis.questions import ThreadKey
from gnomon.recording.base import Session

HELD_SHARE = 0.5
# Of the waiting thread's active time: less is not worth a question.
SMALLEST_SHARE = 0.01


def woken_by(key: ThreadKey) -> str:
    """As it stands in a WHERE: waits of no other known reason that this thread ended."""
    return (
        f"reason = '{Reason.UNKNOWN.value}' AND waker_pid = {key.pid or 0} "
        f"AND waker_tid = {key.tid or 0}"
    )


def is_woken_by(one: Circumstance, key: ThreadKey) -> bool:
    """Tell of a circumstance what ``woken_by`` tells of a stay."""
    return (
        one.reason is Reason.UNKNOWN
        and one.waker_pid == (key.pid or 0)
        and one.waker_tid == (key.tid or 0)
    )


def holders(
    session: Session,
    waits: Waits,
    worker: ThreadActivity,
    circumstances: Sequence[Circumstance],
    activities: Mapping[ThreadKey, ThreadActivity],
) -> Sequence[ThreadKey]:
    """Return the threads that ran while a worker waited for them, by measured overlap.

    A thread whose own stays off the CPU were not all recorded is none: it may have slept.
    """
    waited_ns: dict[ThreadKey, int] = {}
    for one in circumstances:
        if one.reason is Reason.UNKNOWN and one.waker_pid == worker.thread.pid and one.waker_tid:
            key = ThreadKey(worker.thread.host, one.waker_pid, one.waker_tid)
            waited_ns[key] = waited_ns.get(key, 0) + one.waiting_ns
    found = []
    for key, ns in waited_ns.items():
        other = activities.get(key)
        if key == worker.thread or other is None or other.feeds_gpu:
            continue
        if not other.stays or other.is_off_cpu_biased or ns < SMALLEST_SHARE * worker.active_ns:
            continue
        (row,) = session.rows(waits.holding_sql(key, woken_by(key)))
        if row["ns"] >= HELD_SHARE * ns:
            found.append(key)
    return found


def none_of(keys: Collection[ThreadKey]) -> str:
    """As it stands in a WHERE: waits that none of these threads ended."""
    return "".join(f" AND ({woken_by(key)}) IS NOT TRUE" for key in keys)
