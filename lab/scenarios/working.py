"""Run one scenario in this process, and write down what was true of it."""

from __future__ import annotations

import os
import threading
import time

from lab.scenarios.clocks import since, thread_clocks
from lab.scenarios.gpu import Gpu
from lab.scenarios.stage import Program, Scenario, Stage
from lab.scenarios.truth import Truth

# Kernels are loaded, caches filled and clocks up after it; it lies outside of the window.
WARM_UP_S = 2.0
# Launches are followed in windows, some seconds apart at most: what comes after the last one of a
# recording is not known, so the last one must not lie in what is judged.
GO_ON_S = 1.5


def work(scenario: Scenario, stage: Stage, seconds: float, warm_up_s: float = WARM_UP_S) -> Truth:
    """Build, warm up, switch the fault on, and do steps for so long.

    Raises NotPossibleError where this machine cannot do it.
    """
    program = scenario.build(stage)
    try:
        _repeat(program, warm_up_s, stage.gpu)
        program.begin()
        before, kernels = thread_clocks(), stage.gpu.kernels
        from_ns = time.time_ns()
        steps = _repeat(program, seconds, stage.gpu)
        to_ns = time.time_ns()
        injected = program.injected()
        clocks = since(before, thread_clocks())
        kernels = stage.gpu.kernels - kernels
        _repeat(program, GO_ON_S, stage.gpu)
    finally:
        program.close()
    return Truth(
        name=scenario.name,
        variant=program.variant,
        fault=stage.fault,
        seed=stage.seed,
        expected=scenario.cause if stage.fault else None,
        accepted=program.accepted if stage.fault else (),
        from_ns=from_ns,
        to_ns=to_ns,
        pid=os.getpid(),
        tid=threading.get_native_id(),
        steps=steps,
        kernels=kernels,
        injected=injected,
        clocks=clocks,
    )


def _repeat(program: Program, seconds: float, gpu: Gpu) -> int:
    """Return how many steps were done in this time; the GPU is idle at both ends."""
    steps, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        program.step()
        steps += 1
    gpu.wait()
    return steps
