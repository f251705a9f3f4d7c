"""A fit finds the constants again from which points were made."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.hardware.calibration.fitting import constants, fastest_kernels, fit_line
from gnomon.hardware.calibration.points import Kind, Point, Task
from tests.hardware.calibration.synthetic import Gpu, points

SIZES = [1e6, 8e6, 33e6, 117e6, 470e6, 1e9]
RATES = st.floats(1e10, 1e13)
FLOORS = st.floats(0, 2e-5)


@given(floor_s=FLOORS, rate=RATES)
def test_a_line_is_recovered_exactly(floor_s, rate):
    line = fit_line([(size, floor_s + size / rate) for size in SIZES])

    assert line.bytes_per_s == pytest.approx(rate, rel=1e-6)
    assert line.t0_s == pytest.approx(floor_s, rel=1e-3, abs=1e-9)
    assert line.residual_pct < 1e-4


@given(
    floor_s=st.floats(1e-6, 2e-5),
    rate=st.floats(1e12, 8e12),
    seed=st.integers(0, 2**32),
)
def test_noise_of_two_percent_moves_the_slope_by_less_than_five(floor_s, rate, seed):
    noise = random.Random(seed)
    line = fit_line(
        [(s, (floor_s + s / rate) * noise.uniform(0.98, 1.02)) for s in SIZES for _ in range(4)]
    )

    assert line.bytes_per_s == pytest.approx(rate, rel=0.05)
    assert line.residual_pct < 2.5


@given(st.lists(st.tuples(st.floats(1, 1e12), st.floats(1e-7, 10)), max_size=8))
def test_a_fitted_line_always_makes_sense(pairs):
    line = fit_line(pairs)

    assert line is None or (line.t0_s >= 0 and line.bytes_per_s > 0 and line.residual_pct >= 0)


@pytest.mark.parametrize(
    "pairs", [[], [(1e6, 1e-6)], [(1e6, 1e-6), (1e6, 2e-6)]], ids=["none", "one", "one size"]
)
def test_a_line_needs_two_sizes(pairs):
    assert fit_line(pairs) is None


def test_a_floor_below_zero_is_held_at_zero():
    line = fit_line([(1e6, 0.5e-6), (2e6, 2e-6), (3e6, 3e-6)])

    assert line.t0_s == 0.0


def test_the_constants_of_a_known_gpu_come_back():
    gpu = Gpu()
    found = constants(points(gpu))

    assert found["flops"]["bf16"]["burst"] == pytest.approx(gpu.flops)
    assert found["flops"]["fp8"]["sustained"] == pytest.approx(gpu.flops / gpu.slowdown)
    assert found["attention_flops"] == pytest.approx(0.7 * gpu.flops / gpu.slowdown)
    assert found["memory_bytes_per_s"] == pytest.approx(gpu.bytes_per_s)
    assert found["decode_attention_bytes_per_s"] == pytest.approx(gpu.bytes_per_s)
    assert found["link_bytes_per_s"] == pytest.approx(gpu.link_bytes_per_s)
    for name in ("launch_s", "product_launch_s", "attention_launch_s", "collective_s"):
        assert found[name] == pytest.approx(getattr(gpu, name), rel=1e-3)
    assert found["pcie"]["h2d_bytes_per_s"] == pytest.approx(gpu.bytes_per_s)


def test_one_percent_of_noise_stays_within_two_percent_of_the_roofs():
    gpu = Gpu()
    noise = random.Random(7)
    found = constants(points(gpu, lambda _: noise.uniform(0.99, 1.01)))

    assert found["flops"]["bf16"]["sustained"] == pytest.approx(gpu.flops / gpu.slowdown, rel=0.02)
    assert found["memory_bytes_per_s"] == pytest.approx(gpu.bytes_per_s, rel=0.02)


def test_what_was_not_measured_is_left_out():
    found = constants([Point(Task(Kind.LAUNCH), 2e-6)])

    assert found == {"launch_s": 2e-6, "pcie": {}, "fits": {}}


def test_a_dtype_without_a_sustained_point_has_no_sustained_roof():
    found = constants([Point(Task(Kind.GEMM, (8192, 8192, 8192), "int8"), 1e-3)])

    assert found["flops"]["int8"] == {"burst": 2 * 8192**3 / 1e-3}


def test_the_fastest_kernel_of_the_largest_shape_is_chosen():
    def prefill(length, kernel, seconds):
        return Point(Task(Kind.PREFILL, (1, 8, 8, length, 128), "bf16", kernel), seconds)

    slow_when_long = [prefill(512, "flash", 1e-4), prefill(8192, "flash", 3e-2)]
    fast_when_long = [prefill(512, "cudnn", 2e-4), prefill(8192, "cudnn", 2e-2)]
    found = constants([*slow_when_long, *fast_when_long])

    assert fastest_kernels([*slow_when_long, *fast_when_long]) == {Kind.PREFILL: "cudnn"}
    assert found["attention_flops"] == pytest.approx(fast_when_long[1].flops_per_s)
