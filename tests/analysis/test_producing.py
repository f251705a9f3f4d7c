"""Who was at work while a thread waited: chains of wakers whose work is known by hand."""

import pytest

from gnomon.analysis.activity import activities
from gnomon.analysis.overlap import Reason, Waits, circumstances
from gnomon.analysis.producing import Chains, Family, Relation, family
from gnomon.analysis.questions import ThreadKey
from tests.analysis.recordings import MS, SECOND, THREAD, asked, call
from tests.analysis.stays import queued, read, waited

PINNER = ThreadKey("host-1", 1, 2)
WORKER = ThreadKey("host-1", 50, 50)
PERIOD_NS = 100 * MS
WAIT_NS = 60 * MS


def woken_by(key):
    return {"waker_pid": key.pid, "waker_tid": key.tid}


def of(key):
    return {"host": key.host, "pid": key.pid, "tid": key.tid}


def chained(path, worker_stays, *, waker=PINNER):
    """Return the producers of a loop that waits 60 of 100 ms, and links of the first of them.

    The pinning thread sleeps for all but the last millisecond of it, and the worker wakes it.
    """
    calls, stays = [], []
    for at_ns in range(0, SECOND, PERIOD_NS):
        calls += [call(at_ns + n * MS, MS, "cudaLaunchKernel") for n in range(0, 30, 2)]
        stays.append(waited(at_ns + 40 * MS, WAIT_NS, **woken_by(waker)))
        asleep = WAIT_NS - MS + 20 * MS
        stays.append(waited(at_ns + 20 * MS, asleep, **of(PINNER), **woken_by(WORKER)))
        stays += [row | of(WORKER) for row in worker_stays(at_ns)]
    calls.append(call(SECOND, MS, "cudaLaunchKernel"))
    threads = [{"ts_ns": stays[0]["ts_ns"], "parent_tid": 1} | of(WORKER)]
    with asked(path, host_calls=calls, off_cpu=stays, threads=threads) as told:
        known = {one.thread: one for one in activities(told.session, told.scope, told.operations)}
        span = known[THREAD].span
        chains = Chains(told.session, known, family(told.session))
        met = circumstances(told.session, {THREAD: span})[THREAD]
        waits = Waits(THREAD, span)
        found = chains.producers(waits, known[THREAD], met, ())
        links = chains.links(waits, found[0], found[0].condition) if found else []
        return found, {one.key: one.worked_ns for one in links}


@pytest.mark.parametrize(
    ("stays", "worked_ns"),
    [
        # It was away before, and is at work in the whole of each wait but the pinner's part.
        pytest.param(lambda at: [waited(at, 40 * MS)], 10 * 59 * MS, id="on the CPU"),
        pytest.param(lambda at: [read(at + 35 * MS, 60 * MS)], 10 * 59 * MS, id="reads"),
        pytest.param(lambda at: [queued(at + 35 * MS, 60 * MS)], 10 * 59 * MS, id="wants a CPU"),
        pytest.param(lambda at: [waited(at + 40 * MS, 20 * MS)], 10 * 39 * MS, id="two thirds"),
        pytest.param(lambda at: [waited(at + 30 * MS, 65 * MS)], None, id="sleeps"),
    ],
)
def test_the_chain_is_followed_to_who_was_at_work(tmp_path, stays, worked_ns):
    found, links = chained(tmp_path, stays)

    if worked_ns is None:
        assert found == []
    else:
        assert [(one.key, one.relation) for one in found] == [(PINNER, Relation.CHILD)]
        assert links == {WORKER: worked_ns, PINNER: 10 * MS}


def test_who_may_have_held_a_lock_made_something_only_where_a_loader_waited(tmp_path):
    found, _ = chained(tmp_path, lambda at: [waited(at, 40 * MS)], waker=WORKER)

    (producer,) = found
    assert producer.key == WORKER
    assert Reason.LOCK not in producer.reasons


@pytest.mark.parametrize(
    ("parents", "of_key", "relation"),
    [
        ({}, ThreadKey("a", 1, 9), Relation.THREAD),
        ({("a", 5): 1}, ThreadKey("a", 5, 5), Relation.CHILD),
        ({("a", 5): 4, ("a", 4): 1}, ThreadKey("a", 5, 6), Relation.CHILD),
        ({("a", 5): 4}, ThreadKey("a", 5, 5), Relation.STRANGER),
        ({("b", 5): 1}, ThreadKey("a", 5, 5), Relation.UNKNOWN),
        ({("a", 5): 1}, ThreadKey("b", 5, 5), Relation.STRANGER),
        ({("a", 5): 4, ("a", 4): 5}, ThreadKey("a", 5, 5), Relation.STRANGER),
    ],
)
def test_who_was_started_by_whom(parents, of_key, relation):
    assert Family(parents).relation(of_key, ThreadKey("a", 1, 1)) is relation
