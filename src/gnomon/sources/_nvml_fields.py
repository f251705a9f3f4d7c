"""Field values in one call per reading, and counters turned into growth over the interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gnomon.sources import _nvml_errors as errors
from gnomon.sources._availability import Availability
from gnomon.sources._nvml_gpus import Gpu
from gnomon.sources._nvml_metrics import LINK_FIELDS, Field, Number, checked, is_blank
from gnomon.sources.base import Missing

# Members of nvmlValue_t by nvmlValueType_t.
_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
# A reading can be half a period late; a narrow counter must not wrap twice by then.
LATEST_READING = 1.5

# Bytes per second and lane and direction by PCIe generation: PCI Express Base Specification,
# transfer rate times line coding (8b/10b up to 2.0, 128b/130b up to 5.0, FLIT in 6.0).
PCIE_LANE_BYTES_PER_S = {1: 250e6, 2: 500e6, 3: 985e6, 4: 1969e6, 5: 3938e6, 6: 7563e6}


@dataclass(slots=True)
class _Baseline:
    raw: int
    at_ns: int


class FieldReader:
    """Reads ``fields`` of one GPU; remembers its counters."""

    def __init__(
        self, fields: tuple[Field, ...], availability: Availability, period_ns: int
    ) -> None:
        """``period_ns``: how often ``read`` is called."""
        self._fields = fields
        self._period_ns = period_ns
        self._asked_ns: dict[str, int] = {}
        self._asked_before_ns: dict[str, int | None] = {}
        self.covered_ns: dict[str, int] = {}  # column -> the time its last growth took
        self._availability = availability
        self._baselines: dict[str, _Baseline] = {}
        self._refused_fallbacks: set[str] = set()

    def read(self, nvml: Any, gpu: Gpu, now_ns: int) -> dict[str, Number]:
        """Return column -> value of the fields that are due; counters since their last reading.

        ``now_ns`` is on any monotonic clock. Raises GpuLostError, DriverGoneError.
        """
        row: dict[str, Number] = {}
        due = tuple(field for field in self._fields if self._is_due(field, now_ns))
        for field, raw in self._raw_values(nvml, gpu, due):
            value = self._value(field, raw, now_ns)
            good = None if value is None else checked(field.column, value)
            if good is not None:
                row[field.column] = good
        return row

    def _is_due(self, field: Field, now_ns: int) -> bool:
        last_ns = self._asked_ns.get(field.column)
        due = last_ns is None or now_ns - last_ns >= field.period_ns - self._period_ns // 2
        if due:
            self._asked_before_ns[field.column] = last_ns
            self._asked_ns[field.column] = now_ns
        return due

    def _raw_values(
        self, nvml: Any, gpu: Gpu, due: tuple[Field, ...]
    ) -> list[tuple[Field, Number]]:
        asked = [f for f in due if not self._refused(gpu, f)]
        found = self._asked_by_fallback(nvml, gpu, due)
        if not asked:
            return found
        columns = tuple(field.column for field in asked)
        values = self._availability.ask(
            gpu.uuid,
            "nvmlDeviceGetFieldValues",
            columns,
            lambda: nvml.nvmlDeviceGetFieldValues(
                gpu.handle, [(f.field_id, f.scope) for f in asked]
            ),
        )
        for field, value in zip(asked, values or (), strict=False):
            if value.nvmlReturn == 0:
                self._availability.answered(gpu.uuid, (field.column,))
                found.append((field, getattr(value.value, _MEMBERS[value.valueType])))
            else:
                name = f"field {field.field_id}"
                self._availability.failed(gpu.uuid, name, (field.column,), value.nvmlReturn)
        return found

    def _refused(self, gpu: Gpu, field: Field) -> bool:
        return self._availability.refused(gpu.uuid, field.column)

    def _asked_by_fallback(
        self, nvml: Any, gpu: Gpu, due: tuple[Field, ...]
    ) -> list[tuple[Field, Number]]:
        found: list[tuple[Field, Number]] = []
        for field in due:
            unusable = field.column in self._refused_fallbacks
            if field.fallback is None or unusable or not self._refused(gpu, field):
                continue
            try:
                found.append((field, field.fallback(nvml, gpu.handle)))
            except nvml.NVMLError as error:
                code = errors.code_of(error)
                name = f"the call in place of field {field.field_id}"
                self._availability.failed(gpu.uuid, name, (field.column,), code)
                if code in errors.PERMANENT:
                    self._refused_fallbacks.add(field.column)
            else:
                self._availability.answered(gpu.uuid, (field.column,))
        return found

    def _value(self, field: Field, raw: Number, now_ns: int) -> Number | None:
        if is_blank(raw, wide=field.kind != "instant"):
            return None
        if field.kind == "instant":
            return raw * field.scale
        last = self._baselines.get(field.column)
        self._baselines[field.column] = _Baseline(int(raw), now_ns)
        # Growth across a reading that failed belongs to no row.
        if last is None or last.at_ns != self._asked_before_ns[field.column]:
            return None
        self.covered_ns[field.column] = now_ns - last.at_ns
        growth = counter_growth(last.raw, int(raw), field.bits)
        if growth is None:
            return None
        if field.kind == "delta":
            return growth * field.scale
        return growth * field.scale / ((now_ns - last.at_ns) / 1e9)


def counter_growth(before: int, after: int, bits: int) -> int | None:
    """Return how far a counter of ``bits`` bits grew; None where a 64-bit one was reset.

    A narrow counter is taken to have wrapped at most once: the caller reads it often enough.
    """
    if after >= before:
        return after - before
    return None if bits >= 64 else after - before + (1 << bits)


def link_fields(
    nvml: Any, gpu: Gpu, period_ns: int, availability: Availability
) -> tuple[Field, ...]:
    """Return the link counters worth reading at this period.

    The PCIe counters have 32 bits: a link that could move 4 GiB within a period wraps them
    unseen. They are then left out, with the reason, rather than read wrong.
    """
    try:
        lanes = nvml.nvmlDeviceGetMaxPcieLinkWidth(gpu.handle)
        generation = nvml.nvmlDeviceGetMaxPcieLinkGeneration(gpu.handle)
    except nvml.NVMLError:
        lanes, generation = 16, max(PCIE_LANE_BYTES_PER_S)  # unknown: take the fastest
    fastest = PCIE_LANE_BYTES_PER_S.get(generation, max(PCIE_LANE_BYTES_PER_S.values())) * lanes
    wrap_s = 2**32 / fastest
    if period_ns / 1e9 < wrap_s / LATEST_READING:
        return LINK_FIELDS
    for field in LINK_FIELDS:
        if field.bits == 32:
            reason = (
                f"the driver's PCIe counter (field {field.field_id}) wraps at 4 GiB, which this "
                f"link can move in {wrap_s:.2f} s, and this GPU has no GPM"
            )
            remedy = f"read at least every {wrap_s / LATEST_READING:.2f} s"
            missing = Missing(field.column, reason, remedy, gpu.uuid)
            availability.note(missing, permanent=True)
    return tuple(field for field in LINK_FIELDS if field.bits != 32)
