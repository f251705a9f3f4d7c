"""The ``pm`` source: hardware counters and the true SM clock through CUPTI PM sampling.

A helper process, ``gnomon-pm``, samples every GPU and streams rows of 100 ms; this module starts
it, reads its pipe and survives its death. Rows of ``gpu_counters`` with ``sm_clock_source``
"cupti". Only one program at a time can sample a GPU's counters, and a GPU whose counters are
sampled runs a little slower: so it is done in turns, and the time between them is no loss.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon._errors import SourceError
from gnomon.configuration import Settings
from gnomon.enums import ClockSource
from gnomon.sources import _nvml_errors as errors
from gnomon.sources import _nvml_session, _pm_access, _pm_helper, _pm_library
from gnomon.sources._nvml_gpus import Gpu, list_gpus
from gnomon.sources._pm_metrics import MetricSet, column_values, metric_sets, plan_text
from gnomon.sources._pm_records import GpuStarted, Hello, Loss, Record, Row, Status, StatusCode
from gnomon.sources.base import Batch, Capability, Description, Missing

# 0.9 % of a core on an H200; 1 ms, which sees copies between kernels, takes 3 to 6 %
# (docs/measurements/pm_sampling.md).
DEFAULT_INTERVAL_US = 10_000
DEFAULT_PERIOD_NS = 500_000_000
# A decode costs 1 ms whatever it finds, and the hardware buffer holds some hundred samples.
SAMPLES_A_DECODE = 100
# Loading CUPTI and configuring a GPU takes 0.7 s on an H200.
START_TIMEOUT_S = 10.0
MOST_CRASHES = 3
# A helper that ran this long before it crashed is given all its chances anew.
GOOD_RUN_NS = 600 * 10**9

ADMIN_REMEDY = (
    "run as root, or let every user read counters: "
    "options nvidia NVreg_RestrictProfilingToAdminUsers=0 in /etc/modprobe.d, then reboot"
)


@dataclass(frozen=True, slots=True)
class Machine:
    """What must be known before the helper is started."""

    helper: Path
    library: _pm_library.Library
    gpus: tuple[Gpu, ...]
    refused: tuple[Missing, ...]


class PmSource:
    """Publishes one row a GPU and 100 ms, from hardware samples of ``interval_us``.

    Sampling lasts ``on_s`` from each multiple of ``every_s`` in Unix time on; it never ends where
    ``every_s`` is 0 or no longer than ``on_s``.
    """

    name = "pm"

    def __init__(
        self,
        period_ns: int = DEFAULT_PERIOD_NS,
        interval_us: int = DEFAULT_INTERVAL_US,
        *,
        on_s: float = 0.0,
        every_s: float = 0.0,
        enabled: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.period_ns = period_ns
        self._interval_us = interval_us
        self._on_s = on_s
        self._every_s = every_s if every_s > on_s else 0.0
        self._enabled = enabled
        self._environment = dict(os.environ if environment is None else environment)
        self._sets: tuple[MetricSet, ...] = metric_sets()
        self._machine: Machine | None = None
        self._helper: _pm_helper.Helper | None = None
        self._started: dict[int, GpuStarted] = {}
        self._missing: dict[int, Missing] = {}
        self._fatal: Missing | None = None
        self._crashes = 0
        self._opened_ns = 0

    def check(self) -> Capability:
        """Start sampling and stop it again: takes about a second. Never raises."""
        probe = PmSource(
            self.period_ns,
            self._interval_us,
            enabled=self._enabled,
            environment=self._environment,
        )
        try:
            probe.open()
            probe.wait_for_gpus()
        except SourceError as error:
            return Capability(ready=False, reason=error.reason, remedy=error.remedy)
        finally:
            probe.close()
        missing = probe.describe().missing
        if not probe.sampled_gpus() and missing:
            return Capability(False, missing[0].reason, missing[0].remedy, missing)
        return Capability(ready=True, missing=missing)

    def open(self) -> None:
        """Start the helper. Raises SourceError with the remedy."""
        if not self._enabled:
            raise SourceError("PM sampling is switched off", "set pm_enabled to true")
        if self._crashes > MOST_CRASHES:
            raise SourceError(
                f"gnomon-pm crashed {self._crashes} times and is not started again",
                "please report this, with the output of `gnomon doctor`",
            )
        self._machine = inspect(self._environment)
        self._started, self._missing, self._fatal = {}, {}, None
        self._opened_ns = time.monotonic_ns()
        self._helper = _pm_helper.Helper(
            self._command(self._machine), plan_text(self._sets), self._helper_environment()
        )

    def pause(self) -> None:
        """Let go of the GPUs' counters until ``resume``; what is missed until then is no loss."""
        if self._helper is not None:
            self._helper.pause()

    def resume(self) -> None:
        if self._helper is not None:
            self._helper.resume()

    def close(self) -> None:
        """End the helper; the GPUs' counters are free again."""
        if self._helper is not None:
            self._helper.close()
            self._helper = None

    def describe(self) -> Description:
        """Return the chip, the sampled metrics and the turns of each GPU, and what is missing.

        ``pm_every_s`` 0: rows cover all of the time, else ``pm_on_s`` of every ``pm_every_s``.
        """
        gpus = {
            started.uuid: {
                "pm_chip": started.chip,
                "pm_interval_us": started.interval_us,
                "pm_on_s": self._on_s,
                "pm_every_s": self._every_s,
                "pm_metrics": [metric.name for metric in self._sets[started.plan].metrics],
            }
            for started in self._started.values()
        }
        refused = self._machine.refused if self._machine is not None else ()
        return Description(gpus=gpus, missing=(*refused, *self._missing.values()))

    def warnings(self) -> tuple[str, ...]:
        """Return what the user should know of the interval chosen."""
        if self._interval_us >= DEFAULT_INTERVAL_US:
            return ()
        warning = (
            f"pm: samples of {self._interval_us / 1000:g} ms cost several times the CPU of the "
            f"usual {DEFAULT_INTERVAL_US / 1000:g} ms (docs/measurements/pm_sampling.md)"
        )
        return (warning,)

    def read(self) -> Sequence[Batch]:
        """Return the rows and losses that have come. Raises SourceError once the helper is gone."""
        if self._helper is None:
            raise SourceError("PM sampling was read before it was opened")
        records, more = self._helper.read()
        rows: list[dict[str, object]] = []
        losses: list[dict[str, object]] = []
        for record in records:
            self._note(record)
            if isinstance(record, Row) and record.gpu in self._started:
                rows.append(self._row(record, self._started[record.gpu]))
            elif isinstance(record, Loss):
                losses.append(_loss(record))
        if not more and not records:
            raise self._gone(self._helper)
        named = (Batch("gpu_counters", rows), Batch("losses", losses))
        return [batch for batch in named if batch.rows]

    def sampled_gpus(self) -> list[str]:
        """Return the UUIDs of the GPUs whose sampling has begun."""
        return [started.uuid for started in self._started.values()]

    def wait_for_gpus(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return once every GPU is sampled or refused. Raises SourceError as ``read`` does.

        That is known soon, also between turns: the helper tries each GPU when it starts.
        """
        assert self._helper is not None
        assert self._machine is not None
        deadline_s = time.monotonic() + timeout_s
        wanted = len(self._machine.gpus)
        while len(self._started.keys() | self._missing.keys()) < wanted:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise SourceError(f"gnomon-pm sampled no GPU within {timeout_s:g} s")
            select.select([self._helper], [], [], left_s)
            self.read()

    def _command(self, machine: Machine) -> list[str]:
        return [
            str(machine.helper),
            "--libcupti",
            str(machine.library.path),
            "--interval-us",
            str(self._interval_us),
            "--decode-ms",
            str(max(1, min(self.period_ns // 10**6, self._interval_us * SAMPLES_A_DECODE // 1000))),
            "--on-ms",
            str(round(self._on_s * 1000)),
            "--every-ms",
            str(round(self._every_s * 1000)),
        ]

    def _helper_environment(self) -> dict[str, str]:
        """Return an environment in which CUDA lists what NVML lists, in the same order."""
        assert self._machine is not None
        environment = {**self._environment, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        environment.pop("CUDA_VISIBLE_DEVICES", None)
        if self._machine.refused:
            # Beside GPUs in MIG mode CUDA would list one of their instances.
            uuids = ",".join(gpu.uuid for gpu in self._machine.gpus)
            environment["CUDA_VISIBLE_DEVICES"] = uuids
        return environment

    def _note(self, record: Record) -> None:
        if isinstance(record, GpuStarted):
            self._started[record.gpu] = record
            self._missing.pop(record.gpu, None)
        elif isinstance(record, Status) and record.gpu < 0:
            self._fatal = self._explain(record, None)
        elif isinstance(record, Status):
            self._started.pop(record.gpu, None)
            self._missing[record.gpu] = self._explain(record, self._uuid(record.gpu))
        elif isinstance(record, Hello) and record.gpus == 0:
            self._fatal = Missing("pm", "CUDA lists no GPU", "see `nvidia-smi`")

    def _uuid(self, index: int) -> str | None:
        gpus = self._machine.gpus if self._machine is not None else ()
        return gpus[index].uuid if index < len(gpus) else None

    def _explain(self, status: Status, uuid: str | None) -> Missing:
        reason, remedy = status.text, ""
        if status.code is StatusCode.BUSY:
            own_pid = self._helper.pid if self._helper is not None else 0
            others = ", ".join(_pm_access.other_samplers(own_pid))
            holder = others or "such as ncu, Nsight Systems, DCGM or another gnomon"
            reason = f"another program samples this GPU's counters: {holder}"
            remedy = "stop it; sampling then begins by itself"
        elif status.code is StatusCode.PRIVILEGES:
            reason, remedy = "the driver lets only administrators read counters", ADMIN_REMEDY
        elif status.code is StatusCode.LIBRARY_TOO_NEW and self._machine is not None:
            remedy = "install the libcupti of the driver's CUDA version"
        return Missing("pm", reason, remedy, uuid)

    def _gone(self, helper: _pm_helper.Helper) -> SourceError:
        """Say why the helper ended, and count it where it crashed."""
        status, words = helper.ended()
        if status == _pm_helper.NOTHING_TO_SAMPLE:
            missing = self._fatal or next(iter(self._missing.values()), None)
            if missing is not None:
                return SourceError(missing.reason, missing.remedy)
        if time.monotonic_ns() - self._opened_ns > GOOD_RUN_NS:
            self._crashes = 0
        self._crashes += 1
        how = f"status {status}"
        if status < 0:
            how = f"signal {-status} ({signal.strsignal(-status)})"
        reason = f"gnomon-pm ended with {how}" + (f": {words}" if words else "")
        return SourceError(reason, "it is started again by itself")

    def _row(self, row: Row, started: GpuStarted) -> dict[str, object]:
        metrics = self._sets[started.plan].metrics
        values: dict[str, Any] = dict(column_values(metrics, row.sums, row.weights))
        clock = values.pop("sm_clock_mhz", None)
        columns: dict[str, object] = {
            "ts_ns": row.end_ns,
            "duration_ns": row.time_ns,
            "gpu_uuid": started.uuid,
            "source": self.name,
            **values,
            "samples": row.samples,
            "reading_cost_ns": row.cpu_ns,
        }
        if any(metric.role == "link" for metric in metrics):
            # Up to two samples of a transfer are credited to the row after theirs.
            columns["link_only_pct"] = min(100.0, 100.0 * row.link_only_ns / row.time_ns)
        if clock:
            columns |= {"sm_clock_mhz": clock, "sm_clock_source": str(ClockSource.CUPTI)}
        return columns


def inspect(environment: Mapping[str, str]) -> Machine:
    """Find the helper, the GPUs and the libcupti. Raises SourceError for what is in the way."""
    helper = _pm_helper.find(environment)
    gpus, refused, driver_cuda = _gpus()
    if _pm_access.refused():
        raise SourceError("the driver lets only administrators read counters", ADMIN_REMEDY)
    library = _pm_library.choose(
        _pm_library.candidates(environment),
        driver_cuda,
        lambda path: _pm_library.ask_version(helper, path),
    )
    return Machine(helper, library, gpus, refused)


def _gpus() -> tuple[tuple[Gpu, ...], tuple[Missing, ...], int]:
    """Return the whole GPUs, those in MIG mode as missing, and the driver's CUDA version."""
    session = _nvml_session.SESSION
    session.acquire()
    try:
        with session.reading():
            nvml = _nvml_session.binding()
            listed, unreachable = list_gpus(nvml)
            driver_cuda = int(nvml.nvmlSystemGetCudaDriverVersion_v2())
    except errors.DriverGoneError as error:
        raise SourceError(f"the NVIDIA driver is gone: {error}", "see `nvidia-smi`") from error
    finally:
        session.release()
    whole = tuple(gpu for gpu in listed if not gpu.mig_mode)
    refused = (
        *unreachable,
        *(
            Missing("pm", "CUPTI cannot sample a GPU in MIG mode", "", gpu.uuid)
            for gpu in listed
            if gpu.mig_mode
        ),
    )
    if not whole:
        raise SourceError(refused[0].reason, refused[0].remedy)
    return whole, refused, driver_cuda


def _loss(loss: Loss) -> dict[str, object]:
    return {
        "ts_ns": loss.end_ns,
        "duration_ns": max(0, loss.end_ns - loss.start_ns),
        "source": "pm",
        "table": "gpu_counters",
        "rows": loss.samples,
        "reason": loss.reason.name.lower(),
    }


def create(settings: Settings) -> PmSource:
    """Make the source; nothing is started."""
    return PmSource(on_s=settings.pm_on_s, every_s=settings.pm_every_s, enabled=settings.pm_enabled)
