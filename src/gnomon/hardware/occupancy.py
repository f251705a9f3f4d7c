"""How many warps of a kernel an SM can hold, by the rules of NVIDIA's occupancy calculator.

Limits of an SM are in ``sm_limits.csv``, a row a compute capability, with their sources. Blocks of
a kernel fill an SM until the first of its warps, block slots, registers or shared memory is used
up (CUDA C++ Programming Guide, "Multiprocessor Level"; ``cuda_occupancy.h``):

- Registers are given out a warp at a time, in units, and by each of the SM's parts for itself.
- Shared memory is given out a block at a time, in units, with what CUDA reserves in each block.

It is an upper bound: an SM may split its memory in favour of the L1 cache, named barriers may run
out, and blocks of a cluster must find room together.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from gnomon.enums import OccupancyLimiter

THREADS_PER_WARP = 32

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Of limits that hold as many blocks, the first is named: nothing is won beyond all warps.
_ORDER = (
    OccupancyLimiter.WARPS,
    OccupancyLimiter.BLOCKS,
    OccupancyLimiter.REGISTERS,
    OccupancyLimiter.SHARED_MEMORY,
)
_UNLIMITED = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class SmLimits:
    """What one SM of a compute capability can hold at a time.

    ``registers`` are 32 bits wide and lie in ``sub_partitions`` equal parts.
    ``shared_reserved_bytes`` is what CUDA takes in each block for itself.
    """

    compute_capability: str
    warps: int
    blocks: int
    registers: int
    register_unit: int
    sub_partitions: int
    shared_bytes: int
    shared_bytes_per_block: int
    shared_unit_bytes: int
    shared_reserved_bytes: int
    source: str


@dataclass(frozen=True, slots=True, eq=False)
class Launches:
    """n shapes of launches; every array has the shape (n,).

    ``blocks`` and ``threads_per_block`` are products of the grid's and the block's dimensions.
    ``shared_bytes`` is static and dynamic shared memory of a block together.
    """

    threads_per_block: Ints
    blocks: Ints
    registers_per_thread: Ints
    shared_bytes: Ints

    def __len__(self) -> int:
        return len(self.blocks)


@dataclass(frozen=True, slots=True, eq=False)
class Occupancy:
    """What n shapes of launches make of a GPU; every array has the shape (n,).

    ``occupancy_pct`` is warps that fit on an SM over those that it can hold. ``waves`` is blocks
    over those that fit on the GPU, ``tail_pct`` the share of the last wave that stays empty.
    ``limiters`` says what allows no more warps: ``GRID`` where there are no more blocks. Of a
    shape that no SM can hold at all ``blocks_per_sm`` is 0, the others NaN, the limiter None.
    """

    occupancy_pct: Floats
    blocks_per_sm: Ints
    waves: Floats
    tail_pct: Floats
    limiters: tuple[OccupancyLimiter | None, ...]


@cache
def sm_limits() -> Mapping[str, SmLimits]:
    """Return the limits of an SM by compute capability ("9.0")."""
    text = resources.files("gnomon.hardware").joinpath("sm_limits.csv").read_text("utf-8")
    return MappingProxyType(
        {row["compute_capability"]: _limits(row) for row in csv.DictReader(text.splitlines())}
    )


def occupancy(limits: SmLimits, sm_count: int, launches: Launches) -> Occupancy:
    """Return what launches make of a GPU of ``sm_count`` SMs."""
    warps_per_block = -(-launches.threads_per_block // THREADS_PER_WARP)
    fitting = np.stack(
        [
            limits.warps // np.maximum(warps_per_block, 1),
            np.full(len(launches), limits.blocks),
            _by_registers(limits, warps_per_block, launches.registers_per_thread),
            _by_shared_memory(limits, launches.shared_bytes),
        ]
    )
    blocks_per_sm = fitting.min(axis=0)
    can_run = (blocks_per_sm > 0) & (launches.blocks > 0) & (warps_per_block > 0)
    blocks_per_sm = np.where(can_run, blocks_per_sm, 0)
    at_a_time = np.where(can_run, blocks_per_sm * sm_count, 1)
    waves = np.where(can_run, launches.blocks / at_a_time, np.nan)
    # Where an SM gets fewer blocks than it has room for, more room would change nothing.
    is_small = -(-launches.blocks // sm_count) < blocks_per_sm
    tightest = fitting.argmin(axis=0)
    return Occupancy(
        occupancy_pct=np.where(
            can_run, 100.0 * blocks_per_sm * warps_per_block / limits.warps, np.nan
        ),
        blocks_per_sm=blocks_per_sm,
        waves=waves,
        tail_pct=tail_pct(waves),
        limiters=tuple(
            (OccupancyLimiter.GRID if small else _ORDER[place]) if runs else None
            for place, small, runs in zip(
                tightest.tolist(), is_small.tolist(), can_run.tolist(), strict=True
            )
        ),
    )


def tail_pct(waves: Floats) -> Floats:
    """Return the share of the last wave that stays empty, 0 to 100; NaN where waves are."""
    return np.asarray(100.0 * (np.ceil(waves) - waves))


def _by_registers(limits: SmLimits, warps_per_block: Ints, registers_per_thread: Ints) -> Ints:
    """Return the blocks for which registers suffice."""
    unit = limits.register_unit
    of_warp = -(-registers_per_thread * THREADS_PER_WARP // unit) * unit
    part = limits.registers // limits.sub_partitions
    warps = part // np.maximum(of_warp, 1) * limits.sub_partitions
    blocks = warps // np.maximum(warps_per_block, 1)
    return np.where(of_warp > 0, blocks, _UNLIMITED)


def _by_shared_memory(limits: SmLimits, shared_bytes: Ints) -> Ints:
    """Return the blocks for which shared memory suffices."""
    unit = limits.shared_unit_bytes
    of_block = -(-(shared_bytes + limits.shared_reserved_bytes) // unit) * unit
    blocks = limits.shared_bytes // np.maximum(of_block, 1)
    blocks = np.where(shared_bytes > limits.shared_bytes_per_block, 0, blocks)
    return np.where(of_block > 0, blocks, _UNLIMITED)


def _limits(row: Mapping[str, str]) -> SmLimits:
    return SmLimits(
        compute_capability=row["compute_capability"],
        warps=int(row["warps"]),
        blocks=int(row["blocks"]),
        registers=int(row["registers"]),
        register_unit=int(row["register_unit"]),
        sub_partitions=int(row["sub_partitions"]),
        shared_bytes=int(row["shared_kib"]) << 10,
        shared_bytes_per_block=int(row["shared_kib_per_block"]) << 10,
        shared_unit_bytes=int(row["shared_unit_bytes"]),
        shared_reserved_bytes=int(row["shared_reserved_bytes"]),
        source=row["source"],
    )
