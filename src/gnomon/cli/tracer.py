"""The work behind ``gnomon trace``: a recorder that shows what calls took, while and after."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from gnomon._errors import CommandError
from gnomon.analysis.call_table import CallRow, call_table
from gnomon.analysis.coverage import losses
from gnomon.cli import base, trace_table
from gnomon.cli.collection import TRACE_SOURCE
from gnomon.cli.numbers import duration
from gnomon.cli.recorder import Recorder
from gnomon.cli.status_line import StatusBlock, StatusLine
from gnomon.configuration import Settings
from gnomon.enums import EventKind
from gnomon.recording.memory import MemoryRecording
from gnomon.recording.reader import Recording
from gnomon.tracing.requirements import obstacle, requirements

NS_PER_S = 1_000_000_000
# The live table looks back on this.
WINDOW_NS = 5 * NS_PER_S
MARGIN_LINES = 6
PROC = Path("/proc")


class Tracer(Recorder):
    """Records into one directory, with a live table where nobody else writes on the terminal."""

    def __init__(
        self, directory: Path, settings: Settings, *, has_workload: bool, as_json: bool
    ) -> None:
        super().__init__(directory, settings, StatusLine() if has_workload else StatusBlock())
        self._has_workload = has_workload
        self._as_json = as_json
        # What the directory held before is another trace's.
        self._began_ns = time.time_ns()

    def run(self, arguments: Sequence[str], duration_ns: int | None) -> int:
        """Record as a recorder does; then print the table of all that was recorded.

        Raises CommandError where nothing can be traced: then the workload is not started.
        """
        request = self._settings.trace
        gone = [pid for pid in (request.pids if request else ()) if not (PROC / str(pid)).exists()]
        if gone:
            raise CommandError(f"cannot trace: there is no process {gone[0]}; `ps` shows which are")
        missing = obstacle(requirements())
        if missing is not None:
            raise CommandError(
                f"cannot trace: {missing.name}: {missing.value}; try: {missing.remedy}; "
                "`gnomon record` records all else"
            )
        status = super().run(arguments, duration_ns)
        if not self._problem:
            self._print_all()
        return status

    def _is_done(self) -> bool:
        """Whether all processes that were named by number are gone."""
        request = self._settings.trace
        if request is None or self._has_workload or request.names or request.every_gpu_process:
            return False
        return not any((PROC / str(pid)).exists() for pid in request.pids)

    def _show(self, memory: MemoryRecording, elapsed_ns: int) -> None:
        if self._has_workload:
            super()._show(memory, elapsed_ns)
            return
        bounds = memory.bounds()
        rows: Sequence[CallRow] = ()
        if bounds is not None:
            rows = call_table(memory, max(bounds[0], bounds[1] - WINDOW_NS), bounds[1])
        size = shutil.get_terminal_size()
        shown = trace_table.table(rows, max(1, size.lines - MARGIN_LINES))
        head = f"tracing {duration(elapsed_ns)}, the last {duration(WINDOW_NS)} (Ctrl-C ends)"
        self._line.show(f"{head}\n{shown.plain}", size.columns)

    def _print_all(self) -> None:
        recording = Recording.open(self._directory)
        from_ns, to_ns = self._began_ns, time.time_ns()
        rows = call_table(recording, from_ns, to_ns)
        lost = [one for one in losses(recording, from_ns=from_ns, to_ns=to_ns) if one.rows]
        limits = _limits(recording, from_ns, to_ns)
        if self._as_json:
            document: dict[str, Any] = {"schema": 1, "from_ns": from_ns, "to_ns": to_ns}
            document["operations"] = [row.to_json() for row in rows]
            document["losses"] = [
                {"table": one.table, "reason": one.reason, "rows": one.rows} for one in lost
            ]
            document["limits"] = limits
            base.print_json(document)
            return
        click.echo(trace_table.table(rows).plain)
        for line in (*_lost_lines(lost), *(f"note: {one}" for one in limits)):
            click.echo(line)


def _limits(recording: Recording, from_ns: int, to_ns: int) -> list[str]:
    """What the tracer said of itself: what it came late to, or could not see."""
    columns = ("source", "kind", "message")
    events = recording.read("events", from_ns=from_ns, to_ns=to_ns, columns=columns).to_pylist()
    said = [
        str(one["message"])
        for one in events
        if (one["source"], one["kind"]) == (TRACE_SOURCE, EventKind.TRACING_LIMITED.value)
    ]
    # What is said again with other numbers holds as it was said last.
    return list({re.sub(r"\d+", "", message): message for message in said}.values())


def _lost_lines(lost: Sequence[Any]) -> Iterator[str]:
    for one in lost:
        yield f"lost: {one.rows:,} rows of {one.table} ({one.reason}, {one.source})"
