"""Rows of off_cpu, of the thread whose calls ``recordings`` makes."""

from tests.analysis.recordings import BEGIN_NS, THREAD


def stay(begin_ns, duration_ns, **more):
    """Return a stay off the CPU; ``begin_ns`` counts from ``BEGIN_NS``. Its class is not known."""
    return {
        "ts_ns": BEGIN_NS + begin_ns + duration_ns,
        "duration_ns": duration_ns,
        "host": THREAD.host,
        "pid": THREAD.pid,
        "tid": THREAD.tid,
        "selection": "all",
        "weight": 1.0,
    } | more


def waited(begin_ns, duration_ns, **more):
    """Return a stay of the thread's own will."""
    return stay(begin_ns, duration_ns, run_queue_ns=0, io_ns=0, voluntary_ns=duration_ns, **more)


def queued(begin_ns, duration_ns, **more):
    """Return a stay for want of a CPU."""
    return stay(begin_ns, duration_ns, run_queue_ns=duration_ns, io_ns=0, voluntary_ns=0, **more)


def read(begin_ns, duration_ns, **more):
    """Return a stay for a disk."""
    return stay(begin_ns, duration_ns, run_queue_ns=0, io_ns=duration_ns, voluntary_ns=0, **more)


def stack(number, *symbols, kind="native", file=None):
    """Return rows of a stack, innermost frame first."""
    return [
        {
            "ts_ns": BEGIN_NS,
            "duration_ns": 0,
            "stack_hash": number,
            "depth": depth,
            "kind": kind,
            "symbol": symbol,
            "file": file,
        }
        for depth, symbol in enumerate(symbols)
    ]
