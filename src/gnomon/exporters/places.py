"""Where things happen in a trace: processes, their threads, GPUs and their streams, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from gnomon.exporters.nest import Nest
from gnomon.exporters.perfetto_file import PerfettoFile
from gnomon.exporters.rows import PROCESS_OF_HOST, Row
from gnomon.recording.base import Session

THREADS_SQL = f"""\
SELECT {PROCESS_OF_HOST}, any_value(host) AS host, any_value(pid) AS pid, tid,
  arg_max(name, ts_ns) AS name, arg_max(process_name, ts_ns) AS process_name,
  any_value(role) AS role, any_value(rank) AS rank
FROM threads GROUP BY process, tid ORDER BY any_value(role) IS NOT NULL, process, tid"""
PROCESSES_SQL = """\
SELECT coalesce(process_id, concat_ws('/', pid)) AS process, arg_max(name, ts_ns) AS name
FROM gpu_processes GROUP BY process"""
# Under a GPU: its counters, then those sampled, then its streams.
SAMPLED_RANK, STREAM_RANK = 100, 200


class GpuKey(NamedTuple):
    """A GPU, or an instance of one."""

    gpu_uuid: str | None
    mig_uuid: str | None


@dataclass(frozen=True, slots=True)
class _Process:
    track: int
    # None where another process of the trace, of another host, has the same pid.
    pid: int | None


class Places:
    """The tracks of a trace, made when something happens there for the first time."""

    def __init__(
        self,
        file: PerfettoFile,
        session: Session,
        gpus: Mapping[str, Mapping[str, Any]],
        hosts: Mapping[str, str],
    ) -> None:
        """``gpus``: as in ``Meta``; ``hosts``: of GPUs, where there are several."""
        self.file = file
        self._gpu_facts = gpus
        self._hosts = hosts
        threads = session.rows(THREADS_SQL)
        self._threads = {(one["process"], one["tid"]): one for one in threads}
        # What a process is called is not what a recorder's thread in it is.
        self._members = {one["process"]: one for one in reversed(threads)}
        self._names = {one["process"]: one["name"] for one in session.rows(PROCESSES_SQL)}
        self._is_of_hosts = len({one["host"] for one in threads}) > 1
        self._pids: set[int] = set()
        self._processes: dict[str, _Process] = {}
        self._thread_tracks: dict[tuple[str, int | None], int] = {}
        self._gpus: dict[GpuKey, int] = {}
        self._nests: dict[tuple[Any, ...], Nest] = {}

    def gpu(self, key: GpuKey) -> int:
        """Return the track that all of a GPU is under."""
        if key not in self._gpus:
            self._gpus[key] = self.file.group(self._gpu_name(key))
        return self._gpus[key]

    def process(self, row: Row) -> int:
        """Return the track of a row's process."""
        return self._process(row).track

    def stream(self, row: Row, suffix: str = "") -> Nest:
        """Return what happens on a row's stream, where nothing can be inside of anything."""
        key = GpuKey(row["gpu_uuid"], row["mig_uuid"])
        stream = (row["process"], row["context_id"], row["stream_id"])

        def new_track() -> int:
            number = "unknown" if row["stream_id"] is None else row["stream_id"]
            whose = f"process {row['pid']}" if row["pid"] is not None else "unknown process"
            name = f"stream {number}{suffix} (context {row['context_id']}, {whose})"
            return self.file.track(name, parent=self.gpu(key), rank=STREAM_RANK)

        return self._nest(("stream", key, *stream, suffix), new_track, may_nest=bool(suffix))

    def thread(self, row: Row) -> Nest:
        """Return what a row's thread calls."""
        key = ("calls", row["process"], row["tid"])
        first = [] if key in self._nests else [self._thread_track(row)]

        def new_track() -> int:
            return first.pop() if first else self._beside(row, "calls that overlap")

        return self._nest(key, new_track)

    def beside(self, row: Row, what: str) -> Nest:
        """Return something else that a row's thread does, under its own track."""
        return self._nest((what, row["process"], row["tid"]), lambda: self._beside(row, what))

    def of_process(self, row: Row, what: str) -> Nest:
        """Return something that happens to a row's process as a whole."""
        return self._nest(
            (what, row["process"]), lambda: self.file.track(what, parent=self.process(row))
        )

    def of_all(self, what: str) -> Nest:
        """Return something that happens to all that is recorded."""
        return self._nest((what,), lambda: self.file.track(what))

    def close(self) -> None:
        """End what is open."""
        for nest in self._nests.values():
            nest.close()

    def _nest(self, key: tuple[Any, ...], new_track: Any, *, may_nest: bool = True) -> Nest:
        if key not in self._nests:
            self._nests[key] = Nest(self.file, new_track, may_nest=may_nest)
        return self._nests[key]

    def _beside(self, row: Row, what: str) -> int:
        return self.file.track(what, parent=self._thread_track(row))

    def _process(self, row: Row) -> _Process:
        known = self._processes.get(row["process"])
        if known is None:
            pid = row["pid"]
            name = self._process_name(row)
            if pid is None or pid in self._pids:
                known = _Process(self.file.group(f"{name} (process {pid})"), None)
            else:
                self._pids.add(pid)
                known = _Process(self.file.process(name, pid), pid)
            self._processes[row["process"]] = known
        return known

    def _thread_track(self, row: Row) -> int:
        key = (row["process"], row["tid"])
        if key not in self._thread_tracks:
            process = self._process(row)
            name = self._thread_name(row)
            if process.pid is None or row["tid"] is None:
                track = self.file.group(f"{name} (thread {row['tid']})", parent=process.track)
            else:
                track = self.file.thread(name, process.pid, row["tid"], parent=process.track)
            self._thread_tracks[key] = track
        return self._thread_tracks[key]

    def _gpu_name(self, key: GpuKey) -> str:
        if key.gpu_uuid is None:
            return "unknown GPU"
        facts = self._gpu_facts.get(key.gpu_uuid, {})
        parts = [f"GPU {facts['index']}"] if "index" in facts else ["GPU"]
        parts += [str(facts["name"])] if "name" in facts else []
        parts += [self._hosts[key.gpu_uuid]] if key.gpu_uuid in self._hosts else []
        return ", ".join([*parts, key.mig_uuid or key.gpu_uuid])

    def _process_name(self, row: Row) -> str:
        known = self._members.get(row["process"], {})
        parts = [known.get("process_name") or self._names.get(row["process"]) or "process"]
        if known.get("rank") is not None:
            parts.append(f"rank {known['rank']}")
        if self._is_of_hosts and known.get("host"):
            parts.append(str(known["host"]))
        return ", ".join(parts)

    def _thread_name(self, row: Row) -> str:
        known = self._threads.get((row["process"], row["tid"]), {})
        name = known.get("name") or "thread"
        return f"{name} ({known['role']})" if known.get("role") else str(name)
