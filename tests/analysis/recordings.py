"""Recordings of a few rows, asked in SQL."""

from contextlib import contextmanager

from gnomon import tables
from gnomon.analysis.latency import latency
from gnomon.analysis.questions import Scope, Span, ThreadKey
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter

BEGIN_NS = 1_795_300_000_000_000_000
US, MS, SECOND = 1_000, 1_000_000, 1_000_000_000
THREAD = ThreadKey("host-1", 1, 1)


def call(begin_ns, duration_ns, operation, **more):
    """Return a row of host_calls of ``THREAD``; ``begin_ns`` counts from ``BEGIN_NS``."""
    row = {
        "ts_ns": BEGIN_NS + begin_ns + duration_ns,
        "duration_ns": duration_ns,
        "host": THREAD.host,
        "pid": THREAD.pid,
        "tid": THREAD.tid,
        "layer": "cuda_runtime" if operation.startswith("cuda") else "cuda_driver",
        "operation": operation,
        "depth": 0,
        "selection": "all",
        "weight": 1.0,
    }
    return row | more


class Asked:
    """A session over rows, their span, and the operations in them."""

    def __init__(self, session, span):
        self.session = session
        self.scope = Scope(span)
        self.span = span
        self.operations = latency(session, self.scope)


@contextmanager
def asked(path, seconds=100, **rows_of):
    """Yield what ``Asked`` has, over rows by table."""
    with RecordingWriter(path, "host-1") as writer:
        for table, rows in rows_of.items():
            writer.append(table, tables.batch(table, rows))
    with Recording.open(path).session() as session:
        yield Asked(session, Span(BEGIN_NS - 1, BEGIN_NS + seconds * SECOND))
