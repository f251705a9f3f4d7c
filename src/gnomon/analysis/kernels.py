"""The table of kernels: what each took, how it varies, what lies before it, how it fills an SM.

Shapes come from one question to the database, the kernels themselves as arrays: 10 million of
them are sorted in memory, which takes a database's window functions several times as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnomon.analysis.intervals import Floats, Ints
from gnomon.analysis.kernel_names import Families, load_families
from gnomon.analysis.kernel_sequence import AT_ONCE, Codes, Gaps, Kernels, counts, gaps
from gnomon.analysis.kernel_shapes import SHAPE_SQL, Known, known_shapes
from gnomon.analysis.kernel_spread import Spread, spread
from gnomon.analysis.kernel_types import By, KernelGpu, KernelRow, KernelTable
from gnomon.analysis.questions import Span, literal
from gnomon.recording.base import Questionable, Session

STREAM = "gpu_uuid, mig_uuid, process_id, pid, context_id, stream_id"
STREAM_SQL = f"hash({STREAM})"
STREAMS_SQL = f"""\
SELECT {STREAM_SQL} AS code, gpu_uuid, mig_uuid, process_id, pid
FROM kernels WHERE {{where}} AND ts_ns IN ({{times}}) GROUP BY {STREAM}"""
KERNELS_SQL = f"""\
SELECT ts_ns, duration_ns, {SHAPE_SQL} AS shape, {STREAM_SQL} AS stream
FROM kernels WHERE {{where}}"""
WINDOWS_SQL = """\
SELECT process_id, pid, ts_ns - duration_ns AS from_ns, ts_ns AS to_ns, dropped
FROM kernel_windows WHERE ts_ns > {span.from_ns} AND ts_ns - duration_ns < {span.to_ns}
ORDER BY from_ns"""

Gpu = tuple[str | None, str | None]
Process = tuple[str | None, int | None]


def kernel_table(
    measurements: Questionable,
    span: Span,
    by: By = By.NAME,
    gpu: Gpu | None = None,
    families: Families | None = None,
) -> KernelTable:
    """Return the kernels that ended in a span, those that took most time first.

    ``gpu``: of one GPU only, uuid and that of its MIG instance.
    """
    where = f"{span.condition} AND duration_ns IS NOT NULL"
    if gpu is not None:
        where += "".join(
            f" AND {name} IS NOT DISTINCT FROM {literal(value)}"
            for name, value in zip(("gpu_uuid", "mig_uuid"), gpu, strict=True)
        )
    with measurements.session() as session:
        windows = _Windows.of(session, span)
        read = _Read.of(session, where)
        if not len(read.kernels):
            return KernelTable(span, by, windows.are_known, windows.dropped, (), ())
        of_code = known_shapes(
            session, where, read.times_sql, measurements.meta(), families or load_families()
        )
    known = [of_code[code] for code in read.shapes]
    kernels = read.kernels
    gpus, on_stream, on_gpu = _sequence(kernels, read.stream, read.streams, windows)
    rows = _Rows(known, kernels, on_stream, on_gpu, sum(one.covered_ns for one in gpus))
    found = sorted(rows.by(by), key=lambda row: (-row.total_ns, row.name))
    return KernelTable(span, by, windows.are_known, windows.dropped, gpus, found)


@dataclass(frozen=True, slots=True)
class _Windows:
    """When each process was recorded, as far as it is known."""

    span: Span
    of_process: Mapping[Process, Sequence[tuple[int, int]]]
    dropped: int | None

    @classmethod
    def of(cls, session: Session, span: Span) -> _Windows:
        of_process: dict[Process, list[tuple[int, int]]] = {}
        dropped = None
        for row in session.rows(WINDOWS_SQL.format(span=span)):
            inside = max(row["from_ns"], span.from_ns), min(row["to_ns"], span.to_ns)
            of_process.setdefault((row["process_id"], row["pid"]), []).append(inside)
            if row["dropped"] is not None:
                dropped = (dropped or 0) + row["dropped"]
        return cls(span, of_process, dropped)

    @property
    def are_known(self) -> bool:
        return bool(self.of_process)

    def union(self, processes: set[Process]) -> Ints | None:
        """Return (n, 2): when some process of these was recorded; None where nobody said."""
        if not self.are_known:
            return None
        merged: list[list[int]] = []
        for begin, end in sorted(
            one for process in processes for one in self.of_process.get(process, ())
        ):
            if merged and begin <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], end)
            else:
                merged.append([begin, end])
        return np.array(merged, dtype=np.int64).reshape(-1, 2)


@dataclass(frozen=True, slots=True)
class _Read:
    """Kernels as they were read: ``shapes`` are the codes of their shapes, by number.

    ``stream`` (n,) is the number of each one's stream, ``streams`` whose they are. ``times_sql``:
    ends of kernels, of which each shape has one.
    """

    kernels: Kernels
    stream: Codes
    shapes: Sequence[int]
    streams: Sequence[tuple[Gpu, Process]]
    times_sql: str

    @classmethod
    def of(cls, session: Session, where: str) -> _Read:
        read = session.arrays(KERNELS_SQL.format(where=where), numbered=("shape", "stream"))
        stream, end_ns = read.columns["stream"], read.columns["ts_ns"]
        shapes, streams = read.values["shape"], read.values["stream"]
        # In place: ten million numbers are 80 MB.
        start_ns = read.columns["duration_ns"]
        np.subtract(end_ns, start_ns, out=start_ns)
        kernels = Kernels(start_ns, end_ns, read.columns["shape"], len(shapes))
        times = _times(end_ns, stream, len(streams))
        rows = session.rows(STREAMS_SQL.format(where=where, times=times)) if streams else []
        whose = {
            row["code"]: ((row["gpu_uuid"], row["mig_uuid"]), (row["process_id"], row["pid"]))
            for row in rows
        }
        times = _times(end_ns, kernels.shape, len(shapes))
        return cls(kernels, stream, shapes, [whose[code] for code in streams], times)


def _times(end_ns: Ints, numbers: Codes, many: int) -> str:
    """Return the end of a kernel of each number, as it stands in SQL."""
    place = np.zeros(many, dtype=np.int64)
    for low in range(0, len(numbers), AT_ONCE):
        part = numbers[low : low + AT_ONCE]
        place[part] = np.arange(low, low + len(part))
    return ", ".join(map(str, np.unique(end_ns[place]).tolist()))


def _sequence(
    kernels: Kernels, stream: Codes, streams: Sequence[tuple[Gpu, Process]], windows: _Windows
) -> tuple[Sequence[KernelGpu], Gaps, Gaps]:
    """Return the GPUs, and the gaps on streams and on GPUs."""
    of_stream = [_begins(windows.union({process})) for _, process in streams]
    processes: dict[Gpu, set[Process]] = {}
    for gpu, process in streams:
        processes.setdefault(gpu, set()).add(process)
    gpus = list(processes)
    gpu_of = np.array([gpus.index(gpu) for gpu, _ in streams], dtype=np.uint16)[stream]
    covered = [windows.union(processes[gpu]) for gpu in gpus]
    with ThreadPoolExecutor(2) as pool:
        both = pool.map(
            gaps, (kernels, kernels), (stream, gpu_of), (of_stream, list(map(_begins, covered)))
        )
        on_stream, on_gpu = both
    count = counts(gpu_of, len(gpus)).tolist()
    found = []
    for place, gpu in enumerate(gpus):
        of_gpu, busy_ns = covered[place], on_gpu.busy_ns[place]
        whole_ns = windows.span.to_ns - windows.span.from_ns
        ns = whole_ns if of_gpu is None else int((of_gpu[:, 1] - of_gpu[:, 0]).sum())
        busy_pct = min(100.0, 100 * busy_ns / ns) if ns > 0 else None
        found.append(KernelGpu(*gpu, count[place], ns, busy_pct))
    return sorted(found, key=lambda one: (one.uuid or "", one.mig_uuid or "")), on_stream, on_gpu


def _begins(union: Ints | None) -> Ints | None:
    return None if union is None else union[:, 0]


class _Rows:
    """Rows of the table from what is known of each shape and its kernels."""

    def __init__(
        self,
        known: Sequence[Known],
        kernels: Kernels,
        on_stream: Gaps,
        on_gpu: Gaps,
        covered_ns: int,
    ) -> None:
        self._known = known
        self._kernels = kernels
        self._on_stream, self._on_gpu = on_stream, on_gpu
        self._covered_ns = covered_ns
        self._spread = spread(kernels, kernels.shape, kernels.shapes)

    def by(self, by: By) -> Sequence[KernelRow]:
        """Return a row a name, shape or family."""
        keys = [_key(one, by) for one in self._known]
        groups: dict[Any, list[int]] = {}
        for place, key in enumerate(keys):
            groups.setdefault(key, []).append(place)
        whole = self._spread
        if len(groups) < len(keys):
            number = {key: place for place, key in enumerate(groups)}
            of_shape = np.array([number[key] for key in keys], dtype=np.int32)
            whole = spread(self._kernels, of_shape[self._kernels.shape], len(groups))
        return [
            self._row(by, members, whole, place) for place, members in enumerate(groups.values())
        ]

    def _row(self, by: By, members: list[int], whole: Spread, place: int) -> KernelRow:
        """Return the row of some shapes, that has a place in the spread of all rows."""
        known, own = [self._known[member] for member in members], self._spread
        times_ns = own.total_ns[members]
        first = known[int(times_ns.argmax())]
        total_ns, count = int(whole.total_ns[place]), int(whole.count[place])
        p50_ns, p95_ns, p99_ns = (int(one) for one in whole.quantiles_ns[:, place])
        name, short, shape = first.name.full, first.name.short, first.shape
        if by is By.FAMILY:
            name = short = str(first.name.family)
        return KernelRow(
            name=name,
            short_name=short,
            family=first.name.family,
            grid=shape.grid if by is By.SHAPE else None,
            block=shape.block if by is By.SHAPE else None,
            shapes=len(members),
            count=count,
            total_ns=total_ns,
            mean_ns=total_ns / count,
            p50_ns=p50_ns,
            p95_ns=p95_ns,
            p99_ns=p99_ns,
            max_ns=int(whole.longest_ns[place]),
            share_pct=100 * total_ns / self._covered_ns if self._covered_ns > 0 else None,
            **_variation(own, members),
            **_before(self._on_stream, self._on_gpu, members),
            launch_delay_ns=_mean([one.delay_ns for one in known], own.count[members]),
            occupancy_pct=_mean([one.occupancy_pct for one in known], times_ns),
            occupancy_limiter=first.limiter,
            waves=_mean([one.waves for one in known], times_ns),
            tail_pct=_mean([one.tail_pct for one in known], times_ns),
            local_bytes_per_thread=max(
                (one.local_bytes for one in known if one.local_bytes is not None), default=None
            ),
            members=sorted(
                zip([one.shape for one in known], times_ns.tolist(), strict=True),
                key=lambda member: -member[1],
            ),
        )


def _key(one: Known, by: By) -> Any:
    if by is By.FAMILY:
        return one.name.family
    return one.shape.name_hash if by is By.NAME else one.shape


def _variation(own: Spread, members: list[int]) -> dict[str, Any]:
    """Return how calls of some shapes vary, each around its own median."""
    judged = [member for member in members if own.outliers[member] >= 0]
    if not judged:
        names = ("variation_pct", "outliers", "outlier_times", "outlier_excess_ns")
        return dict.fromkeys(names)
    median_ns, many = own.median_ns[judged], own.outliers[judged]
    usual_ns = np.maximum(median_ns, 1)
    expected_ns = int((many * median_ns).sum())
    took_ns = int(own.outlier_ns[judged].sum())
    return {
        "variation_pct": _mean(
            (100 * own.deviation_ns[judged] / usual_ns).tolist(), own.total_ns[judged]
        ),
        "outliers": int(many.sum()),
        "outlier_times": took_ns / expected_ns if expected_ns else None,
        "outlier_excess_ns": took_ns - expected_ns,
    }


def _before(on_stream: Gaps, on_gpu: Gaps, members: list[int]) -> dict[str, Any]:
    """Return the gaps before kernels of some shapes."""
    total_ns = on_gpu.total_ns[members].sum()
    is_known = bool(on_gpu.known[members].any())
    return {
        "gap_on_stream_ns": _mean(_told(on_stream.mean_ns[members]), on_stream.known[members]),
        "gap_on_gpu_ns": _mean(_told(on_gpu.mean_ns[members]), on_gpu.known[members]),
        "gap_on_gpu_total_ns": int(total_ns) if is_known else None,
    }


def _told(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _mean(values: Sequence[float | None], weights: Any) -> float | None:
    """Return the weighted mean of the values that are known; None where none is."""
    pairs = [
        (value, float(weight))
        for value, weight in zip(values, weights, strict=True)
        if value is not None
    ]
    total = sum(weight for _, weight in pairs)
    if total <= 0:
        return None
    return sum(value * weight for value, weight in pairs) / total


def kernel_gpus(measurements: Questionable) -> Sequence[Gpu]:
    """Return the GPUs that ran kernels, and the MIG instances."""
    with measurements.session() as session:
        rows = session.rows("SELECT DISTINCT gpu_uuid, mig_uuid FROM kernels ORDER BY ALL")
    return [(row["gpu_uuid"], row["mig_uuid"]) for row in rows]
