"""One reading of one GPU's counters: calls that are due, fields, and MIG instances."""

from __future__ import annotations

import time
from typing import Any

from gnomon.enums import ClockSource
from gnomon.sources._availability import Availability
from gnomon.sources._nvml_errors import GpuLostError
from gnomon.sources._nvml_fields import FieldReader
from gnomon.sources._nvml_gpus import Gpu
from gnomon.sources._nvml_metrics import CALLS, FIELDS, Call, Field, checked

Row = dict[str, object]


def raw_ns() -> int:
    """Return the raw monotonic clock, which NTP does not slew."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


class CounterReader:
    """Reads rows of ``gpu_counters`` for one GPU; remembers when it read what."""

    def __init__(
        self, gpu: Gpu, availability: Availability, period_ns: int, link_fields: tuple[Field, ...]
    ) -> None:
        self.gpu = gpu
        self._availability = availability
        self._period_ns = period_ns
        self._fields = FieldReader((*FIELDS, *link_fields), availability, period_ns)
        self._called_ns: dict[tuple[str, ...], int] = {}
        self._read_at_ns: int | None = None
        self._answered_before = False

    def baseline(self, nvml: Any) -> None:
        """Read everything once for its counters and its refusals; the next row starts here."""
        self.rows(nvml)
        self._called_ns.clear()

    def rows(self, nvml: Any) -> list[Row]:
        """Return one row for the GPU, and one for each MIG instance.

        Raises GpuLostError, also where every single call fails; DriverGoneError.
        """
        cpu_ns = time.thread_time_ns()
        ts_ns, now_ns = time.time_ns(), raw_ns()
        interval_ns = now_ns - self._read_at_ns if self._read_at_ns is not None else 0
        values: Row = dict(self._fields.read(nvml, self.gpu, now_ns))
        self._read_at_ns = now_ns
        for call in CALLS:
            if self._due(call, now_ns):
                values |= self._ask(nvml, call, self.gpu.handle, "")
        self._check_alive(values)
        if "energy_joules" in values:
            covered_s = self._fields.covered_ns["energy_joules"] / 1e9
            values["power_watts"] = values["energy_joules"] / covered_s  # type: ignore[operator]
        if "sm_clock_mhz" in values:
            values["sm_clock_source"] = str(ClockSource.NVML)
        head: Row = {
            "ts_ns": ts_ns,
            "duration_ns": interval_ns,
            "gpu_uuid": self.gpu.uuid,
            "source": "nvml",
        }
        migs = [
            head | {"mig_uuid": m.uuid} | self._mig_values(nvml, m) for m in self.gpu.mig_instances
        ]
        head["reading_cost_ns"] = time.thread_time_ns() - cpu_ns
        return [head | values, *migs]

    def _mig_values(self, nvml: Any, mig: Any) -> Row:
        values: Row = {}
        for call in CALLS:
            if call.on_mig:
                values |= self._ask(nvml, call, mig.handle, f" of {mig.uuid}")
        return values

    def _due(self, call: Call, now_ns: int) -> bool:
        last_ns = self._called_ns.get(call.columns)
        # Half a period early rather than a whole one late: readings jitter around their period.
        due = last_ns is None or now_ns - last_ns >= call.period_ns - self._period_ns // 2
        if due:
            self._called_ns[call.columns] = now_ns
        return due

    def _ask(self, nvml: Any, call: Call, handle: Any, whose: str) -> Row:
        metrics = tuple(f"{column}{whose}" for column in call.columns)
        answer = self._availability.ask(
            self.gpu.uuid, call.function, metrics, lambda: call.read(nvml, handle)
        )
        if answer is None:
            return {}
        pairs = zip(call.columns, answer, strict=True)
        good = {column: checked(column, value) for column, value in pairs}
        return {column: value for column, value in good.items() if value is not None}

    def _check_alive(self, values: Row) -> None:
        if values:
            self._answered_before = True
        elif self._answered_before:
            raise GpuLostError("every NVML call failed")
