"""The ``trace`` source: calls into CUDA, and why threads were off the CPU, told by the kernel.

A helper process, ``gnomon-bpf``, has the probes and the privileges; this module starts it, reads
its pipe and survives its death. Whom to trace is `Settings.trace`; without it nothing is traced.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from gnomon._errors import SourceError
from gnomon.configuration import Settings, TraceRequest
from gnomon.enums import EventKind, Severity
from gnomon.sources._trace_helper import NAME, Messages, TraceHelper
from gnomon.sources.base import Batch, Capability, Description, Missing
from gnomon.tracing.plan import Plan
from gnomon.tracing.requirements import obstacle, requirements

PERIOD_NS = 250_000_000
# Types of the kernel and libraries are read, and probes attached: 0.5 s on an idle machine.
START_TIMEOUT_S = 15.0
FINISH_TIMEOUT_S = 1.5
# The helper gives a sign of life twice a second.
SILENT_S = 5.0
# Names of facts -> what the helper calls them.
COSTS = (("trace_call_cost_ns", "pair_ns"), ("trace_call_floor_ns", "floor_ns"))


class TraceSource:
    """Publishes `host_calls`, `call_histograms`, `off_cpu`, `threads`, `stacks` and their like."""

    name = "trace"

    def __init__(
        self,
        request: TraceRequest | None,
        *,
        kept_a_second: float = 2_000.0,
        launch_share: float = 0.02,
        period_ns: int = PERIOD_NS,
    ) -> None:
        self.period_ns = period_ns
        self._request = request
        self._kept_a_second, self._launch_share = kept_a_second, launch_share
        self._helper: TraceHelper | None = None
        self._early: Messages = []
        self._cost: dict[str, Any] = {}
        self._missing: tuple[Missing, ...] = ()

    def check(self) -> Capability:
        """Look at what tracing needs; nothing is started. Never raises."""
        found = requirements()
        missing = obstacle(found)
        if missing is not None:
            return Capability(False, f"{missing.name}: {missing.value}", missing.remedy)
        lacking = tuple(
            Missing(one.name, one.value, one.remedy)
            for one in found
            if not one.ok and not one.is_needed
        )
        return Capability(ready=True, missing=lacking)

    def open(self) -> None:
        """Start the helper and wait until its probes are in place. Raises SourceError."""
        request = self._request
        if request is None:
            raise SourceError("nobody is to be traced", "name processes with --trace-pid")
        self._early = []
        self._helper = TraceHelper(
            Plan(
                pids=request.pids,
                names=request.names,
                every_gpu_process=request.every_gpu_process,
                command=request.command,
                observers=(os.getpid(),),
                kept_a_second=self._kept_a_second,
                launch_share=self._launch_share,
            )
        )
        self._wait_until_ready(self._helper)

    def close(self) -> None:
        """End the helper; its probes are gone then."""
        if self._helper is not None:
            self._helper.close()
            self._helper = None

    def describe(self) -> Description:
        """Return what this kernel does not let the tracer see, and what a traced call costs.

        ``trace_call_cost_ns``: what a call takes longer; ``trace_call_floor_ns``: what of it is in
        every duration that is recorded.
        """
        return Description(host=self._cost, missing=self._missing)

    def warnings(self) -> tuple[str, ...]:
        """Return nothing: what tracing costs is held within its budget."""
        return ()

    def read(self) -> Sequence[Batch]:
        """Return the rows that have come. Raises SourceError once the helper is gone."""
        if self._helper is None:
            raise SourceError("tracing was read before it was opened")
        messages, more = self._helper.read()
        early, self._early = self._early, []
        messages = early + messages
        if not more and not messages:
            raise self._gone(self._helper)
        silent_s = time.monotonic() - self._helper.heard_s
        if silent_s > SILENT_S:
            raise SourceError(
                f"{NAME} has said nothing for {silent_s:.0f} s", "it is started again by itself"
            )
        return _batches(messages)

    def finish(self) -> Sequence[Batch]:
        """Take the probes away and return what had not been told yet."""
        if self._helper is None:
            return ()
        silent_s = time.monotonic() - self._helper.heard_s
        messages, is_all = self._helper.finish(FINISH_TIMEOUT_S)
        return [*_batches(self._early + messages), *([] if is_all else [_unanswered(silent_s)])]

    def _wait_until_ready(self, helper: TraceHelper) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            helper.wait(deadline_s - time.monotonic())
            messages, more = helper.read()
            # Rows may have come right behind the first words.
            self._early += messages
            for table, document in messages:
                if not table and "refused" in document:
                    raise SourceError(document["refused"], document["remedy"])
                if not table:
                    self._missing = tuple(map(_missing, document["lacking"]))
                    self._cost = {name: document[key] for name, key in COSTS if key in document}
                    return
            if not more:
                raise self._gone(helper)
        raise SourceError(f"{NAME} did not begin within {START_TIMEOUT_S:g} s")

    def _gone(self, helper: TraceHelper) -> SourceError:
        status, words = helper.ended()
        how = f"status {status}"
        if status < 0:
            how = f"signal {-status} ({signal.strsignal(-status)})"
        reason = f"{NAME} ended with {how}" + (f": {words}" if words else "")
        return SourceError(reason, "it is started again by itself")


def _batches(messages: Messages) -> list[Batch]:
    """A batch a table, in the order in which they first came."""
    import pyarrow as pa  # noqa: PLC0415  90 ms

    by_table: dict[str, list[Any]] = {}
    for table, batch in messages:
        if table:
            by_table.setdefault(table, []).append(batch)
    return [
        Batch(table, arrow=some[0] if len(some) == 1 else pa.concat_batches(some))
        for table, some in by_table.items()
    ]


def _unanswered(silent_s: float) -> Batch:
    row = {
        "ts_ns": time.time_ns(),
        "duration_ns": 0,
        "kind": EventKind.TRACING_LIMITED.value,
        "severity": Severity.WARNING.value,
        "source": TraceSource.name,
        "message": f"{NAME} did not answer at the end and was killed: of the last {silent_s:.1f} s "
        "and what followed some calls are missing",
    }
    return Batch("events", rows=[row])


def _missing(lacking: Mapping[str, str]) -> Missing:
    return Missing(lacking["what"], lacking["reason"], lacking["remedy"])


def create(settings: Settings) -> TraceSource:
    """Make the source; nothing is started."""
    return TraceSource(
        settings.trace,
        kept_a_second=settings.trace_rows_per_s,
        launch_share=settings.trace_launch_budget_pct / 100,
    )
