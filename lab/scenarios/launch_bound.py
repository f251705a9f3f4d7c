"""A chain of kernels that last less than their launches.

Control, by seed: kernels that last longer than their launches, or a chain of them as one graph.
"""

from __future__ import annotations

import time

from lab.scenarios.clocks import Stopwatch
from lab.scenarios.stage import Program, Scenario, Stage
from lab.scenarios.truth import Injected

CONTROLS = ("large", "graph")


def build(stage: Stage) -> Program:
    random, gpu = stage.random, stage.gpu
    count = random.randrange(300, 1200, 50)
    elements = 1 << random.randint(14, 17)
    variant = "eager" if stage.fault else stage.variant(CONTROLS)
    launch = gpu.small_kernels(count, elements)
    if not stage.fault:
        product = gpu.product(20.0)

        def launch() -> None:
            for _ in range(count):
                product()

        if variant == "graph":
            launch = gpu.graph(launch, count)
    launching = Stopwatch(time.thread_time_ns)

    def step() -> None:
        with launching:
            launch()
        gpu.wait()

    def injected() -> Injected:
        counts = {"kernels_a_step": count, "elements": elements, "launching_ns": launching.total_ns}
        if not stage.fault:
            return Injected(counts=counts)
        return Injected(launching.total_ns, 0.8, 1.1, counts)

    return Program(step, injected, variant, launching.reset)


SCENARIO = Scenario(
    name="launch_bound",
    cause="launch_bound",
    shows="hundreds of kernels of 2 us, each asked for one by one",
    control="kernels that last longer than their launches, or one graph of them",
    build=build,
)
