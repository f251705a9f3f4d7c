"""Other processes on the core of the thread that feeds the GPU.

Control: the same processes on another core.
"""

from __future__ import annotations

import os
import threading

from lab.scenarios.clocks import since, thread_clocks
from lab.scenarios.hog import Hog
from lab.scenarios.stage import Program, Scenario, Stage
from lab.scenarios.truth import Injected

NAMES = ("backup", "zstd", "updatedb", "rsync")
# Burn, then sleep, ms: all the time, or as much as a compressor that waits for its input.
DUTIES = ((50.0, 0.0), (12.0, 6.0))


def build(stage: Stage) -> Program:
    random, gpu = stage.random, stage.gpu
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise RuntimeError("cpu_contention needs two processors: one for the thread, one spare")
    place = random.randrange(1, len(allowed))
    own, other = allowed[place], allowed[place - 1]
    name = random.choice(NAMES)
    burn_ms, sleep_ms = random.choice(DUTIES)
    nice = random.choice((0, 0, 3))
    launches = random.randrange(60, 100, 5)
    product = gpu.product(10.0)
    tid = threading.get_native_id()
    os.sched_setaffinity(tid, {own})
    hogs: list[Hog] = []
    before: dict[str, int] = {}

    def step() -> None:
        # A queue that is short enough to run dry while the thread is away.
        for _ in range(launches):
            product()
        gpu.wait()

    def begin() -> None:
        hogs.append(Hog(name, own if stage.fault else other, nice, burn_ms, sleep_ms))
        before.update(thread_clocks(tid))

    def injected() -> Injected:
        (hog,) = hogs
        queued_ns = since(before, thread_clocks(tid))["run_queue_ns"]
        counts = {
            "hog_pid": hog.pid,
            "hog_name": hog.name,
            "hog_cpu": hog.cpu,
            "hog_nice": nice,
            "hog_cpu_ns": hog.cpu_ns,
            "own_cpu": own,
            "launches_a_step": launches,
        }
        if not stage.fault:
            return Injected(counts=counts)
        # Where it was preempted waiting for the GPU, nothing is claimed.
        return Injected(queued_ns, least=0.25, most=1.05, counts=counts, named=(hog.name,))

    def close() -> None:
        for hog in hogs:
            hog.close()

    variant = "always" if sleep_ms == 0 else "in bursts"
    return Program(step, injected, variant, begin, close)


SCENARIO = Scenario(
    name="cpu_contention",
    cause="cpu_contention",
    shows="a process that burns on the core of the thread that feeds the GPU",
    control="the same process on another core",
    build=build,
)
