"""What is known of kernels by shape: names, families, what a launch asks of an SM.

A shape is a name with a grid and a block. Registers, shared memory and the like are the same for
all its calls; where a recording does not have their occupancy, it is computed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, prod
from typing import Any

import numpy as np

from gnomon.analysis.kernel_names import Families, demangled, short_name
from gnomon.analysis.kernel_types import Dimensions, Shape
from gnomon.enums import KernelFamily, OccupancyLimiter
from gnomon.hardware.occupancy import Launches, occupancy, sm_limits, tail_pct
from gnomon.recording.base import Meta, Session

GRID, BLOCK = ("grid_x", "grid_y", "grid_z"), ("block_x", "block_y", "block_z")
DIMENSIONS = ", ".join((*GRID, *BLOCK))
SHAPE_SQL = f"hash(name_hash, {DIMENSIONS})"
# What one call of a shape tells of all of them.
ONE_SQL = f"""\
SELECT {SHAPE_SQL} AS code, any_value(gpu_uuid) AS gpu_uuid, any_value(mig_uuid) AS mig_uuid,
  coalesce(name_hash, 0) AS name_hash, {DIMENSIONS},
  any_value(registers_per_thread) AS registers,
  any_value(coalesce(coalesce(static_shared_bytes, 0) + dynamic_shared_bytes, shared_bytes))
    AS shared_bytes,
  any_value(local_bytes_per_thread) AS local_bytes,
  any_value(theoretical_occupancy_pct) AS occupancy_pct,
  any_value(occupancy_limiter) AS limiter, any_value(waves) AS waves,
  count(enqueued_ns) AS enqueued
FROM kernels WHERE {{where}} AND ts_ns IN ({{times}}) GROUP BY name_hash, {DIMENSIONS}"""
DELAYS_SQL = f"""\
SELECT {SHAPE_SQL} AS code, avg(ts_ns - duration_ns - enqueued_ns) AS delay_ns
FROM kernels WHERE {{where}} GROUP BY code"""
NAMES_SQL = """\
SELECT name_hash, any_value(mangled_name) AS mangled, any_value(name) AS name,
  any_value(family) AS family
FROM kernel_names GROUP BY name_hash"""
# What occupancy is computed from, beside grid and block.
_ASKED = ("registers", "shared_bytes")


@dataclass(frozen=True, slots=True)
class Name:
    """A kernel's name, demangled and short, and what the kernel is for."""

    full: str
    short: str
    family: KernelFamily


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of all calls of a shape."""

    shape: Shape
    name: Name
    delay_ns: float | None
    occupancy_pct: float | None
    limiter: OccupancyLimiter | None
    waves: float | None
    tail_pct: float | None
    local_bytes: int | None


def known_shapes(
    session: Session, where: str, times: str, meta: Meta, families: Families
) -> Mapping[int, Known]:
    """Return code -> what is known of a shape, by ``SHAPE_SQL``.

    ``times``: ends of at least one kernel of each shape, as they stand in SQL.
    """
    rows = session.rows(ONE_SQL.format(where=where, times=times))
    names = kernel_names(session, families)
    occupied = _occupied(rows, meta)
    delays = {}
    if any(row["enqueued"] for row in rows):
        found = session.rows(DELAYS_SQL.format(where=where))
        delays = {row["code"]: row["delay_ns"] for row in found}
    return {
        row["code"]: _known(row, names, occupied.get(row["code"]), delays.get(row["code"]))
        for row in rows
    }


def kernel_names(session: Session, families: Families) -> Mapping[int, Name]:
    """Return the names of kernels by their hash."""
    return {row["name_hash"]: _name(row, families) for row in session.rows(NAMES_SQL)}


def _name(row: Mapping[str, Any], families: Families) -> Name:
    full = row["name"] or demangled(row["mangled"] or "")
    family = families.of(full)
    if family is KernelFamily.OTHER and row["family"] in list(KernelFamily):
        # Whoever recorded it may have had a file of their own.
        family = KernelFamily(row["family"])
    return Name(full, short_name(full), family)


def _unnamed(name_hash: int) -> Name:
    name = f"kernel {name_hash & (1 << 64) - 1:016x}"
    return Name(name, name, KernelFamily.OTHER)


def _dimensions(row: Mapping[str, Any], columns: Sequence[str]) -> Dimensions | None:
    x, y, z = (row[name] for name in columns)
    return None if x is None or y is None or z is None else (x, y, z)


@dataclass(frozen=True, slots=True)
class _Occupied:
    pct: float
    limiter: OccupancyLimiter | None
    waves: float


def _known(
    row: Mapping[str, Any],
    names: Mapping[int, Name],
    computed: _Occupied | None,
    delay_ns: float | None,
) -> Known:
    shape = Shape(row["name_hash"], _dimensions(row, GRID), _dimensions(row, BLOCK))
    pct, waves, limiter = row["occupancy_pct"], row["waves"], row["limiter"]
    if pct is None and computed is not None:
        pct, limiter = computed.pct, computed.limiter
    if waves is None and computed is not None:
        waves = computed.waves
    return Known(
        shape=shape,
        name=names.get(shape.name_hash) or _unnamed(shape.name_hash),
        delay_ns=delay_ns,
        occupancy_pct=pct,
        limiter=OccupancyLimiter(limiter) if limiter in list(OccupancyLimiter) else None,
        waves=waves,
        tail_pct=None if waves is None else float(tail_pct(np.array(waves))),
        local_bytes=row["local_bytes"],
    )


def _occupied(rows: Sequence[Mapping[str, Any]], meta: Meta) -> Mapping[int, _Occupied]:
    """Return the occupancy of the shapes of which enough is known, by code."""
    whole = [
        row
        for row in rows
        if _dimensions(row, GRID) and _dimensions(row, BLOCK) and None not in map(row.get, _ASKED)
    ]
    found: dict[int, _Occupied] = {}
    for gpu in {(row["gpu_uuid"], row["mig_uuid"]) for row in whole}:
        facts = meta.gpus.get(gpu[0], {})
        limits = sm_limits().get(str(facts.get("compute_capability")))
        sm_count = _sm_count(facts, gpu[1])
        if limits is None or sm_count is None:
            continue
        mine = [row for row in whole if (row["gpu_uuid"], row["mig_uuid"]) == gpu]
        of_gpu = occupancy(limits, sm_count, _launches(mine))
        for place, row in enumerate(mine):
            pct, waves = float(of_gpu.occupancy_pct[place]), float(of_gpu.waves[place])
            if not isnan(pct):
                found[row["code"]] = _Occupied(pct, of_gpu.limiters[place], waves)
    return found


def _sm_count(facts: Mapping[str, Any], mig_uuid: str | None) -> int | None:
    """Return the SMs that a kernel could use: of a MIG instance its own."""
    if mig_uuid is not None:
        facts = facts.get("mig_instances", {}).get(mig_uuid, {})
    count = facts.get("sm_count")
    return count if isinstance(count, int) and count > 0 else None


def _launches(rows: Sequence[Mapping[str, Any]]) -> Launches:
    def column(numbers: list[int]) -> Any:
        return np.array(numbers, dtype=np.int64)

    return Launches(
        threads_per_block=column([prod(row[name] for name in BLOCK) for row in rows]),
        blocks=column([prod(row[name] for name in GRID) for row in rows]),
        registers_per_thread=column([row["registers"] for row in rows]),
        shared_bytes=column([row["shared_bytes"] for row in rows]),
    )
