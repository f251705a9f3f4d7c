"""A server that has little to do: it sleeps, or waits, until a request comes.

By seed it looks for requests every few milliseconds, waits in a queue that a thread fills, or polls
a pipe that another process writes to. Control: there is always a request.
"""

from __future__ import annotations

import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from random import Random

from lab.scenarios.clocks import Stopwatch
from lab.scenarios.stage import Program, Scenario, Stage
from lab.scenarios.truth import Injected

VARIANTS = ("sleep", "queue", "poll")
LOOKS_EVERY_S = 0.002
CLIENT = """
import os, random, sys, time
draw = random.Random(int(sys.argv[1]))
while True:
    time.sleep(draw.expovariate(1) * float(sys.argv[2]))
    os.write(1, b".")
"""


class Requests:
    """Where requests come from: ``wait`` returns when there is one."""

    def __init__(self, wait: Callable[[], None], close: Callable[[], None]) -> None:
        self.wait, self.close = wait, close


def looked_for(random: Random, mean_s: float) -> Requests:
    """Requests that are due at times, and looked for again and again."""
    due_s = [time.monotonic()]

    def wait() -> None:
        due_s[0] = max(due_s[0], time.monotonic() - mean_s) + random.expovariate(1) * mean_s
        while time.monotonic() < due_s[0]:
            time.sleep(LOOKS_EVERY_S)

    return Requests(wait, lambda: None)


def queued(random: Random, mean_s: float) -> Requests:
    """Requests that a thread of this process puts into a queue."""
    requests: queue.Queue[int] = queue.Queue()
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(random.expovariate(1) * mean_s):
            requests.put(1)

    client = threading.Thread(target=ask, name="client")
    client.start()

    def wait() -> None:
        requests.get()

    def close() -> None:
        stop.set()
        client.join()

    return Requests(wait, close)


def polled(random: Random, mean_s: float) -> Requests:
    """Requests that another process writes into a pipe."""
    arguments = [str(random.randrange(1 << 30)), str(mean_s)]
    client = subprocess.Popen([sys.executable, "-c", CLIENT, *arguments], stdout=subprocess.PIPE)
    assert client.stdout is not None
    pipe = client.stdout
    poll = select.poll()
    poll.register(pipe, select.POLLIN)

    def wait() -> None:
        poll.poll()
        os.read(pipe.fileno(), 1)

    def close() -> None:
        client.kill()
        client.wait()
        pipe.close()

    return Requests(wait, close)


SOURCES = {"sleep": looked_for, "queue": queued, "poll": polled}


def build(stage: Stage) -> Program:
    random, gpu = stage.random, stage.gpu
    variant = stage.variant(VARIANTS)
    mean_s = random.uniform(0.04, 0.1)
    launches = random.randrange(15, 30, 5)
    product = gpu.product(200.0)
    requests = SOURCES[variant](random, mean_s) if stage.fault else None
    waiting = Stopwatch()

    def step() -> None:
        if requests is not None:
            with waiting:
                requests.wait()
        for _ in range(launches):
            product()
        gpu.wait()

    def injected() -> Injected:
        counts = {"waited_ns": waiting.total_ns, "requests": waiting.count, "mean_s": mean_s}
        if not stage.fault:
            return Injected(counts=counts)
        return Injected(waiting.total_ns, 0.7, 1.1, counts)

    close = requests.close if requests is not None else lambda: None
    return Program(step, injected, variant, waiting.reset, close)


SCENARIO = Scenario(
    name="voluntary_wait",
    cause="voluntary_wait",
    shows="a server with a request now and then",
    control="a server that always has a request",
    build=build,
    is_loss=False,
)
