"""What ran on each GPU and when, for everything that looks at a GPU's time: kernels and copies.

Only what lies in ``known`` may be judged: there a window of recording was open in every process
that worked on the GPU. Between its first and its last window a process is there; outside of its
windows it may have run anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnomon.analysis.interval_sets import FIRST_NS, LAST_NS, intersection, picked, union
from gnomon.analysis.intervals import Intervals, Ints
from gnomon.analysis.kernel_names import Families, demangled, load_families, short_name
from gnomon.analysis.questions import Span, literal
from gnomon.enums import CopyDirection, KernelFamily
from gnomon.recording.base import Session

# A GPU, or a MIG instance of one, by uuid.
Gpu = tuple[str | None, str | None]

UNNAMED = "kernel without a name"
PROCESS = "coalesce(process_id, pid::VARCHAR, '')"
# Times of a replay are not those of the run; where CUPTI recorded, others saw the same again.
NOT_THE_RUN = "ncu"
BEST_SOURCE = "cupti"

GPUS_SQL = """\
SELECT gpu_uuid, mig_uuid, {process} AS process, any_value(pid) AS pid, source,
  count(*)::BIGINT AS operations
FROM (
  SELECT gpu_uuid, mig_uuid, process_id, pid, source FROM kernels WHERE {where}
  UNION ALL SELECT gpu_uuid, mig_uuid, process_id, pid, source FROM copies WHERE {where}
) WHERE gpu_uuid IS NOT NULL AND source IS DISTINCT FROM '{never}'
GROUP BY ALL ORDER BY gpu_uuid, mig_uuid, process"""

WINDOWS_SQL = """\
SELECT {process} AS process, source, ts_ns, duration_ns, coalesce(dropped, 0) AS dropped
FROM kernel_windows ORDER BY ts_ns"""

NAMES_SQL = """\
SELECT name_hash, any_value(name) AS name, any_value(mangled_name) AS mangled_name,
  any_value(family) AS family
FROM kernel_names WHERE name_hash IS NOT NULL GROUP BY name_hash ORDER BY name_hash"""

# Text and hashes become small numbers in the database: they are all that comes out of it.
KERNELS_SQL = """\
SELECT ts_ns - coalesce(duration_ns, 0) AS start_ns, ts_ns AS end_ns,
  coalesce(label, {unnamed})::INTEGER AS label, coalesce(stream, 0)::INTEGER AS stream,
  coalesce(enqueued_ns, 0) AS enqueued_ns
FROM kernels
LEFT JOIN (
  SELECT name_hash, row_number() OVER (ORDER BY name_hash) - 1 AS label
  FROM (SELECT DISTINCT name_hash FROM kernel_names WHERE name_hash IS NOT NULL)
) AS named USING (name_hash)
LEFT JOIN ({streams}) AS streams
  ON {process} = of_process AND coalesce(context_id, 0) = of_context AND stream_id = of_stream
WHERE {where}"""

# Streams of both tables, numbered alike.
STREAMS_SQL = """\
SELECT of_process, of_context, of_stream,
  row_number() OVER (ORDER BY of_process, of_context, of_stream) AS stream
FROM (
  SELECT DISTINCT {process} AS of_process, coalesce(context_id, 0) AS of_context,
    stream_id AS of_stream
  FROM (
    SELECT process_id, pid, context_id, stream_id FROM kernels WHERE {where}
    UNION ALL SELECT process_id, pid, context_id, stream_id FROM copies WHERE {where}
  ) WHERE stream_id IS NOT NULL
)"""

KINDS_SQL = """\
SELECT *, row_number() OVER (
  ORDER BY of_operation, of_direction, of_source, of_destination) - 1 AS kind
FROM (
  SELECT DISTINCT coalesce(operation, 'memcpy') AS of_operation,
    coalesce(direction, '') AS of_direction, coalesce(source_memory, '') AS of_source,
    coalesce(destination_memory, '') AS of_destination
  FROM copies
)"""

COPIES_SQL = """\
SELECT ts_ns - coalesce(duration_ns, 0) AS start_ns, ts_ns AS end_ns, kind::INTEGER AS label,
  coalesce(stream, 0)::INTEGER AS stream, coalesce(enqueued_ns, 0) AS enqueued_ns,
  coalesce(bytes, -1) AS bytes
FROM copies JOIN ({kinds}) AS kinds ON coalesce(operation, 'memcpy') = of_operation
  AND coalesce(direction, '') = of_direction AND coalesce(source_memory, '') = of_source
  AND coalesce(destination_memory, '') = of_destination
LEFT JOIN ({streams}) AS streams
  ON {process} = of_process AND coalesce(context_id, 0) = of_context AND stream_id = of_stream
WHERE {where}"""

SQL = {"kernels": KERNELS_SQL, "copies": COPIES_SQL}


@dataclass(frozen=True, slots=True)
class KernelLabel:
    """A kernel's name, demangled, the same for people, and what it is for."""

    name: str
    short: str
    family: KernelFamily


@dataclass(frozen=True, slots=True)
class CopyLabel:
    """A kind of copy or fill; words are empty where they were not recorded."""

    operation: str
    direction: str
    source_memory: str
    destination_memory: str

    @property
    def is_on_sms(self) -> bool:
        """Whether SMs do it: fills, and copies within the GPU, count as work of the engine."""
        return self.operation == "memset" or self.direction == CopyDirection.DEVICE_TO_DEVICE

    @property
    def short(self) -> str:
        """As people say it: ``copy h2d, pinned to device``."""
        if self.operation == "memset":
            return "fill"
        way = " to ".join(word for word in (self.source_memory, self.destination_memory) if word)
        return ", ".join(part for part in (f"copy {self.direction}".strip(), way) if part)


@dataclass(frozen=True, slots=True)
class Ran:
    """n operations of one GPU in the order of their starts, Unix ns; arrays of shape (n,).

    ``label`` is a place among the labels of its kind, ``stream`` a number that is 0 where the
    stream is not known, ``enqueued_ns`` when the call that enqueued it began, 0 where nobody knows.
    """

    spans: Intervals
    label: Ints
    stream: Ints
    enqueued_ns: Ints

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def duration_ns(self) -> Ints:
        """Shape (n,)."""
        return self.spans.end_ns - self.spans.start_ns


@dataclass(frozen=True, slots=True)
class GpuWork:
    """Kernels and copies of one GPU, and when everything that ran there was recorded.

    ``bytes`` is of copies, -1 where null. ``streams``: process, context and stream by number, from
    1 on. ``pids``: processes that worked there. ``dropped``:
    records that were lost in those windows; what they were, ran in time that looks empty.
    """

    gpu_uuid: str
    mig_uuid: str | None
    pids: tuple[int, ...]
    known: Intervals
    dropped: int
    streams: Sequence[tuple[str, int, int]]
    kernels: Ran
    kernel_labels: Sequence[KernelLabel]
    copies: Ran
    copy_labels: Sequence[CopyLabel]
    bytes: Ints

    def of_families(self, *families: KernelFamily) -> Intervals:
        """Return the kernels of some families."""
        chosen = np.array([one.family in families for one in self.kernel_labels], dtype=bool)
        return picked(self.kernels.spans, chosen[self.kernels.label])

    def copies_on_sms(self) -> Intervals:
        """Return the copies and fills that count as work of the engine."""
        chosen = np.array([one.is_on_sms for one in self.copy_labels], dtype=bool)
        return picked(self.copies.spans, chosen[self.copies.label])


def gpu_works(
    session: Session, span: Span, families: Families | None = None, only: Gpu | None = None
) -> Iterator[GpuWork]:
    """Yield the work of each GPU in a span, or of one, one at a time, ordered by uuid."""
    rows = session.rows(GPUS_SQL.format(process=PROCESS, where=_inside(span), never=NOT_THE_RUN))
    windows = session.rows(WINDOWS_SQL.format(process=PROCESS))
    kernel_labels = _kernel_labels(session, families or load_families())
    copy_labels = _copy_labels(session)
    for gpu in dict.fromkeys((row["gpu_uuid"], row["mig_uuid"]) for row in rows):
        mine = [row for row in rows if (row["gpu_uuid"], row["mig_uuid"]) == gpu]
        if only not in (None, gpu):
            continue
        source = _source(mine)
        mine = [row for row in mine if row["source"] == source]
        here = [
            row
            for row in windows
            if row["source"] == source and row["process"] in {one["process"] for one in mine}
        ]
        where = _where(*gpu, source, span)
        kernels, _ = _ran(session, "kernels", where, unnamed=len(kernel_labels) - 1)
        copies, sizes = _ran(session, "copies", where, kinds=KINDS_SQL)
        yield GpuWork(
            *gpu,
            tuple(sorted({row["pid"] for row in mine if row["pid"] is not None})),
            _known(here, span),
            sum(row["dropped"] for row in here),
            _streams(session, where),
            kernels,
            kernel_labels,
            copies,
            copy_labels,
            sizes,
        )


def known_time(windows: Sequence[Intervals]) -> Intervals:
    """Return when everything was recorded; ``windows``: those of each process, in any order."""
    sets = [one for one in map(union, windows) if not one.is_empty]
    if not sets:
        nothing = np.zeros(0, dtype=np.int64)
        return Intervals(nothing, nothing)
    known = union(*sets)
    for one in sets:
        away = Intervals(np.array([FIRST_NS, one.end_ns[-1]]), np.array([one.start_ns[0], LAST_NS]))
        known = intersection(known, union(one, away))
    return known


def _known(rows: Sequence[Mapping[str, Any]], span: Span) -> Intervals:
    windows: dict[str, list[tuple[int, int]]] = {}
    for row in rows:
        begin_ns = row["ts_ns"] - (row["duration_ns"] or 0)
        windows.setdefault(row["process"], []).append((begin_ns, row["ts_ns"]))
    sets = [Intervals(*np.array(pairs, dtype=np.int64).T) for pairs in windows.values()]
    whole = Intervals(np.array([span.from_ns]), np.array([span.to_ns]))
    return intersection(known_time(sets), whole)


def _source(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the recorder that is believed: CUPTI, else the one that saw most."""
    seen: dict[str | None, int] = {}
    for row in rows:
        seen[row["source"]] = seen.get(row["source"], 0) + row["operations"]
    return BEST_SOURCE if BEST_SOURCE in seen else max(seen, key=lambda name: seen[name])


def _kernel_labels(session: Session, families: Families) -> Sequence[KernelLabel]:
    """Return the names in the order of their hashes, and that of a kernel without one."""
    known = set(KernelFamily)
    labels = []
    for row in session.rows(NAMES_SQL):
        name = row["name"] or demangled(row["mangled_name"] or UNNAMED)
        family = row["family"] if row["family"] in known else families.of(name)
        labels.append(KernelLabel(name, short_name(name), KernelFamily(family)))
    return [*labels, KernelLabel(UNNAMED, UNNAMED, KernelFamily.OTHER)]


def _copy_labels(session: Session) -> Sequence[CopyLabel]:
    names = ("of_operation", "of_direction", "of_source", "of_destination")
    rows = session.rows(f"{KINDS_SQL} ORDER BY kind")
    return [CopyLabel(*(row[name] for name in names)) for row in rows]


def _streams(session: Session, where: str) -> Sequence[tuple[str, int, int]]:
    rows = session.rows(f"{STREAMS_SQL.format(process=PROCESS, where=where)} ORDER BY stream")
    return [(row["of_process"], row["of_context"], row["of_stream"]) for row in rows]


def _ran(session: Session, table: str, where: str, **more: Any) -> tuple[Ran, Ints]:
    """Return operations in the order of their starts, and the bytes of each where it has them."""
    streams = STREAMS_SQL.format(process=PROCESS, where=where)
    query = SQL[table].format(process=PROCESS, where=where, streams=streams, **more)
    found = dict(session.arrays(query).columns)
    if not _is_ordered(found["start_ns"]):
        order = np.argsort(found["start_ns"], kind="stable")
        for name in found:
            found[name] = found[name][order]
    spans = Intervals(found["start_ns"], found["end_ns"])
    ran = Ran(spans, found["label"], found["stream"], found["enqueued_ns"])
    return ran, found.get("bytes", np.zeros(0, dtype=np.int64))


def _is_ordered(values: Ints) -> bool:
    return bool((values[1:] >= values[:-1]).all())


def _where(gpu_uuid: str, mig_uuid: str | None, source: str | None, span: Span) -> str:
    parts = [f"gpu_uuid = {literal(gpu_uuid)}", _inside(span)]
    for name, value in (("mig_uuid", mig_uuid), ("source", source)):
        parts.append(f"{name} IS NULL" if value is None else f"{name} = {literal(value)}")
    return " AND ".join(parts)


def _inside(span: Span) -> str:
    """Operations that touch a span, those that began in it and ended after it included."""
    return f"ts_ns > {span.from_ns} AND ts_ns - coalesce(duration_ns, 0) < {span.to_ns}"
