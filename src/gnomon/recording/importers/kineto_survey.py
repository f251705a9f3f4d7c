"""The first look at a PyTorch trace: what it is of, when its threads called, what they said."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from gnomon._errors import RecordingError
from gnomon.enums import CallLayer
from gnomon.recording.importers import recognising
from gnomon.recording.importers.foreign_values import (
    EARLIEST_NS,
    LARGEST_32,
    LATEST_NS,
    LONGEST_NS,
    clean,
    integer,
)
from gnomon.recording.importers.json_stream import JsonStream
from gnomon.recording.importers.sink import Progress, made_up_process_id, made_up_uuid
from gnomon.recording.importers.spans import UNKNOWN, Spans

EVENTS_KEY = "traceEvents"
EVENTS_BETWEEN_LOOKS = 20_000
LAYERS = {
    "cuda_runtime": CallLayer.CUDA_RUNTIME,
    "cuda_driver": CallLayer.CUDA_DRIVER,
}
ON_GPU = frozenset({"kernel", "gpu_memcpy", "gpu_memset", "cuda_sync"})
# Labels of ranges: whose they are.
OF_THREAD, OF_GPU = 0, 1
# What Kineto called these until 2022.
FORMER_CATEGORIES = {
    "Kernel": "kernel",
    "Memcpy": "gpu_memcpy",
    "Memset": "gpu_memset",
    "Runtime": "cuda_runtime",
    "Operator": "cpu_op",
}
# libkineto/src/DeviceProperties.cpp -> facts of a GPU in meta
DEVICE_FACTS = {
    "name": "name",
    "totalGlobalMem": "vram_total_bytes",
    "numSms": "sm_count",
}
VERSIONS = {
    "cuda_driver_version": "cuda_driver",
    "cuda_runtime_version": "cuda_runtime",
    "cupti_version": "cupti",
}
THREAD_NAME = re.compile(r"thread (\d+) \((.*)\)")

Event = dict[str, Any]


@dataclass(slots=True)
class KinetoSurvey:
    """What one file is of. Times are Unix ns; of a fact that it does not hold nothing is known."""

    path: Path
    base_ns: int = 0
    host: str = ""
    rank: int | None = None
    world_size: int | None = None
    devices: dict[int, dict[str, Any]] = field(default_factory=dict)
    used_devices: set[int] = field(default_factory=set)
    versions: dict[str, str] = field(default_factory=dict)
    calls: Spans = field(default_factory=Spans)
    layers: dict[str, CallLayer] = field(default_factory=dict)
    ranges: Spans = field(default_factory=Spans)
    thread_names: dict[int, str] = field(default_factory=dict)
    pids: Counter[int] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    first_problem: str = ""
    operations: int = 0
    first_ns: int = LATEST_NS
    last_ns: int = 0
    _uuids: dict[int, str] = field(default_factory=dict)

    @property
    def pid(self) -> int | None:
        """The process: that of most calls, operators and annotations."""
        return self.pids.most_common(1)[0][0] if self.pids else None

    @property
    def process_id(self) -> str:
        return made_up_process_id("kineto", self.host, self.rank, self.pid)

    def gpu_uuid(self, device: int) -> str:
        """Return a name of a GPU, once the trace was surveyed: no trace has its uuid.

        Two ranks never share one (NCCL refuses that), and may well call theirs by the same index.
        """
        known = self._uuids.get(device)
        if known is None:
            name = self.devices.get(device, {}).get("name", "")
            known = made_up_uuid("kineto", self.host, self.rank, device, name)
            self._uuids[device] = known
        return known

    def gpus(self) -> dict[str, dict[str, Any]]:
        """Return the facts of each GPU that did something, by its name."""
        known = self.used_devices or set(self.devices)
        return {
            self.gpu_uuid(device): {"index": device} | self.devices.get(device, {})
            for device in sorted(known)
        }

    def times(self, event: Event) -> tuple[int, int]:
        """Return begin and end. Raises ValueError for what is no time.

        ``ts`` and ``dur`` are microseconds, with decimals, whatever displayTimeUnit says.
        """
        begin_ns = _nanoseconds(event.get("ts"), "ts") + self.base_ns
        if self.base_ns and not EARLIEST_NS <= begin_ns <= LATEST_NS:
            raise ValueError(f"ts is {event.get('ts')!s:.40}, which is no time of this century")
        duration_ns = _nanoseconds(event.get("dur", 0), "dur")
        if not 0 <= duration_ns <= LONGEST_NS:
            raise ValueError(f"dur is {event.get('dur')!s:.40}")
        return begin_ns, begin_ns + duration_ns

    def note(self, event: Event, category: str) -> None:
        """Take what one event says."""
        phase = event.get("ph")
        if phase == "X":
            begin_ns, end_ns = self.times(event)
            self._span(event, category, begin_ns, end_ns)
        elif phase == "M":
            self._metadata(event)
        elif phase == "i" and event.get("name") == "Record Window End":
            self._reach(*self.times(event))
        else:
            # Flows repeat what correlation ids say.
            self._leave_out(category or f"ph {phase!s:.10}")

    def take_fact(self, key: str, value: Any) -> None:
        """Take what stands beside the events."""
        if key == "baseTimeNanoseconds":
            self._rebase(integer(value, 0, LATEST_NS) or 0)
        elif key == "host_name":
            self.host = clean(value, 200) or ""
        elif key == "distributedInfo" and isinstance(value, dict):
            self.rank = integer(value.get("rank"), 0, LARGEST_32)
            self.world_size = integer(value.get("world_size"), 0, LARGEST_32)
        elif key == "deviceProperties" and isinstance(value, list):
            self._take_devices(value)
        elif key in VERSIONS and isinstance(value, int | str):
            self.versions[VERSIONS[key]] = str(value)[:40]

    def _span(self, event: Event, category: str, begin_ns: int, end_ns: int) -> None:
        if category == "Trace":
            self._reach(begin_ns, end_ns)
            return
        if category in ON_GPU:
            self.operations += 1
            self._reach(begin_ns, end_ns)
            self.used_devices.add(device_of(event))
            return
        if category == "gpu_user_annotation":
            name = clean(event.get("name")) or "?"
            # A GPU's streams are no threads: they nest among themselves.
            stream = (-1 - device_of(event), _id(event, "tid"))
            self.ranges.add(stream, (begin_ns, end_ns), name, OF_GPU)
            return
        if category not in LAYERS and category != "user_annotation":
            self._leave_out(category or "without a category")
            return
        thread = _id(event, "pid"), _id(event, "tid")
        name = clean(event.get("name")) or "?"
        self.pids[thread[0]] += 1
        self._reach(begin_ns, end_ns)
        if category == "user_annotation":
            self.ranges.add(thread, (begin_ns, end_ns), name, OF_THREAD)
        else:
            correlation = integer(arguments(event).get("correlation"), 1)
            label = UNKNOWN if correlation is None else correlation
            self.calls.add(thread, (begin_ns, end_ns), name, label)
            self.layers[name] = LAYERS[category]

    def _leave_out(self, category: str) -> None:
        self.left_out[clean(category, 40) or ""] += 1

    def _metadata(self, event: Event) -> None:
        name = arguments(event).get("name")
        if event.get("name") == "thread_name" and isinstance(name, str):
            found = THREAD_NAME.fullmatch(name)
            tid = integer(event.get("tid"), 1, LARGEST_32)
            if found and tid is not None:
                self.thread_names[tid] = clean(found[2], 64) or ""

    def _rebase(self, base_ns: int) -> None:
        """Take what times count from; other tools write it behind the events."""
        if self.last_ns:
            self.calls.shift(base_ns - self.base_ns)
            self.ranges.shift(base_ns - self.base_ns)
            self.first_ns += base_ns - self.base_ns
            self.last_ns += base_ns - self.base_ns
        self.base_ns = base_ns

    def _reach(self, begin_ns: int, end_ns: int) -> None:
        self.first_ns = min(self.first_ns, begin_ns)
        self.last_ns = max(self.last_ns, end_ns)

    def _take_devices(self, listed: list[Any]) -> None:
        for one in listed:
            if not isinstance(one, dict) or (device := integer(one.get("id"), 0, 1024)) is None:
                continue
            facts = {ours: one[theirs] for theirs, ours in DEVICE_FACTS.items() if theirs in one}
            major, minor = one.get("computeMajor"), one.get("computeMinor")
            if isinstance(major, int) and isinstance(minor, int):
                facts["compute_capability"] = f"{major}.{minor}"
            threads, warp = one.get("maxThreadsPerMultiprocessor"), one.get("warpSize")
            if isinstance(threads, int) and isinstance(warp, int) and warp > 0:
                facts["max_warps_per_sm"] = threads // warp
            self.devices[device] = facts


def survey(path: Path, progress: Progress) -> KinetoSurvey:
    """Read a trace once. Raises RecordingError for a file that is none, or holds no times."""
    found = KinetoSurvey(path)
    stream = JsonStream(path, EVENTS_KEY)
    is_trace = False
    try:
        for event in stream.read(found.take_fact):
            if not isinstance(event, dict):
                raise recognising.refusal(path, "a trace", "its elements are no events")
            is_trace = is_trace or "ph" in event
            try:
                found.note(event, category_of(event))
            except ValueError as error:
                found.unreadable += 1
                found.first_problem = found.first_problem or f"event {stream.elements + 1}: {error}"
            if stream.elements % EVENTS_BETWEEN_LOOKS == 0:
                progress(f"{path.name}: calls", stream.share())
    except RecordingError:
        if not is_trace:
            looks_like, remedy = recognising.what_it_is(path)
            if looks_like and "kineto" not in remedy:
                problem = "it is no JSON with traceEvents"
                raise recognising.refusal(path, "a PyTorch trace", problem) from None
        raise
    if not is_trace:
        raise recognising.refusal(path, "a PyTorch trace", "it has no traceEvents")
    _check_times(found)
    return found


def _check_times(found: KinetoSurvey) -> None:
    if not found.last_ns:
        reason = found.first_problem or "it has no calls, annotations or GPU operations"
        raise RecordingError(f"{found.path}: nothing could be imported: {reason}")
    if not EARLIEST_NS <= found.first_ns <= found.last_ns <= LATEST_NS:
        raise RecordingError(
            f"{found.path}: its times are no Unix times: the first is {found.first_ns / 1e9:.3f} s "
            "after 1970 (PyTorch says so in baseTimeNanoseconds, which another tool may have "
            "dropped); export the trace again from torch.profiler"
        )


def category_of(event: Event) -> str:
    category = event.get("cat")
    return FORMER_CATEGORIES.get(category, category) if isinstance(category, str) else ""


def arguments(event: Event) -> dict[str, Any]:
    found = event.get("args")
    return found if isinstance(found, dict) else {}


def device_of(event: Event) -> int:
    """Return the index of the GPU. Raises ValueError where there is none."""
    args = arguments(event)
    for value in (args.get("device"), args.get("inDevice"), event.get("pid")):
        device = integer(value, 0, 1024)
        if device is not None:
            return device
    raise ValueError("it names no device")


def _id(event: Event, key: str) -> int:
    value = integer(event.get(key), 0, LARGEST_32)
    if value is None:
        raise ValueError(f"{key} is {event.get(key)!s:.40}, not an id")
    return value


def _nanoseconds(microseconds: Any, name: str) -> int:
    if isinstance(microseconds, int | Decimal) and not isinstance(microseconds, bool):
        try:
            value = int(microseconds * 1000)
        except (ArithmeticError, ValueError, OverflowError):
            value = LATEST_NS + 1
        if abs(value) <= LATEST_NS:
            return value
    raise ValueError(f"{name} is {microseconds!s:.40}, not a time")
