"""PyTorch traces (Kineto's Chrome JSON, plain or gzip) turned into rows of our tables.

Each file is read twice, a window at a time: first what it is of and when its threads called, then
what its GPUs did, with the call that enqueued it. Only calls and annotations are held, 48 bytes
each. Field names are those of libkineto (CudaMetadataFields.h, CuptiActivity.cpp,
output_json.cpp).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gnomon._errors import RecordingError
from gnomon.enums import EventKind
from gnomon.recording.importers import kineto_rows as rows
from gnomon.recording.importers.json_stream import JsonStream
from gnomon.recording.importers.kineto_rows import SOURCE, OperationReader
from gnomon.recording.importers.kineto_survey import (
    EVENTS_BETWEEN_LOOKS,
    EVENTS_KEY,
    KinetoSurvey,
    category_of,
    survey,
)
from gnomon.recording.importers.publishing import published
from gnomon.recording.importers.sink import (
    HOST_ID,
    ImportOutcome,
    KernelNames,
    Progress,
    Provenance,
    Sink,
)
from gnomon.recording.writer import RecordingWriter

UNVERIFIED = (
    "events of GPUs were checked against Kineto's sources and a trace that its project publishes, "
    "not against a trace of a workload and our own recording of the same run"
)
UNAVAILABLE = {
    "gpu_counters": "a trace has no counters",
    "gpu_uuid": "a trace numbers its GPUs: the uuids are made up of host, rank, number and name",
    "kernels.static_shared_bytes": "a trace tells static and dynamic shared memory together",
    "kernels.local_bytes_per_thread": "not in a trace",
    "host_calls.off_cpu_ns": "a trace has no scheduling",
    "ranges of operators": "cpu_op and python_function events are left out: they are the bulk of a "
    "trace",
}


def import_kineto(
    paths: Sequence[Path], directory: Path, progress: Progress | None = None
) -> ImportOutcome:
    """Turn traces, one a rank or several of one, into a recording in ``directory``.

    ``progress`` is told what comes next and the share (0 to 1) of it that is done. Raises
    RecordingError that names the file and the place; then nothing is written.
    """
    tell = progress or (lambda _name, _share: None)
    outcome = ImportOutcome(SOURCE)
    _refuse_twice([path.resolve() for path in paths], paths)
    found: list[KinetoSurvey] = []
    with published(directory) as hidden, RecordingWriter(hidden, HOST_ID) as writer:
        sink = Sink(writer, outcome)
        names = KernelNames(sink)
        for path in paths:
            one = survey(path, tell)
            _write(one, sink, names, tell)
            found.append(one)
        _refuse_twice([(one.process_id, one.first_ns, one.last_ns) for one in found], paths)
        sink.finish()
        writer.update_meta(_provenance(found).meta())
    return outcome


def _write(found: KinetoSurvey, sink: Sink, names: KernelNames, tell: Progress) -> None:
    reader = OperationReader(found, found.calls.begins_by_label(), names)
    stream = JsonStream(found.path, EVENTS_KEY)
    for event in stream.read(lambda _key, _value: None):
        try:
            row = reader.take(event, category_of(event))
        except ValueError as error:
            # What has no time was counted when the file was first read.
            if not _is_counted(found, event):
                found.unreadable += 1
                found.first_problem = found.first_problem or f"event {stream.elements + 1}: {error}"
            continue
        if row is not None:
            sink.put(*row)
        if stream.elements % EVENTS_BETWEEN_LOOKS == 0:
            tell(f"{found.path.name}: GPUs", stream.share())
    sink.put_all("host_calls", rows.call_rows(found))
    sink.put_all("ranges", rows.range_rows(found))
    sink.put_all("threads", rows.thread_rows(found))
    sink.put("kernel_windows", rows.window_row(found))
    for category, count in found.left_out.items():
        sink.leave_out(category, count)
    if found.unreadable:
        sink.lose(found.last_ns, "kernels", found.unreadable, "unreadable")
        message = f"{found.unreadable:,} events cannot be read; first, {found.first_problem}"
        sink.warn(found.last_ns, EventKind.NOT_RECORDED, f"{found.path.name}: {message}")
    if not found.operations:
        message = "no GPU did anything in this trace: was ProfilerActivity.CUDA on?"
        sink.warn(found.last_ns, EventKind.NOT_RECORDED, f"{found.path.name}: {message}")
    # Spans are what takes room.
    found.calls, found.ranges = type(found.calls)(), type(found.ranges)()


def _is_counted(found: KinetoSurvey, event: dict[str, Any]) -> bool:
    try:
        KinetoSurvey(found.path, base_ns=found.base_ns).note(event, category_of(event))
    except ValueError:
        return True
    return False


def _provenance(found: list[KinetoSurvey]) -> Provenance:
    gpus: dict[str, dict[str, Any]] = {}
    versions: dict[str, str] = {}
    for one in found:
        gpus |= one.gpus()
        versions |= one.versions
    hosts = sorted({one.host for one in found if one.host})
    return Provenance(
        SOURCE,
        tuple(one.path.name for one in found),
        UNVERIFIED,
        host={"name": hosts[0]} if len(hosts) == 1 else {"names": hosts},
        gpus=gpus,
        versions=versions,
        unavailable=UNAVAILABLE,
    )


def _refuse_twice(keys: Sequence[object], paths: Sequence[Path]) -> None:
    for at, key in enumerate(keys):
        if key in keys[:at]:
            raise RecordingError(
                f"{paths[at]}: the same trace as {paths[keys.index(key)]}; give each once"
            )
