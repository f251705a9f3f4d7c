"""The ``nvml`` source: what the NVIDIA driver's management library tells of every GPU.

No root, no CUDA context. Rows of ``gpu_counters``, ``gpu_processes`` and ``events``. Which
metric comes from which call, at which period, is the table of ``_nvml_metrics``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon._errors import SourceError
from gnomon.configuration import Settings
from gnomon.proc.identity import PROC
from gnomon.sources import _nvml_events as events
from gnomon.sources import _nvml_session
from gnomon.sources._availability import Availability
from gnomon.sources._nvml_counters import CounterReader, raw_ns
from gnomon.sources._nvml_errors import DriverGoneError, GpuLostError
from gnomon.sources._nvml_facts import gpu_facts, host_facts
from gnomon.sources._nvml_fields import link_fields
from gnomon.sources._nvml_gpus import Gpu, list_gpus, list_mig, mig_enabled
from gnomon.sources._nvml_metrics import SECOND_NS
from gnomon.sources._nvml_processes import ProcessReader
from gnomon.sources.base import Batch, Capability, Description, Missing

DEFAULT_PERIOD_NS = SECOND_NS
PROCESS_PERIOD_NS = 5 * SECOND_NS
MIG_PERIOD_NS = 5 * SECOND_NS
# A lost GPU is asked by its UUID this often; NVML sees a reset or replugged one only after a
# restart of the library, which disturbs the other GPUs' readings for a moment.
RETURN_PERIOD_NS = 5 * SECOND_NS
RESTART_PERIOD_NS = 60 * SECOND_NS

Row = dict[str, object]


@dataclass(slots=True)
class _Watched:
    """One GPU and what reads it."""

    gpu: Gpu
    counters: CounterReader
    processes: ProcessReader
    changes: events.ChangeWatcher
    facts: dict[str, Any]
    asked_ns: int = 0


class NvmlSource:
    """Reads NVML every ``period_ns``; slow calls at their own period."""

    name = "nvml"

    def __init__(self, period_ns: int = DEFAULT_PERIOD_NS, proc: Path = PROC) -> None:
        self.period_ns = period_ns
        self._proc = proc
        self._session = _nvml_session.SESSION
        self._availability = Availability()
        self._watched: dict[str, _Watched] = {}
        self._unreachable: list[Missing] = []
        self._xids: events.XidWatcher | None = None
        self._generation = -1
        self._last_generation = -1
        self._host: dict[str, Any] = {}
        self._pending: list[Row] = []
        self._processes_ns: int | None = None
        self._lost_ns: int | None = None
        self._driver_was_gone = False

    def check(self) -> Capability:
        """Read every GPU once and say what answered. Never raises, leaves nothing open."""
        probe = NvmlSource(self.period_ns, self._proc)
        try:
            probe.open()
        except SourceError as error:
            return Capability(ready=False, reason=error.reason, remedy=error.remedy)
        try:
            return Capability(ready=True, missing=probe.describe().missing)
        finally:
            probe.close()

    def open(self) -> None:
        """Start NVML and take the baseline of all counters. Raises SourceError."""
        self._session.acquire()
        try:
            with self._session.reading() as generation:
                self._attach(generation)
        except DriverGoneError as error:
            # Another source holds a session of before the driver went: the next open may succeed.
            self._session.restart("driver")
            self._session.release()
            raise self._gone(error) from error
        except SourceError:
            self._session.release()
            raise

    def close(self) -> None:
        """Let go of NVML; what is known of the GPUs stays, to be compared when opened again."""
        if self._generation < 0:
            return
        if self._xids is not None:
            self._xids.close(_nvml_session.binding())
            self._xids = None
        self._generation = -1
        self._session.release()

    def describe(self) -> Description:
        """Return facts by GPU uuid, driver versions, and what is missing now."""
        lost = tuple(
            Missing("gpu", f"lost: {w.gpu.lost_reason}", "see `dmesg | grep -i xid`", uuid)
            for uuid, w in self._watched.items()
            if w.gpu.lost_reason
        )
        return Description(
            gpus={uuid: dict(watched.facts) for uuid, watched in self._watched.items()},
            host=dict(self._host),
            missing=(*self._unreachable, *lost, *self._availability.missing()),
        )

    def warnings(self) -> tuple[str, ...]:
        """Return what the user should know of the period chosen."""
        if self.period_ns >= SECOND_NS:
            return ()
        warning = (
            f"nvml: at a period of {self.period_ns / 1e6:g} ms, busy and memory-busy are still "
            "read once a second: the driver averages them over 1/6 to 1 s"
        )
        return (warning,)

    def read(self) -> Sequence[Batch]:
        """Return rows since the last call. Raises SourceError while the driver is gone."""
        try:
            return self._read_all()
        except DriverGoneError as error:
            self._driver_was_gone = True
            if not self._session.restart("driver"):
                raise self._gone(error) from error
        try:
            return self._read_all()
        except DriverGoneError as error:
            raise self._gone(error) from error

    def _gone(self, error: Exception) -> SourceError:
        self._driver_was_gone = True
        return SourceError(
            f"the NVIDIA driver stopped answering: {error}",
            "gnomon retries; see `nvidia-smi`, and restart gnomon after a driver update",
        )

    def _read_all(self) -> Sequence[Batch]:
        counters: list[Row] = []
        processes: list[Row] = []
        nvml = _nvml_session.binding()
        with self._session.reading() as generation:
            if generation != self._generation:
                self._attach(generation)
            now_ns = raw_ns()
            with_processes = self._processes_due(now_ns)
            for watched in self._watched.values():
                if watched.gpu.lost_reason:
                    self._ask_lost(nvml, watched, now_ns)
                    continue
                try:
                    counters += self._counters(nvml, watched, now_ns)
                    if with_processes is not None:
                        processes += self._processes(nvml, watched, with_processes)
                except GpuLostError as error:
                    watched.gpu.lost_reason = str(error)
                    self._pending.append(events.lost(watched.gpu))
            if self._xids is not None:
                self._pending += self._xids.events(nvml)
        self._restart_for_lost(now_ns)
        happened, self._pending = self._pending, []
        tables = (("gpu_counters", counters), ("gpu_processes", processes), ("events", happened))
        return [Batch(table, rows) for table, rows in tables if rows]

    def _gpus(self) -> list[Gpu]:
        return [watched.gpu for watched in self._watched.values()]

    def _counters(self, nvml: Any, watched: _Watched, now_ns: int) -> list[Row]:
        rows = watched.counters.rows(nvml)
        self._pending += watched.changes.ecc_errors(rows[0])
        changed = watched.changes.changes(nvml, now_ns)
        self._pending += changed
        if changed:
            watched.facts = gpu_facts(nvml, watched.gpu)
        mig_changed = any(row["kind"] == "mig_mode_changed" for row in changed)
        if mig_changed:
            # What is refused in one mode answers in the other.
            self._availability.forget(watched.gpu.uuid)
        due = watched.gpu.mig_mode and now_ns - watched.asked_ns >= MIG_PERIOD_NS
        if mig_changed or due:
            watched.asked_ns = now_ns
            watched.gpu.mig_mode = mig_enabled(nvml, watched.gpu.handle)
            watched.gpu.mig_instances = list_mig(nvml, watched.gpu.handle)
        return rows

    def _processes_due(self, now_ns: int) -> int | None:
        """Return the length of the interval since processes were listed, where they are due."""
        last_ns = self._processes_ns
        if last_ns is not None and now_ns - last_ns < PROCESS_PERIOD_NS - self.period_ns // 2:
            return None
        self._processes_ns = now_ns
        return 0 if last_ns is None else now_ns - last_ns

    def _processes(self, nvml: Any, watched: _Watched, interval_ns: int) -> list[Row]:
        rows = watched.processes.read(nvml, watched.gpu)
        ts_ns = time.time_ns()
        return [{"ts_ns": ts_ns, "duration_ns": interval_ns} | row for row in rows]

    def _attach(self, generation: int) -> None:
        """Take up all GPUs, and tell what became of those known before."""
        nvml = _nvml_session.binding()
        gpus, self._unreachable = list_gpus(nvml)
        before, old_version = self._watched, str(self._host.get("driver_version", ""))
        self._availability.forget()
        self._host = host_facts(nvml)
        self._watched = {gpu.uuid: self._watch(nvml, gpu) for gpu in gpus}
        self._xids = self._watch_xids(nvml, gpus)
        self._processes_ns = None
        restarted = generation != self._last_generation and self._session.restart_reason == "driver"
        self._generation = self._last_generation = generation
        if before and (self._driver_was_gone or restarted):
            new_version = str(self._host.get("driver_version", ""))
            self._pending.append(events.reloaded(old_version, new_version))
        self._driver_was_gone = False
        self._compare(before)

    def _compare(self, before: dict[str, _Watched]) -> None:
        was_lost = {uuid: watched.gpu.lost_reason for uuid, watched in before.items()}
        for uuid, watched in before.items():
            if uuid not in self._watched:
                watched.gpu.lost_reason = watched.gpu.lost_reason or "no longer listed"
                self._watched[uuid] = watched
        for gpu in self._gpus():
            reason_before = was_lost.get(gpu.uuid, "not listed before" if before else "")
            if gpu.lost_reason and not was_lost.get(gpu.uuid):
                self._pending.append(events.lost(gpu))
            elif reason_before and not gpu.lost_reason:
                self._pending.append(events.returned(gpu, reason_before))

    def _watch(self, nvml: Any, gpu: Gpu) -> _Watched:
        """Read a GPU once: its counters start here, and what it refuses is known from now on."""
        watched = _Watched(
            gpu,
            CounterReader(gpu, self._availability, self.period_ns, self._links(nvml, gpu)),
            ProcessReader(self._availability, self._proc),
            events.ChangeWatcher(gpu, self._availability),
            gpu_facts(nvml, gpu),
        )
        try:
            watched.counters.baseline(nvml)
            watched.changes.changes(nvml, raw_ns())
        except GpuLostError as error:
            gpu.lost_reason = str(error)
        return watched

    def _links(self, nvml: Any, gpu: Gpu) -> Any:
        # The gpm source counts PCIe and NVLink in 64 bits; two answers to one question help nobody.
        try:
            has_gpm = bool(nvml.nvmlGpmQueryDeviceSupport(gpu.handle).isSupportedDevice)
        except nvml.NVMLError:
            has_gpm = False
        return () if has_gpm else link_fields(nvml, gpu, self.period_ns, self._availability)

    def _watch_xids(self, nvml: Any, gpus: list[Gpu]) -> events.XidWatcher | None:
        unsupported = gpus
        watcher = None
        try:
            watcher = events.XidWatcher(nvml, gpus)
            unsupported = watcher.unsupported
        except nvml.NVMLError:
            pass
        for gpu in unsupported:
            reason = "the driver does not report Xid errors of this GPU to this process"
            self._availability.note(Missing("xid", reason, "", gpu.uuid), permanent=True)
        return watcher

    def _ask_lost(self, nvml: Any, watched: _Watched, now_ns: int) -> None:
        if now_ns - watched.asked_ns < RETURN_PERIOD_NS:
            return
        watched.asked_ns = now_ns
        gpu = watched.gpu
        try:
            gpu.handle = nvml.nvmlDeviceGetHandleByUUID(gpu.uuid)
            nvml.nvmlDeviceGetMemoryInfo(gpu.handle)
        except nvml.NVMLError:
            return
        reason, gpu.lost_reason = gpu.lost_reason, ""
        self._availability.forget(gpu.uuid)
        fresh = self._watch(nvml, gpu)
        watched.counters, watched.changes = fresh.counters, fresh.changes
        if not gpu.lost_reason:
            self._pending.append(events.returned(gpu, reason))

    def _restart_for_lost(self, now_ns: int) -> None:
        if not any(gpu.lost_reason for gpu in self._gpus()):
            self._lost_ns = None
        elif self._lost_ns is None:
            self._lost_ns = now_ns
        elif now_ns - self._lost_ns >= RESTART_PERIOD_NS:
            self._lost_ns = now_ns
            self._session.restart("gpu")


def create(settings: Settings) -> NvmlSource:
    """Make the source with the period of the settings; nothing is opened."""
    return NvmlSource(round(settings.record_period_s * 1e9))
