"""Rows of ``events``: what changed on a GPU, and the errors that the driver reports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from gnomon.enums import EventKind, Severity
from gnomon.sources._availability import Availability
from gnomon.sources._nvml_gpus import Gpu
from gnomon.sources._nvml_metrics import CLOCK_GRAPHICS, CLOCK_MEMORY, SECOND_NS

Row = dict[str, object]
WATCH_PERIOD_NS = 5 * SECOND_NS
EVENT_XID = 0x8  # nvmlEventTypeXidCriticalError
MOST_EVENTS_A_READING = 100

# NVIDIA, "XID Errors" (docs.nvidia.com/deploy/xid-errors): what the frequent ones mean.
XIDS: Mapping[int, tuple[str, Severity]] = {
    13: ("graphics engine exception, mostly an error of the application", Severity.WARNING),
    31: ("GPU memory page fault, mostly an error of the application", Severity.WARNING),
    43: ("GPU stopped processing, mostly an error of the application", Severity.WARNING),
    45: ("preemptive cleanup after an earlier error", Severity.WARNING),
    48: ("double-bit ECC error", Severity.CRITICAL),
    63: ("a memory row was remapped", Severity.WARNING),
    64: ("a memory row could not be remapped", Severity.CRITICAL),
    74: ("NVLink error", Severity.CRITICAL),
    79: ("the GPU has fallen off the bus", Severity.CRITICAL),
    92: ("many single-bit ECC errors", Severity.WARNING),
    94: ("contained ECC error: the application must be restarted", Severity.CRITICAL),
    95: ("uncontained ECC error: the GPU must be reset", Severity.CRITICAL),
    119: ("the GPU's system processor does not answer", Severity.CRITICAL),
}


@dataclass(frozen=True, slots=True)
class Watch:
    """A setting of a GPU: any change of its text becomes an event of ``kind``."""

    kind: EventKind
    what: str
    read: Callable[[Any, Any], str]


def _switch(value: int) -> str:
    return "on" if value else "off"


def _mode(pair: Any) -> str:
    current, pending = pair
    now = _switch(current)
    return now if current == pending else f"{now} ({_switch(pending)} after a reset)"


def _clocks(nvml: Any, handle: Any) -> str:
    graphics = nvml.nvmlDeviceGetApplicationsClock(handle, CLOCK_GRAPHICS)
    memory = nvml.nvmlDeviceGetApplicationsClock(handle, CLOCK_MEMORY)
    return f"graphics {graphics} MHz, memory {memory} MHz"


WATCHES: tuple[Watch, ...] = (
    Watch(
        EventKind.POWER_LIMIT_CHANGED,
        "power limit",
        lambda n, h: f"{n.nvmlDeviceGetEnforcedPowerLimit(h) / 1e3:g} W",
    ),
    Watch(
        EventKind.PERSISTENCE_CHANGED,
        "persistence mode",
        lambda n, h: _switch(n.nvmlDeviceGetPersistenceMode(h)),
    ),
    Watch(EventKind.CLOCKS_POLICY_CHANGED, "application clocks", _clocks),
    Watch(EventKind.ECC_MODE_CHANGED, "ECC mode", lambda n, h: _mode(n.nvmlDeviceGetEccMode(h))),
    Watch(EventKind.MIG_MODE_CHANGED, "MIG mode", lambda n, h: _mode(n.nvmlDeviceGetMigMode(h))),
)


class ChangeWatcher:
    """Compares one GPU's settings and error counts with those of the reading before."""

    def __init__(self, gpu: Gpu, availability: Availability) -> None:
        self._gpu = gpu
        self._availability = availability
        self._known: dict[str, str] = {}
        self._errors: dict[str, int] = {}
        self._watched_ns: int | None = None

    def changes(self, nvml: Any, now_ns: int) -> list[Row]:
        """Return an event for each setting that changed; read at its own period."""
        if self._watched_ns is not None and now_ns - self._watched_ns < WATCH_PERIOD_NS:
            return []
        self._watched_ns = now_ns
        events: list[Row] = []
        for watch in WATCHES:
            read = partial(watch.read, nvml, self._gpu.handle)
            new = self._availability.ask(self._gpu.uuid, watch.what, (watch.what,), read)
            if new is not None:
                events += self._compared(watch, new)
        return events

    def _compared(self, watch: Watch, new: str) -> list[Row]:
        old = self._known.get(watch.what)
        self._known[watch.what] = new
        if old is None or old == new:
            return []
        message = f"{gpu_words(self._gpu)}: {watch.what} changed from {old} to {new}"
        return [event(watch.kind, message, self._gpu.uuid, old=old, new=new)]

    def ecc_errors(self, row: Mapping[str, object]) -> list[Row]:
        """Return an event where an ECC count of this row of ``gpu_counters`` has grown."""
        events: list[Row] = []
        for column, words, severity in (
            ("ecc_corrected", "corrected", Severity.WARNING),
            ("ecc_uncorrected", "uncorrected", Severity.CRITICAL),
        ):
            new = row.get(column)
            if not isinstance(new, int):
                continue
            old = self._errors.get(column)
            self._errors[column] = new
            if old is not None and new > old:
                message = f"{gpu_words(self._gpu)}: {new - old} {words} ECC error(s)"
                kind = EventKind.ECC_ERROR
                events.append(
                    event(kind, message, self._gpu.uuid, severity, old=str(old), new=str(new))
                )
        return events


class XidWatcher:
    """The driver's event queue, asked without waiting."""

    def __init__(self, nvml: Any, gpus: list[Gpu]) -> None:
        """Register every GPU that supports Xid events. Raises pynvml.NVMLError if none can."""
        self._gpus = {gpu.uuid: gpu for gpu in gpus}
        self._set = nvml.nvmlEventSetCreate()
        self.unsupported: list[Gpu] = []
        for gpu in gpus:
            try:
                nvml.nvmlDeviceRegisterEvents(gpu.handle, EVENT_XID, self._set)
            except nvml.NVMLError:
                self.unsupported.append(gpu)

    def events(self, nvml: Any) -> Iterator[Row]:
        """Yield the Xids that came since the last call."""
        for _ in range(MOST_EVENTS_A_READING):
            try:
                data = nvml.nvmlEventSetWait(self._set, 0)
            except nvml.NVMLError:
                return  # TIMEOUT: nothing (more) came
            if data.eventType == EVENT_XID:
                yield self._row(nvml, data)

    def close(self, nvml: Any) -> None:
        try:
            nvml.nvmlEventSetFree(self._set)
        except nvml.NVMLError:
            return

    def _row(self, nvml: Any, data: Any) -> Row:
        try:
            uuid = nvml.nvmlDeviceGetUUID(data.device)
        except nvml.NVMLError:
            uuid = None  # it has fallen off the bus: its name is all we lose
        gpu = self._gpus.get(uuid)
        words, severity = XIDS.get(data.eventData, ("see NVIDIA's list", Severity.CRITICAL))
        where = gpu_words(gpu) if gpu else "a GPU"
        message = f"{where}: Xid {data.eventData} ({words})"
        return event(EventKind.XID, message, uuid, severity, new=str(data.eventData))


def lost(gpu: Gpu) -> Row:
    """Return the event of a GPU that no longer answers."""
    message = f"{gpu_words(gpu)} no longer answers ({gpu.lost_reason}); the other GPUs go on"
    return event(EventKind.GPU_LOST, message, gpu.uuid, Severity.CRITICAL, new=gpu.lost_reason)


def returned(gpu: Gpu, reason: str) -> Row:
    """Return the event of a GPU that answers again, or for the first time."""
    return event(
        EventKind.GPU_RETURNED, f"{gpu_words(gpu)} answers again", gpu.uuid, old=reason or None
    )


def reloaded(old_version: str, new_version: str) -> Row:
    """Return the event of a driver that was gone and is back."""
    message = f"the NVIDIA driver was reloaded (now {new_version}); counters start anew"
    return event(
        EventKind.DRIVER_RELOADED, message, None, Severity.WARNING, old=old_version, new=new_version
    )


def gpu_words(gpu: Gpu) -> str:
    return f"GPU {gpu.index} ({gpu.name})"


def event(
    kind: EventKind,
    message: str,
    gpu_uuid: str | None,
    severity: Severity = Severity.INFO,
    *,
    old: str | None = None,
    new: str | None = None,
) -> Row:
    """Return a row of ``events`` that happened now."""
    return {
        "ts_ns": time.time_ns(),
        "duration_ns": 0,
        "gpu_uuid": gpu_uuid,
        "kind": str(kind),
        "severity": str(severity),
        "source": "nvml",
        "message": message,
        "old_value": old,
        "new_value": new,
    }
