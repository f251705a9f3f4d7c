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
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from gnomon._errors import SourceError
from gnomon.configuration import Settings
from gnomon.enums import ClockSource, Counters, CounterSet
from gnomon.sources import _pm_access, _pm_helper
from gnomon.sources._pm_asked import Asked, asked
from gnomon.sources._pm_machine import ADMIN_REASON, ADMIN_REMEDY, Machine, inspect
from gnomon.sources._pm_metrics import WISHES, Metric, column_values, plan_text, wanted
from gnomon.sources._pm_records import (
    GpuStarted,
    Hello,
    Loss,
    LossReason,
    Record,
    Row,
    Samples,
    Statistics,
    Status,
    StatusCode,
)
from gnomon.sources._pm_samples import TABLE as SAMPLES
from gnomon.sources._pm_samples import sample_batch
from gnomon.sources.base import Batch, Capability, Description, Missing

ROWS = "gpu_counters"
# Loading CUPTI and configuring a GPU takes 0.7 s on an H200.
START_TIMEOUT_S = 10.0
MOST_CRASHES = 3
# A helper that ran this long before it crashed is given all its chances anew.
GOOD_RUN_NS = 600 * 10**9

_USUAL = Asked()


class PmSource:
    """Publishes one row a GPU and 100 ms, and where that is asked for each hardware sample.

    Rows of a counter set other than ``throughput`` carry the clock only.
    """

    name = "pm"

    def __init__(
        self,
        period_ns: int | None = None,
        asked: Asked = _USUAL,
        *,
        enabled: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.period_ns = asked.period_ns if period_ns is None else period_ns
        self._asked = asked
        self._enabled = enabled
        self._environment = dict(os.environ if environment is None else environment)
        self._sets = asked.sets
        self._metrics = wanted(self._sets)
        self._machine: Machine | None = None
        self._helper: _pm_helper.Helper | None = None
        self._started: dict[int, GpuStarted] = {}
        self._missing: dict[int, Missing] = {}
        self._statistics: dict[int, Statistics] = {}
        self._fatal: Missing | None = None
        self._crashes = 0
        self._opened_ns = 0

    def check(self) -> Capability:
        """Start sampling and stop it again: takes about a second. Never raises."""
        probe = PmSource(
            self.period_ns,
            replace(self._asked, on_s=0.0, every_s=0.0, fine=False),
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
        ``pm_lacking``: columns of a set that this chip cannot read beside the others.
        """
        gpus = {started.uuid: self._facts(started) for started in self._started.values()}
        refused = self._machine.refused if self._machine is not None else ()
        left_out = [
            Missing(
                SAMPLES,
                f"nothing of the counter set {self._sets[each.number]} fits one pass of "
                f"{started.chip}",
                "",
                started.uuid,
            )
            for started in self._started.values()
            for each in started.sets
            if not each.metrics
        ]
        return Description(gpus=gpus, missing=(*refused, *self._missing.values(), *left_out))

    def warnings(self) -> tuple[str, ...]:
        """Return what the user should know of the interval chosen."""
        return self._asked.warnings()

    def read(self) -> Sequence[Batch]:
        """Return the rows and losses that have come. Raises SourceError once the helper is gone."""
        if self._helper is None:
            raise SourceError("PM sampling was read before it was opened")
        records, more = self._helper.read()
        rows: list[dict[str, object]] = []
        losses: list[dict[str, object]] = []
        samples: defaultdict[tuple[GpuStarted, int], list[Samples]] = defaultdict(list)
        for record in records:
            self._note(record)
            if isinstance(record, Row) and record.gpu in self._started:
                rows.append(self._row(record, self._started[record.gpu]))
            elif isinstance(record, Samples) and record.gpu in self._started:
                samples[self._started[record.gpu], record.set_number].append(record)
            elif isinstance(record, Loss):
                losses += _losses(record, [ROWS, SAMPLES] if self._asked.fine else [ROWS])
        if not more and not records:
            raise self._gone(self._helper)
        named = (Batch(ROWS, rows), Batch("losses", losses))
        return [batch for batch in named if batch.rows] + self._sampled(samples)

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
        return self._asked.command(machine, self.period_ns)

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
        elif isinstance(record, Statistics):
            self._statistics[record.gpu] = record
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
            others = "; ".join(_pm_access.other_samplers(own_pid))
            holder = others or (
                "none is to be seen from here; ncu, Nsight Systems, DCGM or another gnomon, maybe "
                "in another container or outside of this one"
            )
            reason = f"another program samples this GPU's counters: {holder}"
            remedy = "stop it; sampling then begins by itself"
        elif status.code is StatusCode.PRIVILEGES:
            reason, remedy = ADMIN_REASON, ADMIN_REMEDY
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

    def _facts(self, started: GpuStarted) -> dict[str, Any]:
        on_s, every_s = self._asked.turns(self._machine)
        facts: dict[str, Any] = {
            "pm_chip": started.chip,
            "pm_interval_us": started.interval_us,
            "pm_on_s": on_s,
            "pm_every_s": every_s,
            "pm_metrics": [metric.name for metric in self._metrics_of(started, 0)],
            "pm_lacking": {
                str(self._sets[each.number]): [
                    column
                    for wish in each.lacking
                    for column in WISHES[self._sets[each.number]][wish].columns
                ]
                for each in started.sets
            },
        }
        told = self._statistics.get(started.gpu)
        if told is not None and (told.lost or told.overflows):
            facts |= {
                "pm_lost_samples": told.lost,
                "pm_gaps": told.gaps,
                "pm_overflows": told.overflows,
            }
        return facts

    def _metrics_of(self, started: GpuStarted, set_number: int) -> list[Metric]:
        numbers = next(each.metrics for each in started.sets if each.number == set_number)
        return [self._metrics[number] for number in numbers]

    def _row(self, row: Row, started: GpuStarted) -> dict[str, object]:
        metrics = self._metrics_of(started, row.set_number)
        values: dict[str, Any] = dict(column_values(metrics, row.sums, row.weights))
        clock = values.pop("sm_clock_mhz", None)
        if self._sets[row.set_number] is not CounterSet.THROUGHPUT:
            values = {}  # the table's percentages go together, or not at all
        columns: dict[str, object] = {
            "ts_ns": row.end_ns,
            "duration_ns": row.time_ns,
            "gpu_uuid": started.uuid,
            "source": self.name,
            **values,
            "samples": row.samples,
            "reading_cost_ns": row.cpu_ns,
        }
        if values and any(metric.role == "link" for metric in metrics):
            # Up to two samples of a transfer are credited to the row after theirs.
            columns["link_only_pct"] = min(100.0, 100.0 * row.link_only_ns / row.time_ns)
        if clock:
            columns |= {"sm_clock_mhz": clock, "sm_clock_source": str(ClockSource.CUPTI)}
        return columns

    def _sampled(self, samples: Mapping[tuple[GpuStarted, int], list[Samples]]) -> list[Batch]:
        return [
            Batch(
                SAMPLES,
                arrow=sample_batch(
                    records,
                    self._metrics_of(started, number),
                    gpu_uuid=started.uuid,
                    counter_set=self._sets[number],
                ),
            )
            for (started, number), records in samples.items()
        ]


def _losses(loss: Loss, tables: Sequence[str]) -> list[dict[str, object]]:
    """Return a row for each of the tables that lack something."""
    reason = "queue_full"
    if loss.reason is LossReason.PIPE_FULL:
        tables = [ROWS]
    elif loss.reason is LossReason.SAMPLES_PIPE_FULL:
        tables = [SAMPLES]
    else:
        reason = loss.reason.name.lower()
    return [
        {
            "ts_ns": loss.end_ns,
            "duration_ns": max(0, loss.end_ns - loss.start_ns),
            "source": "pm",
            "table": table,
            "rows": loss.samples,
            "reason": reason,
        }
        for table in tables
    ]


def create(settings: Settings) -> PmSource:
    """Make the source; nothing is started."""
    enabled = settings.pm_enabled or settings.counters is Counters.CUPTI
    return PmSource(asked=asked(settings), enabled=enabled)
