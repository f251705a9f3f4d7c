"""How a point is timed, on a CUDA whose time passes only where something is launched."""

import contextlib
from types import SimpleNamespace

import pytest

from gnomon.hardware.calibration import torch_bench
from gnomon.hardware.calibration.points import CalibrationError, Conditions, Kind, Task
from gnomon.hardware.calibration.torch_bench import Durations, TorchBench
from gnomon.hardware.calibration.torch_work import Operation

QUICK = Durations(rest_s=0, heat_s=0.01, timed_s=0.02, tail_s=0.01, note_s=0.002)
GEMM = Task(Kind.GEMM, (1, 2, 3), "bf16")


class Graph:
    def __init__(self, cuda):
        self.cuda, self.ms = cuda, 0.0

    def replay(self):
        self.cuda.launch(self.ms)


class Event:
    def __init__(self, cuda):
        self.cuda = cuda

    def record(self):
        self.ms = self.cuda.ms

    def synchronize(self):
        pass

    def elapsed_time(self, later):
        return later.ms - self.ms


class Cuda:
    """The part of torch.cuda that the bench uses; ``ms`` is the GPU's time."""

    def __init__(self, capability=(9, 0)):
        self.ms, self.capturing, self.graphs = 0.0, None, 0
        self.capability = capability

    def launch(self, ms):
        if self.capturing is None:
            self.ms += ms
        else:
            self.capturing.ms += ms

    def get_device_properties(self, _device):
        major, minor = self.capability
        return SimpleNamespace(major=major, minor=minor, L2_cache_size=50 << 20)

    def mem_get_info(self, _device):
        return 140 << 30, 141 << 30

    @contextlib.contextmanager
    def graph(self, graph, **_):
        self.capturing, self.graphs = graph, self.graphs + 1
        yield
        self.capturing = None

    def CUDAGraph(self):  # noqa: N802  PyTorch's name
        return Graph(self)

    def Event(self, **_):  # noqa: N802
        return Event(self)

    def is_available(self):
        return True

    def Stream(self):  # noqa: N802
        return SimpleNamespace(wait_stream=lambda _: None)

    current_stream = Stream

    def stream(self, _stream):
        return contextlib.nullcontext()

    def synchronize(self):
        pass

    set_device = empty_cache = lambda *_: None


class Watch:
    def __init__(self):
        self.notes = self.clocks = 0

    def note(self):
        self.notes += 1

    @contextlib.contextmanager
    def true_clock(self):
        self.clocks += 1
        yield

    def conditions(self, *_):
        return Conditions()


@pytest.fixture
def bench(monkeypatch):
    """Return a function: (ms of a call, copies) -> a bench on a CUDA where calls take so long."""

    def make(ms, copies=1, capability=(9, 0)):
        cuda = Cuda(capability)
        torch = SimpleNamespace(
            cuda=cuda,
            __version__="2.9",
            device=lambda _name: SimpleNamespace(type="cuda"),
            set_float32_matmul_precision=lambda _: None,
            manual_seed=lambda _: None,
            inference_mode=contextlib.nullcontext,
        )
        monkeypatch.setattr(torch_bench, "load_torch", lambda: torch)
        calls = [lambda: cuda.launch(ms)] * copies
        monkeypatch.setattr(torch_bench, "build", lambda *_: Operation(calls))
        watch = Watch()
        return TorchBench(watch, durations=QUICK), watch, cuda

    return make


@pytest.mark.parametrize("is_sustained", [False, True])
@pytest.mark.parametrize(
    ("ms", "copies", "is_graph"), [(0.004, 24, True), (0.3, 1, True), (7.0, 2, False)]
)
def test_seconds_are_those_of_one_call_however_many_ran(bench, is_sustained, ms, copies, is_graph):
    measured, watch, cuda = bench(ms, copies)
    task = Task(Kind.GEMM, (1, 2, 3), "bf16", is_sustained=is_sustained)

    assert measured.measure(task).seconds == pytest.approx(ms / 1e3)
    assert cuda.graphs == is_graph
    assert watch.notes >= 1
    assert watch.clocks == is_sustained


def test_copies_with_the_host_are_never_captured(bench):
    measured, _, cuda = bench(0.1)
    measured.measure(Task(Kind.H2D, (100,)))

    assert cuda.graphs == 0


@pytest.mark.parametrize(
    ("capability", "absent"),
    [((7, 5), {"bf16", "tf32", "fp8"}), ((8, 0), {"fp8"}), ((9, 0), set())],
)
def test_a_gpu_is_asked_for_the_dtypes_of_its_architecture(bench, capability, absent):
    measured, _, _ = bench(1.0, capability=capability)

    assert set(torch_bench.FIRST_WITH) - set(measured.dtypes) == absent


def test_a_pytorch_that_sees_no_gpu_is_told_as_such(bench, monkeypatch):
    monkeypatch.setattr(Cuda, "is_available", lambda _: False)

    with pytest.raises(CalibrationError, match=r"PyTorch 2.9 finds no GPU"):
        bench(1.0)


def test_without_pytorch_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)

    with pytest.raises(CalibrationError, match=r"pip install 'gnomon\[calibrate\]'"):
        torch_bench.load_torch()
