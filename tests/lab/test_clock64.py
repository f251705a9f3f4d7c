import pytest
from lab.clock64 import ClockSample, ClockSeries, Note, mean_mhz, read, write

OFFSET = 1_795_202_080_000_000_000


def notes(at_ns, mhz, sms=range(4)):
    # Each SM has its own counter, started at another time.
    return [Note(sm, 10**12 * sm + round(at_ns * mhz / 1e3), at_ns) for sm in sms]


def test_two_launches_give_the_clock_between_them():
    series = ClockSeries()

    assert series.add(notes(0, 1346), OFFSET) is None
    assert series.add(notes(50_000_000, 1346), OFFSET) == ClockSample(
        OFFSET, OFFSET + 50_000_000, pytest.approx(1346), 4
    )


def test_a_second_block_on_the_same_sm_counts_once():
    series = ClockSeries()
    series.add(notes(0, 1500) * 2, OFFSET)

    assert series.add(notes(50_000_000, 1500) * 2, OFFSET).sms == 4


def test_an_sm_that_was_not_seen_for_a_while_gives_the_mean_since():
    series = ClockSeries()
    series.add(notes(0, 1000), OFFSET)
    series.add(notes(50_000_000, 1000, sms=[0]), OFFSET)

    sample = series.add(notes(100_000_000, 1000, sms=[1]), OFFSET)
    assert (sample.from_ns, sample.to_ns) == (OFFSET, OFFSET + 100_000_000)
    assert sample.mhz == pytest.approx(1000)


def test_short_intervals_wait_for_more():
    series = ClockSeries()
    series.add(notes(0, 1000), OFFSET)

    assert series.add(notes(1_000_000, 1000), OFFSET) is None
    assert series.add(notes(30_000_000, 1000), OFFSET).from_ns == OFFSET


def test_one_strange_sm_does_not_move_the_median():
    series = ClockSeries()
    series.add(notes(0, 1346), OFFSET)
    strange = Note(3, 0, 50_000_000)

    sample = series.add([*notes(50_000_000, 1346, sms=range(3)), strange], OFFSET)
    assert sample.mhz == pytest.approx(1346)


def test_the_mean_weighs_by_time_inside_the_window():
    samples = [ClockSample(0, 100, 1000.0, 1), ClockSample(100, 400, 2000.0, 1)]

    assert mean_mhz(samples, 50, 200) == pytest.approx((50 * 1000 + 100 * 2000) / 150)
    assert mean_mhz(samples, 400, 500) is None
    assert mean_mhz([], 0, 1) is None


def test_samples_survive_the_file(tmp_path):
    samples = [ClockSample(1, 2, 1346.25, 132), ClockSample(2, 3, 1980.0, 131)]
    write(samples, tmp_path / "clock.jsonl")

    assert read(tmp_path / "clock.jsonl") == samples
