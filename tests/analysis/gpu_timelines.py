"""A GPU's time with known truth: kernels, copies and collectives, placed one by one.

``Timeline`` places operations (times count from ``BEGIN_NS``) and becomes a recording. ``trained``
places steps of a training loop with jitter, and tells what it placed.
"""

from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from gnomon.analysis.gpu_work import gpu_works
from gnomon.analysis.questions import Span
from gnomon.recording.reader import Recording
from tests.analysis.kernel_recordings import (
    BEGIN_NS,
    MS,
    PID,
    PLACE,
    US,
    kernel,
    named,
    record,
    window,
)

COMPUTE, COLLECTIVES = 7, 8
ALL_REDUCE = "ncclDevKernel_AllReduce_Sum_bf16_RING_LL"


@dataclass
class Timeline:
    """Rows of a recording as they are placed."""

    kernels: list = field(default_factory=list)
    copies: list = field(default_factory=list)
    ranges: list = field(default_factory=list)
    gpu_synchronizations: list = field(default_factory=list)
    kernel_windows: list = field(default_factory=list)
    names: set = field(default_factory=set)
    others: dict = field(default_factory=dict)

    def kernel(self, begin_ns, duration_ns, name="gemm", stream=COMPUTE, **more):
        self.names.add(name)
        self.kernels.append(kernel(begin_ns, duration_ns, name, stream_id=stream, **more))
        return begin_ns + duration_ns

    def copy(self, begin_ns, duration_ns, direction="h2d", bytes=4096, stream=9, **more):  # noqa: A002
        row = {
            **PLACE,
            "ts_ns": BEGIN_NS + begin_ns + duration_ns,
            "duration_ns": duration_ns,
            "stream_id": stream,
            "operation": "memcpy",
            "direction": direction,
            "bytes": bytes,
        }
        self.copies.append(row | more)
        return begin_ns + duration_ns

    def waited(self, begin_ns, duration_ns, operation="stream"):
        row = {"ts_ns": BEGIN_NS + begin_ns + duration_ns, "duration_ns": duration_ns}
        self.gpu_synchronizations.append({**PLACE, **row, "operation": operation})

    def range(self, begin_ns, end_ns, name, **more):
        row = {"ts_ns": BEGIN_NS + end_ns, "duration_ns": end_ns - begin_ns, "pid": PID, "tid": PID}
        self.ranges.append({**row, "name": name, "depth": 0} | more)

    def window(self, begin_ns, end_ns, **more):
        self.kernel_windows.append(window(begin_ns, end_ns, **more))

    def record(self, path):
        rows = {
            name: getattr(self, name)
            for name in ("kernels", "copies", "ranges", "gpu_synchronizations", "kernel_windows")
        }
        rows["kernel_names"] = named(*sorted(self.names))
        return record(path, **{name: some for name, some in rows.items() if some} | self.others)

    @contextmanager
    def asked(self, path):
        """Yield the recording, a session over it and its span."""
        recording = Recording.open(self.record(path))
        with recording.session() as session:
            yield recording, session, Span(BEGIN_NS - 1, recording.bounds()[1])

    def work(self, path):
        """Return what ran on the only GPU."""
        with self.asked(path) as (_, session, span):
            (work,) = gpu_works(session, span)
            return work


def trained(steps, jitter=0.05, seed=0, layers=6):
    """Return a timeline of training steps and what it placed, ns: the sum of each part.

    A step copies its batch in, runs layers, reduces gradients beside the last of them and for some
    time after, updates, copies the loss out, waits for it, and lets the host think.
    """
    rng = np.random.default_rng(seed)
    line, at = Timeline(), 0
    truth = dict.fromkeys(("compute", "collectives", "hidden", "copies", "host"), 0)
    begins = []

    def about(ns):
        return int(ns * rng.uniform(1 - jitter, 1 + jitter))

    for _ in range(steps):
        begins.append(at)
        copied, thought = about(200 * US), about(900 * US)
        at = line.copy(at, copied, bytes=1 << 20, stream=COMPUTE)
        for _ in range(layers):
            for name, ns in (("gemm_nn", 120 * US), ("layer_norm", 30 * US)):
                ran = about(ns)
                at = line.kernel(at, ran, name)
                truth["compute"] += ran
        hidden, exposed = about(100 * US), about(250 * US)
        line.kernel(at - hidden, hidden + exposed, ALL_REDUCE, COLLECTIVES)
        at += exposed
        ran = about(60 * US)
        at = line.kernel(at, ran, "adam_update")
        lost = about(10 * US)
        at = line.copy(at, lost, "d2h", bytes=4, stream=COMPUTE)
        line.waited(at - lost, lost + 5 * US)
        at += thought
        truth["compute"] += ran
        truth["collectives"] += exposed
        truth["hidden"] += hidden
        truth["copies"] += copied + lost
        truth["host"] += thought
    line.window(0, at)
    return line, truth, np.array([*begins, at])


__all__ = ["ALL_REDUCE", "BEGIN_NS", "COLLECTIVES", "COMPUTE", "MS", "US", "Timeline", "trained"]
