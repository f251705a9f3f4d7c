"""Axes as they are written, their product, and the climb with concurrency."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon._errors import ModelError
from gnomon.performance_model.sweep import Axis, axis, climb, doubling, size, sweep
from gnomon.performance_model.workload import Request, workload
from tests.performance_model.models import DENSE, H200, bf16


def asked(model=DENSE, **options):
    return workload(Request(**options), model, H200)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("batch=1..512", (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)),
        ("batch=3..20", (3, 6, 12, 20)),
        ("batch=8..32:8", (8, 16, 24, 32)),
        ("tp=1, 2,4,2", (1, 2, 4)),
        ("cached-prefix=0..4:2,9", (0, 2, 4, 9)),
        ("dtype=bf16,fp8", ("bf16", "fp8")),
    ],
)
def test_an_axis_takes_the_values_that_it_says(text, expected):
    assert axis(text) == Axis(text.partition("=")[0], expected)


@pytest.mark.parametrize(
    "text",
    ["layers=1", "batch", "batch=", "batch=x", "batch=0..4", "batch=4..1", "batch=1..4:0",
     "batch=-1", "batch=1..9999999:1", "dtype=fp7", "kv-dtype=int3"],
)  # fmt: skip
def test_a_wrong_axis_is_refused_by_what_was_written(text):
    with pytest.raises(ModelError, match="--sweep " + text.partition("=")[0]):
        axis(text)


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_doubling_keeps_both_ends_and_never_more_than_doubles(one, other):
    first, last = sorted((one, other))
    values = doubling(first, last, "a range")

    assert (values[0], values[-1]) == (first, last)
    assert all(low < high <= 2 * low for low, high in pairwise(values))


def test_a_sweep_is_the_product_of_its_axes_and_each_point_is_asked_alone():
    workload_ = asked(phase="serve")
    points = list(sweep(workload_, [axis("tp=1,2"), axis("batch=1..4"), axis("output=8,9")]))

    assert len(points) == 2 * 3 * 2
    for point in points:
        alone = workload_.changed(**point.values)
        assert point.ceiling == alone.ceiling()
        assert point.fits is alone.fits()


def test_a_combination_that_cannot_be_is_a_point_with_its_reason():
    one, three = sweep(asked(), [axis("tp=1,3")])

    assert one.error is None
    assert one.ceiling is not None
    assert three.ceiling is None
    assert "num_attention_heads" in three.error


def test_too_many_points_and_an_axis_given_twice_are_refused_before_the_first():
    many = [Axis("batch", tuple(range(1, 1001))), Axis("prompt", tuple(range(1, 1001)))]

    with pytest.raises(ModelError, match="1,000,000 points"):
        size(many)
    with pytest.raises(ModelError, match="batch is given twice"):
        sweep(asked(), [axis("batch=1"), axis("batch=2")])


def test_the_climb_goes_from_memory_to_compute_and_ends_where_the_cache_is_full():
    workload_ = asked(bf16("Llama-3.1-8B"), phase="serve", prompt=512, output=128)
    steps = list(climb(workload_, doubling(2, 8192, "")))
    most = workload_.capacity().max_batch

    assert steps[0].ceiling.bound_by == "memory"
    assert steps[-1].ceiling.bound_by == "compute"
    assert [one.running for one in steps] == [min(one.clients, most) for one in steps]
    assert steps[-1].running == most < 8192
    tokens = [one.ceiling.tokens_per_s for one in steps]
    assert tokens == sorted(tokens)


def test_training_has_no_clients():
    with pytest.raises(ModelError, match="--phase train has none"):
        list(climb(asked(phase="train"), (1, 2)))
