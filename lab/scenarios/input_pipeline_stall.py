"""Batches come later than the GPU could take them.

By seed: one worker process that is too slow, or no worker at all, where the training thread itself
decodes, reads a disk, or waits for a remote store. Control: as many workers as it takes, files from
memory.
"""

from __future__ import annotations

from typing import Any

from lab.scenarios.clocks import Stopwatch
from lab.scenarios.samples import Samples
from lab.scenarios.stage import Program, Scenario, Stage
from lab.scenarios.truth import Injected

# Variant -> what a sample costs, workers in the fault, and what else that may be called: on the
# training thread the same nanoseconds are its own code, its disk or its sleep.
VARIANTS: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "worker": ("decode", 1, ()),
    "decode": ("decode", 0, ("host_bound",)),
    "read": ("read", 0, ("io_wait",)),
    "remote": ("remote", 0, ("voluntary_wait",)),
}
PREFETCHED = 4
# Workers of a control, for each that it would take; and at most, to leave the training a core.
SPARE, MOST_WORKERS = 3, 12


def build(stage: Stage) -> Program:
    random, gpu = stage.random, stage.gpu
    variant = stage.variant(tuple(VARIANTS))
    cost, workers, accepted = VARIANTS[variant]
    launches = random.randrange(15, 30, 5)
    # Of what the GPU works a step, 200 us a launch and up to 2.4 times that.
    cost_ms = random.uniform(4.0, 5.0) * 0.2 * launches
    product = gpu.product(200.0)
    # Workers that share one disk stall the training as well.
    samples = Samples(cost, cost_ms, stage.seed, is_cached=not stage.fault)
    if not stage.fault:
        workers = min(MOST_WORKERS, SPARE * max(1, round(cost_ms / (0.2 * launches))))
    # In a list, so that it can be given up, which ends the workers.
    batches = [iter(_loader(samples, workers))]
    waiting = Stopwatch()
    before: dict[str, int] = {}

    def step() -> None:
        for _ in range(launches):
            product()
        # While the GPU works: a batch that is there already costs it nothing.
        with waiting:
            batch = next(batches[0])
        gpu.copy_in(batch)
        gpu.wait()

    def begin() -> None:
        waiting.reset()
        before.update(samples.counts.totals())

    def injected() -> Injected:
        made = {name: now - before[name] for name, now in samples.counts.totals().items()}
        counts = {"workers": workers, "waited_ns": waiting.total_ns, "sample_ms": cost_ms, **made}
        if not stage.fault:
            return Injected(counts=counts)
        # Taking a batch out of a queue is work of the thread, and no wait; that the GPU still had
        # work for a while is what the loss leaves out, and the thread's time does not.
        return Injected(waiting.total_ns, 0.6, 1.2, counts)

    def close() -> None:
        batches.clear()
        samples.close()

    return Program(step, injected, variant, begin, close, accepted)


def _loader(samples: Samples, workers: int) -> Any:
    """Return PyTorch's loader, a sample a batch."""
    from torch.utils.data import DataLoader

    if workers == 0:
        return DataLoader(samples, batch_size=None, num_workers=0)
    return DataLoader(
        samples,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=PREFETCHED,
        multiprocessing_context="fork",
    )


SCENARIO = Scenario(
    name="input_pipeline_stall",
    cause="input_pipeline_stall",
    shows="a data loader that makes batches more slowly than the GPU takes them",
    control="as many worker processes as it takes, files from memory",
    build=build,
)
