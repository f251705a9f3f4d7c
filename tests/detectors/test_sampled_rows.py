"""A row that stands for several calls or stays tells what as many rows like it would tell."""

import pytest

from gnomon import tables
from gnomon.detectors.causes import (
    allocator_thrash,
    first_use_loading,
    host_memory_spill,
    input_pipeline_stall,
    io_wait,
    transfer_rate,
    transfer_size,
    voluntary_wait,
)
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter
from tests.analysis.recordings import MS, US, call
from tests.analysis.stays import read, stack, waited
from tests.detectors.causes.proving import proved

PLACES = range(300)
SIZES = (2_000_000, 4_000_000, 8_000_000)
RATES = (3, 3, 6)  # bytes per ns


def at(place):
    return (10 * place + 1) * MS


LAUNCHES = [
    call(10 * n * MS, (9, 2, 1)[n % 3] * US, "cudaLaunchKernel", first_call=0) for n in PLACES
]
WAITS = [call(at(n) - 20 * US, 10 * US, "cudaStreamSynchronize") for n in PLACES]
LARGE = [
    call(at(n), size // RATES[n // 3 % 3], "cudaMemcpy", bytes=size, direction="h2d")
    for n in PLACES
    for size in (SIZES[n % 3],)
]
SMALL = [
    call(at(n), (n % 7 + 5) * 10 * US, "cudaMemcpyAsync", bytes=n + 8, direction="h2d")
    for n in PLACES
]
MEMORY = [
    call(at(n), (n % 7 + 1) * 100 * US, ("cudaMalloc", "cudaFree")[n % 2], bytes=n << 20)
    for n in PLACES
]
REQUESTS = [call(at(n), MS, "block_read", layer="block_io", bytes=4096) for n in PLACES]
READS = [read(at(n), (n % 5 + 1) * MS, stack_hash=1) for n in PLACES]
SLEEPS = [waited(at(n), 5 * MS, stack_hash=1) for n in PLACES]
LOADS = [call(at(200), 50 * MS, "cudaLaunchKernel", first_call=1)]


def sampled(rows, *, by_weight):
    """Rows that stand for one to three each; or as many of each as it stands for."""
    found = []
    for place, row in enumerate(rows):
        # The first of its function stands for itself alone.
        times = 1 if row.get("first_call") == 1 else 1 + place % 3
        weighted = row | {"weight": float(times), "selection": "weighted"}
        found += [weighted] if by_weight else [row] * times
    return found


def told(case, detector):
    """Return what findings say, but for that it is about as much."""
    return [
        (
            *(one.cause, one.severity, one.from_ns, one.thread_seconds, one.operation),
            *((each.text.replace("about ", ""), each.value) for each in one.evidence),
            *((each.text, each.value) for each in one.ruled_out),
        )
        for one in proved(case, detector.detect(case))
    ]


@pytest.mark.parametrize(
    ("detector", "calls", "stays", "symbol"),
    [
        (transfer_size, LARGE, (), ""),
        (transfer_size, SMALL, (), ""),
        (transfer_rate, [*LARGE, *WAITS], (), ""),
        (allocator_thrash, MEMORY, (), ""),
        (first_use_loading, LOADS, (), ""),
        (io_wait, REQUESTS, READS, "vfs_read"),
        (host_memory_spill, (), READS, "do_swap_page"),
        (input_pipeline_stall, (), SLEEPS, "_try_get_data"),
        (voluntary_wait, (), SLEEPS, "time_sleep"),
    ],
    ids=lambda one: getattr(one, "__name__", "").rpartition(".")[2] or None,
)
def test_it_counts_as_often_as_it_stands_for(tmp_path, case_of, detector, calls, stays, symbol):
    found = {}
    for by_weight in (True, False):
        path = tmp_path / str(by_weight)
        rows_of = {
            "host_calls": sampled([*LAUNCHES, *calls], by_weight=by_weight),
            "off_cpu": sampled(stays, by_weight=by_weight),
            "stacks": stack(1, symbol),
        }
        with RecordingWriter(path, "host-1") as writer:
            for table, rows in rows_of.items():
                if rows:
                    writer.append(table, tables.batch(table, rows))
        found[by_weight] = told(case_of(Recording.open(path)), detector)

    assert found[True]
    assert found[True] == found[False]


def test_what_stands_on_a_sample_says_about(case_with):
    case = case_with(host_calls=sampled([*LAUNCHES, *SMALL], by_weight=True))
    (found,) = proved(case, transfer_size.detect(case))

    assert found.evidence[0].text.startswith("about 600 copies of less than 64 KiB took ")
