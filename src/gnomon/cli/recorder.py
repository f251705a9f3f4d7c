"""The work behind ``gnomon record``: sources into a directory, a status line, a workload."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gnomon._errors import RecordingError
from gnomon.cli import footprint
from gnomon.cli.collection import TRACE_SOURCE, Collection, latest
from gnomon.cli.notices import EventTeller, unavailable_sources
from gnomon.cli.status_line import StatusLine, status_text
from gnomon.cli.workload import StopRequest, Workload, finish, stop_on_signals
from gnomon.configuration import Settings
from gnomon.proc.identity import host_identity
from gnomon.recording import retention
from gnomon.recording.announcement import announce
from gnomon.recording.base import NOT_YET
from gnomon.recording.collector import Sink
from gnomon.recording.memory import MemoryRecording
from gnomon.recording.writer import RecordingWriter

NS_PER_S = 1_000_000_000
TICK_NS = NS_PER_S
# Sources answer within this; those that have not are told as missing.
FIRST_ANSWERS_NS = 2 * NS_PER_S
FIRST_HOUSEKEEPING_NS = 5 * NS_PER_S
HOUSEKEEPING_NS = 60 * NS_PER_S
STATUS_WINDOW_NS = 5 * NS_PER_S
# What the status line looks back on, at most.
MEMORY_NS = 15 * NS_PER_S
# A workload that is to be traced waits this long for the tracer, which takes half a second.
TRACER_TIMEOUT_S = 20.0
POLL_S = 0.01
# Where `gnomon mark` in the workload finds us, whatever else records on this host.
RECORDING_VARIABLE = "GNOMON_RECORDING"


class Recorder:
    """Records into one directory; ``run`` returns the exit status."""

    def __init__(
        self,
        directory: Path,
        settings: Settings,
        line: StatusLine | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """``line``: where the state is shown; stderr by default. ``variables``: a workload's."""
        self._directory = directory
        self._settings = settings
        self._variables = dict(variables or {})
        self._line = StatusLine() if line is None else line
        # Nobody looks at memory but the status line: where none is shown, none is filled.
        self._memory = MemoryRecording(MEMORY_NS) if self._line.is_shown else None
        self._teller = EventTeller()
        self._told: set[str] = set()
        self._problem = ""
        self._host_id = str(host_identity()["id"])
        self._next_housekeeping_ns = FIRST_HOUSEKEEPING_NS

    def run(self, arguments: Sequence[str], duration_ns: int | None) -> int:
        """Record until a signal, the end of the workload or of the time.

        Where the directory cannot be written, the workload runs all the same, and a terminal
        goes on showing live values; with neither there is nothing to do: raises RecordingError.
        """
        try:
            writer = self._open_writer()
        except RecordingError as error:
            if not (arguments or self._line.is_shown):
                raise
            self._problem = "NOT RECORDED"
            self._line.say(f"gnomon: {error}; going on without recording")
            return self._run(None, arguments, duration_ns) or (0 if arguments else 1)
        return self._run(writer, arguments, duration_ns)

    def _open_writer(self) -> RecordingWriter:
        return RecordingWriter(self._directory, self._host_id)

    def _run(
        self, writer: RecordingWriter | None, arguments: Sequence[str], duration_ns: int | None
    ) -> int:
        with stop_on_signals() as stop, contextlib.ExitStack() as stack:
            if writer is not None:
                stack.callback(self._close, writer)
                stack.enter_context(announce(self._settings.runtime_directory, self._directory))
                self._line.say(f"recording into {self._directory}")
            sinks: list[Sink] = [
                sink for sink in (self._teller, self._memory, writer) if sink is not None
            ]
            workload = self._start(arguments, stop, stack)
            collection = stack.enter_context(Collection(self._settings, sinks))
            if self._settings.trace is not None:
                self._wait_for_tracer(collection, stop)
            if workload is not None:
                workload.release()
                collection.watch(workload.pid)
            self._watch(collection, stop, duration_ns)
            self._line.clear()
            if workload is None or stop.signal is not None:
                return 0 if workload is None else finish(workload, stop)
        # The time is over, or the workload: it is never ended for our sake.
        return workload.wait() or 0

    def _close(self, writer: RecordingWriter) -> None:
        """Close the files; the last disk error is told, and is no reason to fail a workload."""
        self._line.clear()
        self._tell(self._teller.news())
        try:
            writer.close()
        except RecordingError as error:
            self._line.say(f"gnomon: {error}")
        step = "summary" if self._settings.trace is None else "explain"
        self._line.say(f"recorded {self._directory}; next: gnomon {step} {self._directory}")

    def _start(
        self, arguments: Sequence[str], stop: StopRequest, stack: contextlib.ExitStack
    ) -> Workload | None:
        """Start a workload; one that is traced waits until it is released, to be seen whole."""
        if not arguments:
            return None
        environment = {**self._variables, RECORDING_VARIABLE: str(self._directory.absolute())}
        request = self._settings.trace
        is_held = request is not None
        workload = Workload(arguments, environment, on_end=stop.wake, is_held=is_held)
        stack.callback(workload.release)
        if request is not None:
            pids = (*request.pids, workload.pid)
            request = replace(request, pids=pids, command=tuple(arguments))
            self._settings = replace(self._settings, trace=request)
        return workload

    def _wait_for_tracer(self, collection: Collection, stop: StopRequest) -> None:
        """Wait until the tracer is there, or has said that it cannot be."""
        deadline_s = time.monotonic() + TRACER_TIMEOUT_S
        while not collection.collector.has_answered(TRACE_SOURCE) and not stop.wait(POLL_S):
            if time.monotonic() > deadline_s:
                self._line.say("gnomon: the tracer is late: going on without it")
                return

    def _watch(self, collection: Collection, stop: StopRequest, duration_ns: int | None) -> None:
        """Keep the user informed until it is over."""
        started_ns = time.monotonic_ns()
        is_over = False
        while not is_over:
            elapsed_ns = time.monotonic_ns() - started_ns
            left_ns = TICK_NS if duration_ns is None else min(TICK_NS, duration_ns - elapsed_ns)
            is_over = left_ns <= 0 or stop.wait(left_ns / NS_PER_S) or self._is_done()
            self._tell(self._teller.news())
            if is_over or elapsed_ns > FIRST_ANSWERS_NS:
                unavailable = collection.collector.meta().unavailable
                # Who had no time to answer is not missing.
                if elapsed_ns <= FIRST_ANSWERS_NS:
                    unavailable = tuple(one for one in unavailable if one.reason != NOT_YET)
                self._tell(unavailable_sources(unavailable))
            if elapsed_ns >= self._next_housekeeping_ns:
                self._next_housekeeping_ns = elapsed_ns + HOUSEKEEPING_NS
                self._keep_within_bounds()
                footprint.give_back()
            if self._memory is not None:
                self._show(self._memory, elapsed_ns)

    def _is_done(self) -> bool:
        """Whether there is nothing left to wait for; asked every second."""
        return False

    def _show(self, memory: MemoryRecording, elapsed_ns: int) -> None:
        summaries = latest(memory, STATUS_WINDOW_NS)
        text = status_text(elapsed_ns, summaries, self._problem)
        self._line.show(text, shutil.get_terminal_size().columns)

    def _keep_within_bounds(self) -> None:
        """Remove what is older or more than the settings allow."""
        if self._problem:
            return
        age_s = self._settings.retention_max_age_s
        bounds = retention.Retention(
            self._settings.retention_max_bytes, None if age_s is None else age_s * NS_PER_S
        )
        retention.apply(self._directory, bounds, time.time_ns())

    def _tell(self, messages: Iterable[str]) -> None:
        for message in messages:
            if message not in self._told:
                self._told.add(message)
                self._line.say(message)
