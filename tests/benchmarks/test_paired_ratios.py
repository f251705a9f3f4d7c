import numpy as np
import pytest
from benchmarks.paired_ratios import Progress, bootstrap_median, paired_ratios
from hypothesis import given
from hypothesis import strategies as st

SECOND = 1_000_000_000
START = 1_795_202_080_368_256_601


def steady(rate_per_s, seconds, step_ns=10_000_000):
    ts_ns = list(range(START, START + seconds * SECOND + 1, step_ns))
    return Progress(ts_ns, [(ts - START) / SECOND * rate_per_s for ts in ts_ns])


def test_a_steady_workload_has_its_rate_in_any_window():
    progress = steady(rate_per_s=700, seconds=10)

    assert progress.rate_per_s(START + 1_234_567, START + 3 * SECOND + 7) == pytest.approx(700)


def test_a_slowdown_in_every_other_second_is_found_exactly():
    ts_ns, done, total = [START], [0.0], 0.0
    for tenth in range(400):
        total += 9.0 if (tenth // 10) % 2 else 10.0
        ts_ns.append(START + (tenth + 1) * SECOND // 10)
        done.append(total)
    pairs = [
        (
            (START + (2 * i + 1) * SECOND, START + (2 * i + 2) * SECOND),
            (START + 2 * i * SECOND, START + (2 * i + 1) * SECOND),
        )
        for i in range(20)
    ]

    assert paired_ratios(Progress(ts_ns, done), pairs) == pytest.approx([0.9] * 20)


def test_a_window_beyond_what_was_noted_is_refused():
    progress = steady(rate_per_s=1, seconds=2)

    with pytest.raises(ValueError, match="no progress was noted"):
        progress.rate_per_s(START + SECOND, START + 3 * SECOND)
    with pytest.raises(ValueError, match="no progress was noted"):
        progress.rate_per_s(START - 1, START + SECOND)
    with pytest.raises(ValueError, match="no progress was noted"):
        progress.rate_per_s(START + SECOND, START + SECOND)


def test_progress_needs_two_points():
    with pytest.raises(ValueError, match="two points"):
        Progress([START], [0])


def test_equal_values_have_no_width():
    assert bootstrap_median([0.99] * 30) == (0.99, 0.99, 0.99)


def test_the_interval_covers_the_true_median_as_often_as_it_says():
    generator = np.random.default_rng(1)
    covered = sum(
        low <= 1.0 <= high
        for _, low, high in (
            bootstrap_median(list(generator.normal(1.0, 0.01, 60)), resamples=400)
            for _ in range(200)
        )
    )

    assert 0.88 <= covered / 200 <= 1.0  # percentile bootstrap of a median: near 95 %


def test_no_values_are_refused():
    with pytest.raises(ValueError, match="no values"):
        bootstrap_median([])


@given(st.lists(st.floats(0.5, 2.0), min_size=1, max_size=50))
def test_the_interval_holds_the_median_and_lies_within_the_values(values):
    median, low, high = bootstrap_median(values, resamples=200)

    assert min(values) <= low <= high <= max(values)
    assert low <= median <= high
