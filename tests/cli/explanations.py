"""Explanations made up for tests of how they are shown."""

import numpy as np

from gnomon.analysis.clock_error import ClockError
from gnomon.analysis.coverage import Loss
from gnomon.analysis.drops import Difference, Drop
from gnomon.analysis.lanes import Grid, Lane
from gnomon.analysis.questions import Span, ThreadKey, literal
from gnomon.analysis.throughput import Throughput
from gnomon.cli.explain_words import Frame
from gnomon.detectors.finding import Evidence, Finding, Gain, RuledOut
from gnomon.detectors.picture import GpuTrack, Picture
from gnomon.detectors.report import Explanation, Looked
from gnomon.enums import Cause, Severity
from gnomon.recording.base import Meta

BEGIN_NS = 1_795_202_080_000_000_000
SECOND_NS = 1_000_000_000
SPAN = Span(BEGIN_NS, BEGIN_NS + 60 * SECOND_NS)
GPU = "GPU-5894c92f"
FRAME = Frame(Meta(1, gpus={GPU: {"index": 0, "name": "NVIDIA H200"}}), BEGIN_NS)
THREAD = ThreadKey("node-1", 41, 42)
# What somebody calls a thread in the hope that a terminal, a browser or a wiki obeys.
HOSTILE = '\x1b[2J\u202e</script><img src=x onerror=alert(1)>`"|[x](y)'
HOSTILE_EVIDENCE = Evidence("x", 1, "ns", f"SELECT {literal(HOSTILE)} AS name")


def finding(**changed):
    values = {
        "cause": Cause.IO_WAIT,
        "severity": Severity.WARNING,
        "from_ns": BEGIN_NS + 4_102_000_000,
        "to_ns": BEGIN_NS + 33_151_000_000,
        "evidence": (Evidence("it read for 6 s", 6_000_000_000, "ns", "SELECT 6000000000"),),
        "ruled_out": (
            RuledOut(Cause.CPU_CONTENTION, "it wanted a CPU for 3 ms", 3e6, "ns", "SELECT 3e6"),
        ),
        "remedy": "Put the data on a faster disk.",
        "expected_gain": Gain(6.0, "s", "all reads at once"),
        "confidence": 0.9,
        "confidence_reason": "reads and stays overlap",
        "lost_seconds": 6.0,
        "lost_pct": 9.5,
        "gpu": GPU,
        "host": THREAD.host,
        "pid": THREAD.pid,
        "tid": THREAD.tid,
        "thread": "python",
        "operation": "cudaMemcpyAsync",
        "rank": 3,
    }
    return Finding(**(values | changed))


def explanation(*findings, **changed):
    values = {
        "span": SPAN,
        "looked": Looked(60.0, 3000, 2, 1, 7749, 1, 0, 3000, 7749),
        "findings": findings,
        "less_severe": 0,
        "losses": (),
        "skipped": (),
        "unavailable": {},
        "failed": {},
        "drops": (),
        "clocks": {},
    }
    return Explanation(**(values | changed))


LACKING = explanation(
    losses=[Loss("tracer", "off_cpu", "ring_full", 3)],
    unavailable={"io_wait": ["no stays"], "host_bound": ["no stays", "no GPU counters"]},
    failed={"oom": "ZeroDivisionError: by zero"},
    drops=[
        Drop(
            from_ns=BEGIN_NS + 10 * SECOND_NS,
            to_ns=SPAN.to_ns,
            metric="tokens",
            before_per_s=1000.0,
            during_per_s=400.0,
            depth_pct=60.0,
            is_over=False,
            causes=[Difference("io", "node-1", 41, 42, 1e6, 301e6)],
            gpus=(),
        )
    ],
    clocks={
        "a": ClockError("a", 0, 0, 9),
        "b": ClockError("b", -3_000_000, 40_000, 9),
        "c": None,
    },
)


def work(per_s):
    return Throughput("launches", Grid(SPAN, len(per_s)), np.array(per_s))


def picture(**changed):
    grid = Grid(SPAN, 4)
    values = {
        "grid": grid,
        "gpus": [
            GpuTrack(
                GPU,
                {"busy_pct": [100.0, 0.0], "compute_sol_pct": [50.0, None, None, 12.3]},
                [0.0, 95.0, 95.0, 0.0],
            )
        ],
        "work": work([100.0, 0.0, 0.0, 100.0]),
        "lanes": [Lane(THREAD, True, {"io": [0.0, 1.0, 0.5, 0.0], "own_code": [1.0, 0, 0.5, 1]})],
        "names": {THREAD: "python"},
        "idle_pct": [0.0, 95.0, 95.0, 0.0],
        "silences": [Span(BEGIN_NS + 15 * SECOND_NS, BEGIN_NS + 45 * SECOND_NS)],
        "is_idle_measured": True,
    }
    return Picture(**(values | changed))
