"""The ``gpm`` source: hardware counters of Hopper and newer through the driver, without root.

GPU performance monitoring counts over the whole interval in hardware, for every process on the
GPU and beside a profiler. Rows of ``gpu_counters``, one a GPU and one a GPU instance of MIG.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gnomon._errors import SourceError
from gnomon.configuration import Settings
from gnomon.enums import ClockSource
from gnomon.sources import _nvml_errors as errors
from gnomon.sources import _nvml_session
from gnomon.sources._availability import Availability
from gnomon.sources._gpm_sampler import CycleClock, Sampler
from gnomon.sources._nvml_counters import raw_ns
from gnomon.sources._nvml_facts import gpu_facts
from gnomon.sources._nvml_gpus import Gpu, list_gpus, list_mig
from gnomon.sources._nvml_metrics import CLOCK_MEMORY, CLOCK_SM, checked
from gnomon.sources.base import Batch, Capability, Description, Missing

DEFAULT_PERIOD_NS = 10**9
# nvml.h: two samples should lie at least 100 ms apart.
WINDOW_NS = 100_000_000
# Readings jitter around their period; one that comes a little early still counts.
SHORTEST_WINDOW_NS = 90_000_000
FIRST_GPM_DRIVER = 520
HOPPER = 9.0  # compute capability
MIG_PERIOD_NS = 5 * 10**9

Row = dict[str, object]
Take = Callable[[Any], Any]


@dataclass(slots=True)
class _Target:
    """A GPU, or a GPU instance of it, that is sampled."""

    gpu: Gpu
    mig_uuid: str | None
    sampler: Sampler
    cycles: CycleClock
    clocks_before: dict[str, float]


class GpmSource:
    """Publishes one row a GPU and period, never from windows shorter than 100 ms."""

    name = "gpm"

    def __init__(self, period_ns: int = DEFAULT_PERIOD_NS) -> None:
        self.period_ns = period_ns
        self._session = _nvml_session.SESSION
        self._availability = Availability()
        self._targets: list[_Target] = []
        self._missing: list[Missing] = []
        self._gpus: list[Gpu] = []
        self._facts: dict[str, dict[str, Any]] = {}
        self._generation = -1
        self._listed_ns = 0
        self._void = 0

    def check(self) -> Capability:
        """Evaluate one window of every GPU. Never raises, leaves nothing open; takes 0.1 s."""
        probe = GpmSource(self.period_ns)
        try:
            probe.open()
        except SourceError as error:
            return Capability(ready=False, reason=error.reason, remedy=error.remedy)
        try:
            time.sleep(WINDOW_NS / 1e9)
            rows, missing = probe.read(), probe.describe().missing
        except SourceError as error:
            return Capability(ready=False, reason=error.reason, remedy=error.remedy)
        finally:
            probe.close()
        if not rows:
            reason = missing[0].reason if missing else "no GPU gave GPM counters"
            return Capability(ready=False, reason=reason, remedy="see `nvidia-smi`")
        return Capability(ready=True, missing=missing)

    def open(self) -> None:
        """Start NVML and take the first sample of every GPU that has GPM. Raises SourceError."""
        self._session.acquire()
        try:
            with self._session.reading() as generation:
                self._attach(generation)
        except errors.DriverGoneError as error:
            self._session.restart("driver")
            self._session.release()
            raise driver_gone(error) from error
        except SourceError:
            self._close_targets()
            self._session.release()
            raise

    def close(self) -> None:
        """Free every sample buffer and let go of NVML."""
        if self._generation < 0:
            return
        self._generation = -1
        self._close_targets()
        self._session.release()

    def describe(self) -> Description:
        """Return the facts of the GPUs that have GPM, and what is missing."""
        noted = self._availability.missing()
        # Every driver so far lacks the cumulative cycles; sm_clock_source says so in every row.
        metrics = tuple(each for each in noted if each.metric != "sm_cycles_elapsed")
        return Description(gpus=dict(self._facts), missing=(*self._missing, *metrics))

    def warnings(self) -> tuple[str, ...]:
        """Return what the user should know of the period chosen."""
        if self.period_ns >= WINDOW_NS:
            return ()
        warning = (
            f"gpm: a period of {self.period_ns / 1e6:g} ms is below the counters' window; rows "
            "come every 100 ms"
        )
        return (warning,)

    def read(self) -> Sequence[Batch]:
        """Return a row for every target whose window has passed. Raises SourceError."""
        try:
            with self._session.reading() as generation:
                if generation != self._generation:
                    self._attach(generation)
                self._relist_mig()
                rows = [row for target in list(self._targets) for row in self._rows(target)]
                void, self._void = self._void, 0
        except errors.DriverGoneError as error:
            # Not freed: after its shutdown the library may have done so, and twice is a crash.
            self._targets = []
            if self._session.restart("driver"):
                return []  # the next reading takes new first samples
            raise driver_gone(error) from error
        batches = [Batch("gpu_counters", rows)] if rows else []
        return [*batches, Batch("losses", [_void_readings(void)])] if void else batches

    def _rows(self, target: _Target) -> Iterator[Row]:
        nvml = _nvml_session.binding()
        cpu_ns = time.thread_time_ns()
        started_ns = target.sampler.sampled_ns
        assert started_ns is not None  # the first sample was taken when the target was made
        if raw_ns() - started_ns < SHORTEST_WINDOW_NS:
            return
        try:
            now_ns = target.sampler.sample()
            ts_ns = time.time_ns()
            clocks = self._clocks(target.gpu)
            values = target.sampler.metrics()
        except nvml.NVMLError as error:
            self._drop(target, errors.code_of(error))
            return
        except errors.GpuLostError as error:
            self._lose(target, str(error))
            return
        row: Row = {
            "ts_ns": ts_ns,
            "duration_ns": now_ns - started_ns,
            "gpu_uuid": target.gpu.uuid,
            "mig_uuid": target.mig_uuid,
            "source": "gpm",
        }
        if is_void(values):
            self._void += 1
            return
        cycles = values.pop("sm_cycles_elapsed", None)
        row |= {
            column: good
            for column, value in values.items()
            if (good := checked(column, value)) is not None
        }
        row |= self._clock_columns(target, clocks, target.cycles.mhz(cycles, now_ns))
        row["reading_cost_ns"] = time.thread_time_ns() - cpu_ns
        yield row

    def _clock_columns(self, target: _Target, now: dict[str, float], true_mhz: float | None) -> Row:
        """Return clocks over the interval: true ones, else the mean of NVML's at both ends."""
        before, target.clocks_before = target.clocks_before, now
        row: Row = {
            column: (before[column] + now[column]) / 2 for column in now if column in before
        }
        if true_mhz is not None:
            row |= {"sm_clock_mhz": true_mhz, "sm_clock_source": str(ClockSource.GPM)}
        elif "sm_clock_mhz" in row:
            row["sm_clock_source"] = str(ClockSource.NVML)
        return row

    def _clocks(self, gpu: Gpu) -> dict[str, float]:
        nvml = _nvml_session.binding()
        clocks: dict[str, float] = {}
        for column, kind in (("sm_clock_mhz", CLOCK_SM), ("memory_clock_mhz", CLOCK_MEMORY)):
            read = partial(nvml.nvmlDeviceGetClockInfo, gpu.handle, kind)
            value = self._availability.ask(gpu.uuid, "nvmlDeviceGetClockInfo", (column,), read)
            good = None if value is None else checked(column, value)
            if good is not None:
                clocks[column] = float(good)
        return clocks

    def _drop(self, target: _Target, code: int) -> None:
        """Take a failed reading: of the driver, of the GPU, or of this window alone."""
        if code in errors.DRIVER_GONE:
            raise errors.DriverGoneError(f"GPM returned {code}")
        if code in errors.GPU_GONE or code in errors.PERMANENT:
            self._lose(target, f"GPM returned {code}")

    def _lose(self, target: _Target, reason: str) -> None:
        # The nvml source tells of the loss and brings a returned GPU back by a new generation.
        self._targets.remove(target)
        target.sampler.close()
        words = f"GPU {target.gpu.index} stopped answering: {reason}"
        self._missing.append(Missing("gpm", words, "see `dmesg | grep -i xid`", target.gpu.uuid))

    def _attach(self, generation: int) -> None:
        nvml = _nvml_session.binding()
        self._gpus, self._missing = list_gpus(nvml)
        self._availability.forget()
        self._targets = []
        refused: list[Missing] = []
        for gpu in self._gpus:
            reason = unsupported(nvml, gpu)
            if reason is None:
                reason = self._add_targets(nvml, gpu)
            if reason is not None:
                refused.append(Missing("gpm", *reason, gpu_uuid=gpu.uuid))
        self._missing += refused
        if not self._targets:
            raise SourceError(refused[0].reason, refused[0].remedy)
        self._generation = generation

    def _relist_mig(self) -> None:
        """Follow GPU instances that are made and destroyed while we read."""
        now_ns = raw_ns()
        if now_ns - self._listed_ns < MIG_PERIOD_NS:
            return
        self._listed_ns = now_ns
        nvml = _nvml_session.binding()
        for gpu in self._gpus:
            if not gpu.mig_mode:
                continue
            now = list_mig(nvml, gpu.handle)
            if [mig.uuid for mig in now] == [mig.uuid for mig in gpu.mig_instances]:
                continue
            gpu.mig_instances = now
            self._close_targets(gpu.uuid)
            self._missing = [each for each in self._missing if each.gpu_uuid != gpu.uuid]
            refusal = self._add_targets(nvml, gpu)
            if refusal is not None:
                self._missing.append(Missing("gpm", *refusal, gpu_uuid=gpu.uuid))

    def _add_targets(self, nvml: Any, gpu: Gpu) -> tuple[str, str] | None:
        """Add the GPU and its GPU instances; return why the GPU as a whole could not be."""
        facts = self._facts[gpu.uuid] = gpu_facts(nvml, gpu)
        take = partial(nvml.nvmlGpmSampleGet, gpu.handle)
        refusal = self._add_target(nvml, gpu, None, take, facts)
        seen: set[int] = set()
        for mig in gpu.mig_instances:
            if mig.gpu_instance_id in seen:
                reason = (
                    "it shares a GPU instance with another compute instance; GPM counts the "
                    "GPU instance as a whole, under the first one's uuid"
                )
                self._missing.append(Missing(f"gpm of {mig.uuid}", reason, "", gpu.uuid))
                continue
            seen.add(mig.gpu_instance_id)
            take = partial(nvml.nvmlGpmMigSampleGet, gpu.handle, mig.gpu_instance_id)
            sms = facts.get("mig_instances", {}).get(mig.uuid, {}).get("sm_count")
            missed = self._add_target(nvml, gpu, mig.uuid, take, facts | {"sm_count": sms})
            if missed is not None:
                self._missing.append(Missing(f"gpm of {mig.uuid}", *missed, gpu_uuid=gpu.uuid))
        return refusal

    def _add_target(
        self, nvml: Any, gpu: Gpu, mig_uuid: str | None, take: Take, facts: dict[str, Any]
    ) -> tuple[str, str] | None:
        sampler = None
        try:
            sampler = Sampler(nvml, mig_uuid or gpu.uuid, take, self._availability)
            sampler.sample()
            clocks = self._clocks(gpu)
        except (nvml.NVMLError, errors.GpuLostError) as error:
            if sampler is not None:
                sampler.close()
            return sample_reason(gpu, errors.code_of(error))
        cycles = CycleClock(facts.get("max_sm_clock_mhz"), facts.get("sm_count"))
        self._targets.append(_Target(gpu, mig_uuid, sampler, cycles, clocks))
        return None

    def _close_targets(self, gpu_uuid: str | None = None) -> None:
        """Free the buffers of one GPU's targets, or of all."""
        for target in list(self._targets):
            if gpu_uuid in (None, target.gpu.uuid):
                target.sampler.close()
                self._targets.remove(target)


def driver_gone(error: Exception) -> SourceError:
    """Return what a user is told while the driver does not answer."""
    return SourceError(
        f"the NVIDIA driver stopped answering: {error}",
        "gnomon retries; see `nvidia-smi`, and restart gnomon after a driver update",
    )


def is_void(values: Mapping[str, float]) -> bool:
    """Return whether the driver handed out a window in which nothing was counted.

    Seen on an H200 (driver 580) three times in 1,889 windows, twice amid a kernel that PM sampling
    saw at 100 %: every counter reads exactly 0 and DRAM NaN. A window in which nothing ran still
    has PCIe traffic, of 0.4 MB/s and more.
    """
    links = [
        values[name] for name in ("pcie_rx_bytes_per_s", "pcie_tx_bytes_per_s") if name in values
    ]
    return bool(links) and all(value == 0 or math.isnan(value) for value in values.values())


def _void_readings(rows: int) -> Row:
    return {
        "ts_ns": time.time_ns(),
        "duration_ns": 0,
        "source": "gpm",
        "table": "gpu_counters",
        "rows": rows,
        "reason": "void_reading",
    }


def unsupported(nvml: Any, gpu: Gpu) -> tuple[str, str] | None:
    """Return (reason, remedy) where the driver or the GPU has no GPM, else None."""
    where = f"GPU {gpu.index} ({gpu.name})"
    try:
        if nvml.nvmlGpmQueryDeviceSupport(gpu.handle).isSupportedDevice:
            return None
    except nvml.NVMLError as error:
        code = errors.code_of(error)
        if code == errors.FUNCTION_NOT_FOUND:
            version = gpu_facts(nvml, gpu).get("driver_version", "of this host")
            return (
                f"NVIDIA driver {version} is too old for GPM counters",
                f"update the driver to {FIRST_GPM_DRIVER} or newer",
            )
        if code != errors.NOT_SUPPORTED:
            return sample_reason(gpu, code)
    capability = str(gpu_facts(nvml, gpu).get("compute_capability", "0.0"))
    if float(capability) < HOPPER:
        return (
            f"{where} is older than Hopper: the driver has no GPM counters of it",
            "SM and DRAM counters need CUPTI PM sampling here: see the pm source",
        )
    return (
        f"the driver offers no GPM counters of {where} (vGPUs and GeForce boards have none)",
        "SM and DRAM counters need CUPTI PM sampling here: see the pm source",
    )


def sample_reason(gpu: Gpu, code: int) -> tuple[str, str]:
    """Return (reason, remedy) where a GPU has GPM, but gives no sample."""
    where = f"GPU {gpu.index} ({gpu.name})"
    if code == errors.NO_PERMISSION:
        return (
            f"the driver does not permit this user to read GPM counters of {where}",
            "run as root; inside MIG, ask for access to the GPU instance's monitor capability",
        )
    return f"{where} gives no GPM sample (NVML error {code})", "see `nvidia-smi`"


def create(settings: Settings) -> GpmSource:
    """Make the source with the period of the settings; nothing is opened."""
    return GpmSource(round(settings.gpm_period_s * 1e9))
