"""A GPU's numbers over time, in equal bins: what charts draw."""

from __future__ import annotations

import numpy as np

from gnomon.analysis.intervals import Floats, Intervals, resample
from gnomon.analysis.sol import sol_rows
from gnomon.analysis.tracks import Track, load_tracks
from gnomon.hardware import profile
from gnomon.recording.base import Measurements

PLAIN = ("busy_pct", "engine_active_pct", "power_watts", "temperature_celsius")
DERIVED = ("compute_sol_pct", "memory_sol_pct", "sm_clock_mhz", "idle_pct")


def series(
    measurements: Measurements,
    gpu_uuid: str,
    *,
    from_ns: int,
    to_ns: int,
    bins: int,
    mig_uuid: str | None = None,
) -> dict[str, list[float | None]]:
    """Return metric -> ``bins`` time-weighted means over [from_ns, to_ns]; None where no reading.

    Metrics: busy_pct, engine_active_pct, compute_sol_pct (of the pipe that wins over the whole
    range), memory_sol_pct, idle_pct, sm_clock_mhz, power_watts, temperature_celsius.
    """
    empty: list[float | None] = [None] * bins
    result = {name: list(empty) for name in (*PLAIN, *DERIVED)}
    edges = np.linspace(from_ns, to_ns, bins + 1).astype(np.int64)
    target = Intervals(edges[:-1], edges[1:])
    margin_ns = int(edges[1] - edges[0]) + 2_000_000_000
    for track in load_tracks(measurements, from_ns, to_ns + margin_ns, gpu_uuid=gpu_uuid):
        if track.mig_uuid != mig_uuid:
            continue
        for name in PLAIN:
            readings = track.readings(name)
            if readings is not None:
                result[name] = _binned(*readings, target)
        result.update(_derived(track, measurements, target))
    return result


def _derived(
    track: Track, measurements: Measurements, target: Intervals
) -> dict[str, list[float | None]]:
    hardware = profile(measurements.meta().gpus.get(track.gpu_uuid, {}), mig_uuid=track.mig_uuid)
    result = {}
    dram = track.source_of("dram_active_pct")
    if dram is not None:
        result["memory_sol_pct"] = _binned(dram.intervals, dram.columns["dram_active_pct"], target)
    rows = sol_rows(track, hardware)
    if rows is None or not rows.products:
        return result
    winner = max(rows.products, key=lambda pipe: float(np.nansum(rows.products[pipe])))
    result["compute_sol_pct"] = _binned(rows.intervals, rows.products[winner], target)
    result["sm_clock_mhz"] = _binned(rows.intervals, rows.clock_mhz, target)
    idle = 100.0 - rows.engine_active - rows.copying
    result["idle_pct"] = _binned(rows.intervals, idle, target)
    return result


def _binned(source: Intervals, values: Floats, target: Intervals) -> list[float | None]:
    mean, _ = resample(source, values, target)
    return [None if np.isnan(value) else float(value) for value in mean]
