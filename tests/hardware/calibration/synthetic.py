"""Points of a GPU whose constants are known, made without measuring anything."""

from dataclasses import dataclass

from gnomon.hardware.calibration import plan
from gnomon.hardware.calibration.points import Kind, Point, Task

FREE_BYTES = 140 << 30


@dataclass(frozen=True)
class Gpu:
    """What a fit must find again: the model of each time, in closed form."""

    flops: float = 780e12
    slowdown: float = 1.2
    bytes_per_s: float = 4.3e12
    product_launch_s: float = 3e-6
    attention_launch_s: float = 10e-6
    launch_s: float = 1.5e-6
    collective_s: float = 5e-6
    link_bytes_per_s: float = 315e9

    def seconds(self, task: Task) -> float:
        slower = self.slowdown if task.is_sustained else 1.0
        moved = task.moved_bytes
        if task.kind is Kind.LAUNCH:
            return self.launch_s
        if task.kind is Kind.ALL_REDUCE:
            return self.collective_s + moved / self.link_bytes_per_s
        if task.kind is Kind.DECODE:
            return self.attention_launch_s + moved / self.bytes_per_s
        if task.kind is Kind.PREFILL:
            return task.flops / (0.7 * self.flops) * slower
        if task.kind is Kind.GEMM and task.shape[0] > plan.SMALL_M:
            return task.flops / self.flops * slower
        floor_s = self.product_launch_s if task.kind is Kind.GEMM else 0.0
        return floor_s + moved / self.bytes_per_s


def tasks(dtypes=("bf16", "fp8"), gpus=2):
    best = {Kind.PREFILL: "flash", Kind.DECODE: "flash"}
    return [
        *plan.bursts(dtypes, FREE_BYTES),
        *plan.all_reduces(gpus),
        *plan.sustained(dtypes, FREE_BYTES, best),
    ]


def points(gpu, noise=lambda _number: 1.0):
    return [Point(task, gpu.seconds(task) * noise(i)) for i, task in enumerate(tasks())]
