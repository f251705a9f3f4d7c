"""What ran on GPUs, and when everything that ran is known."""

import numpy as np
import pytest

from gnomon.analysis.gpu_work import gpu_works, known_time
from gnomon.analysis.intervals import Intervals
from gnomon.enums import KernelFamily
from tests.analysis.gpu_timelines import ALL_REDUCE, BEGIN_NS, Timeline


def windows(*pairs):
    return Intervals(*np.array(pairs, dtype=np.int64).T)


@pytest.mark.parametrize(
    ("of_processes", "known"),
    [
        ([windows((0, 10), (20, 30))], [(0, 10), (20, 30)]),
        ([windows((20, 30), (0, 10), (5, 12))], [(0, 12), (20, 30)]),
        # Both are there from 5 to 30: only what both recorded is known.
        ([windows((0, 10), (20, 30)), windows((5, 25), (26, 40))], [(0, 10), (20, 25), (26, 40)]),
        # One is gone before the other comes.
        ([windows((0, 10)), windows((50, 60))], [(0, 10), (50, 60)]),
        ([], []),
    ],
)
def test_known_is_what_every_process_that_was_there_recorded(of_processes, known):
    found = known_time(of_processes)

    assert list(zip(found.start_ns, found.end_ns, strict=True)) == known


def test_a_gpus_work_is_ordered_and_of_one_recorder(tmp_path):
    line = Timeline()
    line.kernel(500, 100, ALL_REDUCE, stream=8)
    line.kernel(100, 700, "my_layer_norm", enqueued_ns=BEGIN_NS + 50)
    line.kernel(105, 690, "my_layer_norm", source="kineto")
    line.copy(20, 30, source_memory="pinned", destination_memory="device")
    line.window(0, 1000, dropped=3)
    line.window(0, 5000, source="kineto")

    work = line.work(tmp_path)

    assert (work.kernels.spans.start_ns - BEGIN_NS).tolist() == [100, 500]
    assert [work.kernel_labels[one].short for one in work.kernels.label] == [
        "my_layer_norm",
        ALL_REDUCE,
    ]
    assert work.kernels.enqueued_ns.tolist() == [BEGIN_NS + 50, 0]
    assert [work.streams[one - 1][2] for one in work.kernels.stream] == [7, 8]
    assert work.copy_labels[work.copies.label[0]].short == "copy h2d, pinned to device"
    assert work.bytes.tolist() == [4096]
    assert work.of_families(KernelFamily.COLLECTIVE).end_ns.tolist() == [BEGIN_NS + 600]
    assert (work.known.end_ns - work.known.start_ns).tolist() == [1000]
    assert work.dropped == 3


def test_gpus_come_one_by_one_and_one_may_be_chosen(tmp_path):
    line = Timeline()
    for number in (2, 1):
        line.kernel(10 * number, 5, gpu_uuid=f"GPU-{number}")
    line.window(0, 100)

    with line.asked(tmp_path) as (_, session, span):
        assert [one.gpu_uuid for one in gpu_works(session, span)] == ["GPU-1", "GPU-2"]
        (only,) = gpu_works(session, span, only=("GPU-2", None))
    assert len(only.kernels) == 1
