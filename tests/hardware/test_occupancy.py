"""Occupancy against NVIDIA's own calculator, published cases and an SM that is filled by hand."""

import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.enums import OccupancyLimiter
from gnomon.hardware import load
from gnomon.hardware.occupancy import Launches, occupancy, sm_limits
from tests.standins.cupti import cuda_includes

CALCULATOR = Path(__file__).parent / "occupancy_calculator.cpp"
HOPPER = sm_limits()["9.0"]


def launches(*shapes):
    """Shapes of (threads of a block, blocks, registers, shared bytes)."""
    return Launches(*(np.array(column, dtype=np.int64) for column in zip(*shapes, strict=True)))


def one(threads, blocks, registers, shared, limits=HOPPER, sm_count=132):
    found = occupancy(limits, sm_count, launches((threads, blocks, registers, shared)))
    return (
        found.occupancy_pct[0],
        int(found.blocks_per_sm[0]),
        found.limiters[0],
        found.waves[0],
        found.tail_pct[0],
    )


@pytest.fixture(scope="module")
def calculator(tmp_path_factory):
    """NVIDIA's calculator as a program, of the newest CUDA here."""
    includes = cuda_includes()
    if shutil.which("g++") is None:
        pytest.skip("NVIDIA's calculator needs g++")
    flags = [flag for pair in zip(includes[-2::-2], includes[::-2], strict=True) for flag in pair]
    program = tmp_path_factory.mktemp("calculator") / "calculator"
    subprocess.run(["g++", "-O0", *flags, CALCULATOR, "-o", program], check=True)
    return program


@pytest.mark.parametrize("capability", sm_limits())
def test_blocks_are_those_of_nvidias_calculator(calculator, capability):
    limits, some = sm_limits()[capability], random.Random(capability)
    shapes = [
        (
            some.randrange(1, 1025),
            1_000_000,
            some.randrange(256),
            some.choice([0, some.randrange(4096), some.randrange(limits.shared_bytes_per_block)]),
        )
        for _ in range(3000)
    ]
    of_device = (
        f"{capability.replace('.', ' ')} {limits.warps} {limits.shared_bytes} "
        f"{limits.shared_bytes_per_block} {limits.shared_reserved_bytes}"
    )
    asked = "".join(f"{of_device} {one[0]} {one[2]} {one[3]}\n" for one in shapes)
    answer = subprocess.run([calculator], input=asked, capture_output=True, text=True, check=True)
    told = [int(line) for line in answer.stdout.split()]
    if -1 in told:
        pytest.skip(f"this cuda_occupancy.h does not know compute capability {capability}")

    assert occupancy(limits, 132, launches(*shapes)).blocks_per_sm.tolist() == told


def filled(limits, threads, registers, shared):
    """Put blocks on an SM, one after another, until one finds no room."""
    warps = -(-threads // 32)
    parts = [limits.registers // limits.sub_partitions] * limits.sub_partitions
    of_warp = -(-registers * 32 // limits.register_unit) * limits.register_unit
    of_block = shared + limits.shared_reserved_bytes
    of_block = -(-of_block // limits.shared_unit_bytes) * limits.shared_unit_bytes
    left, blocks = limits.shared_bytes, 0
    while blocks < limits.blocks and (blocks + 1) * warps <= limits.warps and of_block <= left:
        for _ in range(warps):
            freest = max(range(len(parts)), key=parts.__getitem__)
            parts[freest] -= of_warp
        if min(parts) < 0:
            break
        left -= of_block
        blocks += 1
    return blocks


@given(
    st.sampled_from(sorted(sm_limits())),
    st.integers(1, 1024),
    st.integers(1, 64),
    st.integers(0, 60_000),
)
def test_an_sm_is_filled_until_a_block_finds_no_room(capability, threads, registers, shared):
    limits = sm_limits()[capability]
    found = occupancy(limits, 1, launches((threads, 1_000_000, registers, shared)))

    assert found.blocks_per_sm[0] == filled(limits, threads, registers, shared)


def test_warps_blocks_registers_and_memory_each_limit():
    limiter = OccupancyLimiter

    assert one(1024, 10**6, 32, 0)[:3] == (100.0, 2, limiter.WARPS)
    assert one(32, 10**6, 32, 0)[:3] == (50.0, 32, limiter.BLOCKS)
    # A GEMM of two warpgroups and a producer: 168 registers and 227 KiB, one block an SM.
    assert one(384, 132, 168, 0)[:3] == (18.75, 1, limiter.REGISTERS)
    assert one(384, 132, 32, 227 << 10)[:3] == (18.75, 1, limiter.SHARED_MEMORY)


def test_a_grid_that_leaves_room_is_what_limits():
    # Eight blocks fit on an SM, and there are two for each.
    assert one(256, 264, 32, 0)[1:3] == (8, OccupancyLimiter.GRID)


@pytest.mark.parametrize(
    ("blocks", "waves", "tail_pct"),
    [(132, 1.0, 0.0), (133, 133 / 132, 100 * 131 / 132), (264, 2.0, 0.0), (66, 0.5, 50.0)],
)
def test_waves_and_the_empty_part_of_the_last_one(blocks, waves, tail_pct):
    assert one(1024, blocks, 64, 0)[3:] == pytest.approx((waves, tail_pct))


def test_what_no_sm_can_hold_has_no_occupancy():
    pct, blocks, limiter, waves, tail = one(128, 10, 32, 228 << 10)

    assert (blocks, limiter) == (0, None)
    assert np.isnan([pct, waves, tail]).all()


def test_every_gpu_of_the_table_has_limits():
    assert {spec.compute_capability for spec in load().values()} <= set(sm_limits())
