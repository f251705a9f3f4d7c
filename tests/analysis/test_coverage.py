"""Gaps are where nothing was measured, and nowhere else."""

from hypothesis import given
from hypothesis import strategies as st

from gnomon.analysis.coverage import Gap, Loss, gaps, losses, sources

from .scenes import BEGIN_NS, GPU, SECOND_NS, memory, rows


def at(second):
    return BEGIN_NS + second * SECOND_NS


def second(index, gpu=GPU, source="nvml", length=1):
    return rows(source, {}, index // length, 1, length * SECOND_NS, gpu)


@given(
    st.lists(st.tuples(st.integers(0, 39), st.sampled_from(["nvml", "gpm"])), min_size=1),
)
def test_gaps_are_the_runs_of_more_than_two_seconds_that_nobody_measured(measured):
    recording = memory([row for index, source in measured for row in second(index, source=source)])
    seen = {index for index, _ in measured}

    expected, begin = [], 0
    for index in range(41):
        if index in seen or index == 40:
            if index - begin > 2.5:
                expected.append(Gap(GPU, at(begin), at(index)))
            begin = index + 1

    assert gaps(recording, from_ns=at(0), to_ns=at(40)) == expected


def test_who_measures_every_ten_seconds_leaves_no_gap_between():
    recording = memory([row for index in (0, 10, 30) for row in second(index, length=10)])

    assert gaps(recording, from_ns=at(0), to_ns=at(40)) == []


def test_a_gpu_that_was_never_measured_is_one_gap():
    recording = memory(second(0), gpus={GPU: {}, "GPU-2": {}})

    assert gaps(recording, from_ns=at(0), to_ns=at(1)) == [Gap("GPU-2", at(0), at(1))]


def test_sources_stand_as_at_the_end_and_their_readings_are_summed():
    health = [
        {"ts_ns": at(1), "source": "gpm", "state": "stalled", "reason": "slow", "reads": 3},
        {"ts_ns": at(2), "source": "gpm", "state": "ready", "reads": 4, "failures": 1},
        {"ts_ns": at(9), "source": "gpm", "state": "failed", "reads": 9},
    ]
    [source] = sources(memory(source_health=health), from_ns=at(0), to_ns=at(2))

    assert (source.state, source.reason) == ("ready", None)
    assert (source.reads, source.failures, source.last_ns) == (7, 1, at(2))


def test_losses_are_summed_by_reason_the_most_first():
    lost = [
        {"ts_ns": at(1), "source": "a", "table": "t", "reason": reason, "rows": count}
        for reason, count in (("x", 2), ("y", 4), ("x", 3))
    ]

    assert losses(memory(losses=lost), from_ns=at(0), to_ns=at(1)) == [
        Loss("a", "t", "x", 5),
        Loss("a", "t", "y", 4),
    ]
