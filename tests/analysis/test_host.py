"""The host beside the GPU: means over each window, of the processes on each GPU."""

import pytest

from gnomon.analysis.host import hosts
from gnomon.analysis.windows import Window

from . import scenes as s

WHOLE = (s.BEGIN_NS, s.BEGIN_NS + 10 * s.SECOND_NS)
ONE_WINDOW = (Window(*WHOLE),)


def every_second(values, **others):
    """A row a second with one value of a column; None: not read."""
    ((column, readings),) = values.items()
    return [
        {"ts_ns": s.BEGIN_NS + number * s.SECOND_NS, "duration_ns": s.SECOND_NS, column: reading}
        | others
        for number, reading in enumerate(readings, start=1)
    ]


def threads(pid, pct):
    return every_second({"busiest_thread_cpu_pct": [pct] * 10}, pid=pid)


def host_of(windows=ONE_WINDOW, **tables):
    by_time = {name: sorted(rows, key=lambda row: row["ts_ns"]) for name, rows in tables.items()}
    return hosts(s.memory(**by_time), windows, *WHOLE)


def on_gpu(gpu, *pids):
    return [
        {"ts_ns": s.BEGIN_NS + 1, "duration_ns": 0, "gpu_uuid": gpu, "pid": pid} for pid in pids
    ]


def test_cpu_is_the_mean_of_each_window():
    halves = [Window(WHOLE[0], sum(WHOLE) // 2), Window(sum(WHOLE) // 2, WHOLE[1])]
    readings = [10.0] * 5 + [20.0, None, 40.0, None, None]

    found = host_of(halves, host_samples=every_second({"cpu_pct": readings}))

    assert [one.cpu_pct for one in found] == [pytest.approx(10.0), pytest.approx(30.0)]


def test_the_busiest_thread_is_one_of_the_gpus_own_processes():
    (found,) = host_of(
        process_samples=threads(4_000_000, 60.0) + threads(7, 90.0) + threads(8, 30.0),
        gpu_processes=on_gpu("GPU-1", 4_000_000, 8) + on_gpu("GPU-2", 8),
    )

    assert found.busiest_thread_cpu_pct("GPU-1") == pytest.approx(60.0)
    assert found.busiest_thread_cpu_pct("GPU-2") == pytest.approx(30.0)


def test_where_the_driver_lists_no_process_every_watched_one_counts():
    (found,) = host_of(process_samples=threads(7, 90.0) + threads(8, 30.0))

    assert found.busiest_thread_cpu_pct("GPU-1") == pytest.approx(90.0)


def test_rows_without_a_process_are_left_out():
    (found,) = host_of(
        process_samples=threads(None, 99.0) + threads(8, 30.0),
        gpu_processes=on_gpu("GPU-1", None) + on_gpu(None, 8),
    )

    assert found.busiest_thread_cpu_pct("GPU-1") == pytest.approx(30.0)


def test_a_host_that_nobody_measured_has_no_numbers():
    (found,) = host_of()

    assert (found.cpu_pct, found.busiest_thread_cpu_pct("GPU-1")) == (None, None)
