"""The GPU that stands out among its peers is named, and nobody else."""

from gnomon.analysis.comparison import outlier_warnings
from gnomon.analysis.summary_types import GpuSummary


def gpus(clocks):
    return [
        GpuSummary(uuid=str(i), name="H", from_ns=0, to_ns=1, samples=1, sm_clock_mhz=clock)
        for i, clock in enumerate(clocks)
    ]


def test_the_slow_one_is_named():
    warnings = outlier_warnings(gpus([1400.0, 1395.0, 1100.0, 1410.0]))

    assert [len(each) for each in warnings] == [0, 0, 1, 0]
    assert warnings[2][0] == "SM clock 1,100 MHz is far below its peers' median of 1,398 MHz"


def test_a_faster_one_is_no_complaint_and_two_gpus_are_no_peers():
    assert outlier_warnings(gpus([1400.0, 1400.0, 1900.0])) == [(), (), ()]
    assert outlier_warnings(gpus([1400.0, 900.0])) == [(), ()]


def test_gpus_that_do_different_work_are_no_peers():
    assert outlier_warnings(gpus([1980.0, 1400.0, 1200.0, 345.0])) == [(), (), (), ()]
