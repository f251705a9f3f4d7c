"""Measures a point with PyTorch: a thin layer, all of it on one device.

Matrices hold random numbers: zeros draw less power and let the clock rise by an eighth. What is
bound by memory meets weights and caches that have left the L2, by walking through copies of them;
activations stay in it, as they do in an engine.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gnomon.hardware.calibration.measuring import Timing, Watch
from gnomon.hardware.calibration.points import CalibrationError, Kind, Task
from gnomon.hardware.calibration.torch_work import Operation, build

EXTRA = "pip install 'gnomon[calibrate]'"
# By compute capability (major, minor): CUDA C++ Programming Guide, arithmetic instructions.
FIRST_WITH = {"fp16": (7, 0), "int8": (7, 5), "bf16": (8, 0), "tf32": (8, 0), "fp8": (8, 9)}
# A launch from Python takes some 10 us: what is not much longer than that runs as a CUDA graph.
GRAPH_BELOW_S = 0.5e-3
MOST_GRAPH_NODES = 1000
IN_FLIGHT = 3


@dataclass(frozen=True, slots=True)
class Durations:
    """How long the parts of a measurement take, in seconds.

    A burst rests first, so that power and temperature do not cap its clock yet. What is sustained
    heats up, is timed, and goes on for a tail in which the true clock is sampled: enabled
    sampling costs a power-capped product 0.6 %.
    """

    rest_s: float = 0.06
    replay_s: float = 4e-3
    replays: int = 5
    heat_s: float = 1.0
    timed_s: float = 2.2
    tail_s: float = 0.6
    note_s: float = 0.1


class TorchBench:
    """Measures tasks on ``device`` ("cuda:0"; "cpu" only proves that the code runs)."""

    def __init__(
        self, watch: Watch, device: str = "cuda:0", durations: Durations | None = None
    ) -> None:
        """Raises CalibrationError where PyTorch or the device is missing, and says what to do."""
        self._torch = torch = load_torch()
        self._watch = watch
        self._device = torch.device(device)
        self._durations = durations or Durations()
        self._is_cuda = self._device.type == "cuda"
        # TF32 is what "high" means; the fp32 pipe itself is not measured.
        torch.set_float32_matmul_precision("high")
        torch.manual_seed(0)
        if not self._is_cuda:
            self.dtypes: Sequence[str] = ("bf16",)
            self.free_bytes = 1 << 30
            self._cold_bytes = 0
            return
        if not torch.cuda.is_available():
            raise CalibrationError(
                f"PyTorch {torch.__version__} finds no GPU: see `gnomon doctor`, and whether this "
                "PyTorch was built for CUDA (python -m torch.utils.collect_env)"
            )
        torch.cuda.set_device(self._device)
        properties = torch.cuda.get_device_properties(self._device)
        capability = (properties.major, properties.minor)
        self.dtypes = tuple(dtype for dtype, first in FIRST_WITH.items() if capability >= first)
        self.free_bytes = int(torch.cuda.mem_get_info(self._device)[0])
        self._cold_bytes = 4 * int(getattr(properties, "L2_cache_size", 64 << 20))

    def measure(self, task: Task) -> Timing:
        """Return the time of one operation; whatever PyTorch raises passes through."""
        with self._torch.inference_mode(), warnings.catch_warnings():
            # Why a kernel refuses a shape is warned of, and then raised.
            warnings.simplefilter("ignore")
            operation = build(task, self._device, self._cold_bytes)
            if self._is_cuda:
                return self._on_gpu(task, operation)
            return self._on_cpu(operation)

    def release(self) -> None:
        """Give memory back before it gets short; a collection takes 40 ms with PyTorch loaded."""
        if not self._is_cuda:
            return
        if self._torch.cuda.mem_get_info(self._device)[0] < self.free_bytes // 2:
            gc.collect()
            self._torch.cuda.empty_cache()

    def _on_cpu(self, operation: Operation) -> Timing:
        from_ns = time.time_ns()
        for call in operation.calls:
            call()
        self._watch.note()
        to_ns = time.time_ns()
        return Timing((to_ns - from_ns) / 1e9 / len(operation.calls), from_ns, to_ns)

    def _on_gpu(self, task: Task, operation: Operation) -> Timing:
        one_s = self._estimate_s(operation)
        wanted = max(1, round(self._durations.replay_s / one_s))
        cycles = max(1, min(wanted, MOST_GRAPH_NODES) // len(operation.calls))
        count = cycles * len(operation.calls)
        # Copies between host and device overlap nothing here, and need no graph.
        if one_s < GRAPH_BELOW_S and task.kind not in (Kind.H2D, Kind.D2H):
            replay = self._graph(operation, cycles)
        else:
            replay = operation.times(cycles)
        if task.is_sustained:
            return self._sustained(replay, count)
        return self._burst(replay, count)

    def _estimate_s(self, operation: Operation) -> float:
        """Return about how long one call takes; the first ones also set libraries up."""
        cuda = self._torch.cuda
        for call in operation.calls[:2]:
            call()
        begin, end = self._event(), self._event()
        cuda.synchronize()
        begin.record()
        for call in operation.calls:
            call()
        end.record()
        end.synchronize()
        return max(1e-6, float(begin.elapsed_time(end)) / 1e3 / len(operation.calls))

    def _graph(self, operation: Operation, cycles: int) -> Callable[[], None]:
        cuda = self._torch.cuda
        side = cuda.Stream()
        side.wait_stream(cuda.current_stream())
        with cuda.stream(side):
            operation.calls[0]()
        cuda.current_stream().wait_stream(side)
        cuda.synchronize()
        graph = cuda.CUDAGraph()
        with cuda.graph(graph, capture_error_mode="thread_local"):
            operation.times(cycles)()
        return graph.replay  # type: ignore[no-any-return]

    def _event(self) -> Any:
        return self._torch.cuda.Event(enable_timing=True)

    def _burst(self, replay: Callable[[], None], count: int) -> Timing:
        """Return the median of some replays on a rested GPU, one operation's share."""
        replay()
        self._torch.cuda.synchronize()
        time.sleep(self._durations.rest_s)
        from_ns = time.time_ns()
        replay()  # brings the clocks up
        events = [self._event() for _ in range(self._durations.replays + 1)]
        events[0].record()
        for event in events[1:]:
            replay()
            event.record()
        self._watch.note()
        events[-1].synchronize()
        to_ns = time.time_ns()
        spans_ms = [a.elapsed_time(b) for a, b in itertools.pairwise(events)]
        return Timing(statistics.median(spans_ms) / 1e3 / count, from_ns, to_ns)

    def _sustained(self, replay: Callable[[], None], count: int) -> Timing:
        """Return the mean over the timed part, after power has settled."""
        wait = self._durations
        batch = self._batch(replay)
        self._keep_busy(replay, batch, wait.heat_s)
        from_ns = time.time_ns()
        begin, end, batches = self._keep_busy(replay, batch, wait.timed_s)
        with self._watch.true_clock():
            self._keep_busy(replay, batch, wait.tail_s)
        seconds = float(begin.elapsed_time(end)) / 1e3
        return Timing(seconds / (batches * batch * count), from_ns, time.time_ns())

    def _batch(self, replay: Callable[[], None]) -> int:
        """Return how many replays take some 20 ms: enough to queue while clocks are read."""
        begin, end = self._event(), self._event()
        begin.record()
        replay()
        end.record()
        end.synchronize()
        return max(1, round(20.0 / max(float(begin.elapsed_time(end)), 1e-3)))

    def _keep_busy(
        self, replay: Callable[[], None], batch: int, seconds: float
    ) -> tuple[Any, Any, int]:
        """Repeat batches for so long without a gap; return first and last event, and batches."""
        begin = self._event()
        begin.record()
        events = [begin]
        started_s = noted_s = time.monotonic()
        while time.monotonic() - started_s < seconds:
            for _ in range(batch):
                replay()
            events.append(self._event())
            events[-1].record()
            if len(events) > IN_FLIGHT:
                events[-1 - IN_FLIGHT].synchronize()
            if time.monotonic() - noted_s >= self._durations.note_s:
                self._watch.note()
                noted_s = time.monotonic()
        events[-1].synchronize()
        return begin, events[-1], len(events) - 1


def load_torch() -> Any:
    """Return the torch module. Raises CalibrationError where it is not installed."""
    try:
        import torch  # noqa: PLC0415  two seconds, and an extra
    except ImportError as error:
        raise CalibrationError(f"PyTorch cannot be imported ({error}): {EXTRA}") from error
    return torch
