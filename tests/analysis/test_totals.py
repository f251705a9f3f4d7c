"""Totals never pass a part off as the whole."""

from gnomon.analysis.summary_types import GpuSummary
from gnomon.analysis.totals import totals


def gpu(uuid, window=(0, 1), mig_uuid=None, **values):
    return GpuSummary(
        uuid=uuid,
        name="H",
        from_ns=window[0],
        to_ns=window[1],
        samples=1,
        mig_uuid=mig_uuid,
        **values,
    )


def test_sums_and_means_over_the_gpus_of_one_window():
    both = totals([gpu("a", energy_joules=1.0, busy_pct=90.0), gpu("b", energy_joules=2.0)])

    assert [(one.gpus, one.energy_joules, one.busy_pct) for one in both] == [(2, 3.0, 90.0)]


def test_a_sum_that_lacks_a_part_is_missing():
    assert totals([gpu("a", power_watts=700.0), gpu("b")])[0].power_watts is None


def test_each_window_has_its_own_and_mig_instances_are_not_counted_twice():
    result = totals([gpu("a"), gpu("a", mig_uuid="m"), gpu("a", window=(1, 2))])

    assert [(one.from_ns, one.gpus) for one in result] == [(0, 1), (1, 1)]
