"""When a GPU counts as idle."""

import pytest

from gnomon.hardware.calibration.idleness import occupied_by


def counters(*busy):
    return [{"gpu_uuid": "GPU-1", "busy_pct": value} for value in busy]


def process(kind="compute", uuid="GPU-1"):
    return {"gpu_uuid": uuid, "kind": kind, "pid": 42, "name": "python"}


@pytest.mark.parametrize(
    ("rows", "processes"),
    [
        ([], []),
        (counters(None, 0), []),
        (counters(5), [process("graphics")]),
        (counters(0), [process(uuid="GPU-2")]),
        ([{"gpu_uuid": "GPU-2", "busy_pct": 100}], []),
    ],
)
def test_a_gpu_that_nobody_computes_on_is_idle(rows, processes):
    assert occupied_by("GPU-1", rows, processes) == []


def test_work_is_told_in_percent_and_processes_by_name():
    reasons = occupied_by("GPU-1", counters(None, 3, 80), [process(), process("mps")])

    assert reasons == ["it is busy 80 % of the time", "a process uses it: 42 (python)"]
