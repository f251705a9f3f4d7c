"""Measures all-reduces between GPUs of one host: one process a GPU, through NCCL.

    python -m gnomon.hardware.calibration.torch_link RANK GPUS PORT

is one such process; that of rank 0 prints a JSON list of seconds, one for each size of the plan.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from gnomon.hardware.calibration import plan
from gnomon.hardware.calibration.points import CalibrationError, Point, Task

TIMEOUT_S = 45.0
# Above it an all-reduce is so much longer than its launch that it needs no graph.
GRAPH_UP_TO_BYTES = 4 << 20
REPLAYS = 5


def measure(gpus: int, command: Sequence[str] | None = None) -> list[Point]:
    """Return the points of an all-reduce among the first ``gpus`` visible GPUs.

    ``command`` starts one process and is given rank, GPUs and port. Raises CalibrationError with
    the last words of the process that failed.
    """
    start = command or (sys.executable, "-m", "gnomon.hardware.calibration.torch_link")
    port = _free_port()
    processes = [
        subprocess.Popen(
            [*start, str(rank), str(gpus), str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(gpus)
    ]
    try:
        answers = _answers(processes)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return points(plan.all_reduces(gpus), answers[0])


def _answers(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    deadline_s = time.monotonic() + TIMEOUT_S
    answers = []
    for rank, process in enumerate(processes):
        try:
            out, err = process.communicate(timeout=max(0.1, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired as error:
            raise CalibrationError(
                f"the all-reduce of rank {rank} did not end within {TIMEOUT_S:g} s"
            ) from error
        if process.returncode != 0:
            words = err.strip().splitlines() or ["it said nothing"]
            raise CalibrationError(
                f"the all-reduce of rank {rank} ended with status {process.returncode}: {words[-1]}"
            )
        answers.append(out)
    return answers


def points(tasks: Sequence[Task], answer: str) -> list[Point]:
    """Return what rank 0 printed as points. Raises CalibrationError where it is something else."""
    try:
        seconds = json.loads(answer.strip().splitlines()[-1])
        return [Point(task, float(one)) for task, one in zip(tasks, seconds, strict=True)]
    except (IndexError, TypeError, ValueError) as error:
        raise CalibrationError(f"the all-reduce printed no list of times: {error}") from error


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def run_rank(rank: int, gpus: int, port: int, sizes: Sequence[int], device: str) -> list[float]:
    """Return seconds of an all-reduce of each size, as this rank sees it."""
    import torch  # noqa: PLC0415
    from torch import distributed  # noqa: PLC0415

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    is_cuda = device == "cuda"
    where = torch.device(f"cuda:{rank}" if is_cuda else "cpu")
    if is_cuda:
        torch.cuda.set_device(where)
    distributed.init_process_group("nccl" if is_cuda else "gloo", rank=rank, world_size=gpus)
    try:
        buffers = [torch.zeros(size // 2, device=where, dtype=torch.bfloat16) for size in sizes]
        return [_time(distributed, buffer, is_cuda=is_cuda) for buffer in buffers]
    finally:
        distributed.destroy_process_group()


def _time(distributed: Any, buffer: Any, *, is_cuda: bool) -> float:
    """Every rank makes the same calls, or none would end: counts come from the size alone."""
    size_bytes = int(buffer.numel() * buffer.element_size())
    count = max(3, min(200, (64 << 20) // size_bytes))

    def repeat() -> None:
        for _ in range(count):
            distributed.all_reduce(buffer)

    if not is_cuda:
        started_s = time.perf_counter()
        repeat()
        return (time.perf_counter() - started_s) / count
    return _time_on_gpu(repeat, is_graph=size_bytes <= GRAPH_UP_TO_BYTES) / count


def _time_on_gpu(repeat: Callable[[], None], *, is_graph: bool) -> float:
    import torch  # noqa: PLC0415

    repeat()
    torch.cuda.synchronize()
    replay = repeat
    if is_graph:
        graph = torch.cuda.CUDAGraph()
        # NCCL's watchdog asks for events meanwhile, in a thread of its own.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            repeat()
        replay = graph.replay
    replay()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(REPLAYS + 1)]
    events[0].record()
    for event in events[1:]:
        replay()
        event.record()
    events[-1].synchronize()
    spans_ms = [a.elapsed_time(b) for a, b in itertools.pairwise(events)]
    return float(statistics.median(spans_ms)) / 1e3


def main(arguments: Sequence[str]) -> None:
    rank, gpus, port = map(int, arguments)
    seconds = run_rank(rank, gpus, port, plan.ALL_REDUCE_BYTES, "cuda")
    if rank == 0:
        print(json.dumps(seconds))  # noqa: T201  this is the process's answer


if __name__ == "__main__":
    main(sys.argv[1:])
