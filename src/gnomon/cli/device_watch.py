"""What the sources see of one GPU while a program of ours puts it to work."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from statistics import fmean
from typing import Any, Self

from gnomon._errors import SourceError
from gnomon.enums import ClockSource
from gnomon.hardware.calibration.idleness import occupied_by
from gnomon.hardware.calibration.points import CalibrationError, Conditions
from gnomon.sources.base import Source
from gnomon.sources.pm import PmSource

# The driver averages utilisation over up to a second: two readings, so far apart, are new ones.
IDLE_LOOK_S = 1.1

Row = Mapping[str, Any]


class DeviceWatch:
    """Reads NVML when told to, and the true clock by PM sampling where the driver lets us.

    Enter it to open the sources. Raises SourceError where NVML cannot be read at all; without PM
    sampling ``true_clock_missing`` says why.
    """

    def __init__(self, nvml: Source, pm: PmSource) -> None:
        self.gpu_uuid = ""
        self.true_clock_missing = ""
        self._nvml = nvml
        self._pm: PmSource | None = pm
        self._rows: list[Row] = []

    def __enter__(self) -> Self:
        self._nvml.open()
        return self

    def __exit__(self, *_: object) -> None:
        if self._pm is not None:
            self._pm.close()
        self._nvml.close()

    def gpus(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the facts of every GPU by UUID."""
        return self._nvml.describe().gpus

    def driver(self) -> str:
        """Return the driver's version."""
        return str(self._nvml.describe().host.get("driver_version", "unknown"))

    def occupied(self) -> dict[str, list[str]]:
        """Return why each GPU is not idle, by UUID; takes a second. Raises SourceError."""
        counters, processes = _tables(self._nvml)
        time.sleep(IDLE_LOOK_S)
        later, _ = _tables(self._nvml)
        return {uuid: occupied_by(uuid, [*counters, *later], processes) for uuid in self.gpus()}

    def watch(self, gpu_uuid: str) -> None:
        """From now on look at this GPU; starts PM sampling, and pauses it."""
        self.gpu_uuid = gpu_uuid
        if self._pm is None:
            return
        try:
            self._pm.open()
            self._pm.wait_for_gpus()
        except SourceError as error:
            self._lose_pm(error.reason)
            return
        if gpu_uuid in self._pm.sampled_gpus():
            self._pm.pause()
            return
        missing = self._pm.describe().missing
        self._lose_pm(missing[0].reason if missing else "this GPU is not sampled")

    def note(self) -> None:
        try:
            counters, _ = _tables(self._nvml)
        except SourceError:
            return  # one reading less; a driver that is gone will fail the point itself
        self._rows += [row for row in counters if row["gpu_uuid"] == self.gpu_uuid]

    @contextmanager
    def true_clock(self) -> Iterator[None]:
        if self._pm is None:
            yield
            return
        self._pm.resume()
        try:
            yield
        finally:
            self._pm.pause()

    def conditions(self, from_ns: int, to_ns: int) -> Conditions:
        """Return clock and power between two Unix ns; forgets what lies before their end."""
        self._read_pm()
        rows, self._rows = self._rows, []
        return conditions(rows, from_ns, to_ns)

    def _read_pm(self) -> None:
        if self._pm is None:
            return
        try:
            batches = self._pm.read()
        except SourceError as error:
            self._lose_pm(error.reason)
            return
        for batch in batches:
            if batch.table == "gpu_counters":
                self._rows += [row for row in batch.rows if row["gpu_uuid"] == self.gpu_uuid]

    def _lose_pm(self, reason: str) -> None:
        if self._pm is not None:
            self._pm.close()
            self._pm = None
        self.true_clock_missing = reason


def _tables(source: Source) -> tuple[list[Row], list[Row]]:
    """Read a source; return its rows of gpu_counters and gpu_processes."""
    rows: dict[str, list[Row]] = {}
    for batch in source.read():
        rows.setdefault(batch.table, []).extend(batch.rows)
    return rows.get("gpu_counters", []), rows.get("gpu_processes", [])


def conditions(rows: Iterable[Row], from_ns: int, to_ns: int) -> Conditions:
    """Return clock and power between two Unix ns: the true clock where it was sampled, or NVML's.

    NVML's clock is of the end of its row; PM's clock, and power (energy over time), are means of
    the whole row, so that a burst, which is shorter than a row, has none.
    """
    clocks: dict[str, list[float]] = {}
    powers: list[float] = []
    for row in rows:
        if not from_ns <= row["ts_ns"] <= to_ns:
            continue
        is_inside = row["ts_ns"] - (row.get("duration_ns") or 0) >= from_ns
        source, mhz, watts = (
            row.get(key) for key in ("sm_clock_source", "sm_clock_mhz", "power_watts")
        )
        if mhz is not None and (is_inside or source == ClockSource.NVML):
            clocks.setdefault(str(source), []).append(mhz)
        if watts is not None and is_inside:
            powers.append(watts)
    best = next((one for one in (ClockSource.CUPTI, ClockSource.NVML) if one in clocks), None)
    return Conditions(
        sm_clock_mhz=fmean(clocks[best]) if best else None,
        sm_clock_source=str(best) if best else None,
        power_watts=fmean(powers) if powers else None,
    )


def choose(
    gpus: Mapping[str, Mapping[str, Any]],
    occupied: Mapping[str, list[str]],
    wanted: str | None,
    *,
    force: bool,
) -> str:
    """Return the UUID of the GPU to measure: the one named, or else the first idle one.

    Raises CalibrationError where there is no such GPU, where it is a MIG one, or where it is not
    idle and ``force`` is not given.
    """
    by_index = {str(facts.get("index")): uuid for uuid, facts in gpus.items()}
    if wanted is not None:
        uuid = by_index.get(wanted, wanted)
        if uuid not in gpus:
            known = ", ".join(f"{index} ({uuid})" for index, uuid in by_index.items())
            raise CalibrationError(f"--gpu {wanted}: no such GPU; there are {known}")
        candidates = [uuid]
    else:
        candidates = list(gpus)
    whole = [uuid for uuid in candidates if not gpus[uuid].get("mig_mode")]
    if not whole:
        raise CalibrationError(
            f"{', '.join(candidates)}: in MIG mode, and only whole GPUs are calibrated"
        )
    free = [uuid for uuid in whole if not occupied.get(uuid)]
    if free:
        return free[0]
    if force:
        return whole[0]
    reasons = "; ".join(
        f"GPU {gpus[uuid].get('index')} ({uuid}): {', '.join(occupied[uuid])}" for uuid in whole
    )
    raise CalibrationError(
        f"no GPU is idle, and a busy one would be measured too slow: {reasons}. "
        "Try again when it is, or give --force"
    )
