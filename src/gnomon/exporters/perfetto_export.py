"""A recording as a Perfetto trace: everything that lies on a time line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from gnomon import tables
from gnomon.analysis.coverage import Loss, losses
from gnomon.detectors.report import opened
from gnomon.exporters import gpu_work, statements, thread_work
from gnomon.exporters.counters import Counters
from gnomon.exporters.launches import launches
from gnomon.exporters.perfetto_file import PerfettoFile
from gnomon.exporters.places import Places
from gnomon.exporters.rows import Chosen, counted
from gnomon.recording.base import Questionable, Session, SkippedSegment

ON_TRACKS = (
    "kernels",
    "copies",
    "gpu_synchronizations",
    "host_calls",
    "nccl_calls",
    "off_cpu",
    "ranges",
    "kernel_windows",
    "pm_samples",
    "gpu_counters",
    "phases",
    "events",
)
# They say something of other tables, or of the recorder.
IN_WORDS = ("threads", "kernel_names", "losses", "clock_sync", "source_health")


@dataclass(frozen=True, slots=True)
class Exported:
    """What a trace holds: the shape of ``gnomon export --json``.

    ``written``: table -> rows, with ``findings``, ``flows`` (arrows from a call to what it
    launched), ``counter values``, and ``sampled`` (rows that stand for more than themselves).
    ``left_out``: table -> rows of the span that are not in the trace. ``failed``: detector -> why
    it found nothing.
    """

    bytes: int
    tracks: int
    written: Mapping[str, int]
    left_out: Mapping[str, int]
    losses: tuple[Loss, ...]
    failed: Mapping[str, str]
    skipped: tuple[SkippedSegment, ...]


def export(
    measurements: Questionable,
    chosen: Chosen,
    file: IO[bytes],
    *,
    hosts: Mapping[str, str],
    has_findings: bool = True,
) -> Exported:
    """Write a trace into a binary file, a part at a time.

    ``hosts``: GPU -> its host, to tell those of several apart. Raises ImportError where the
    ``perfetto`` package is not installed.
    """
    trace = PerfettoFile(file, chosen.span.from_ns)
    written: Counter[str] = Counter()
    failed: Mapping[str, str] = {}
    with opened(measurements, chosen.span) as case:
        session = case.session
        places = Places(trace, session, measurements.meta().gpus, hosts)
        statements.write_phases(measurements, places, chosen, written)
        statements.write_events(session, places, chosen, written)
        if has_findings:
            failed = statements.write_findings(case, places, written).failed
        Counters(measurements, places, written).write(session, chosen)
        how = launches(session, chosen)
        gpu_work.write(session, places, chosen, how, written)
        thread_work.write(session, places, chosen, how, written)
        places.close()
        trace.flush()
        left_out = _left_out(session, chosen, written)
    span = chosen.span
    return Exported(
        bytes=trace.bytes,
        tracks=trace.tracks,
        written=dict(written),
        left_out=left_out,
        losses=tuple(losses(measurements, from_ns=span.from_ns, to_ns=span.to_ns)),
        failed=dict(failed),
        skipped=tuple(measurements.skipped()),
    )


def _left_out(session: Session, chosen: Chosen, written: Mapping[str, int]) -> dict[str, int]:
    """Return what lies in the span and is not in the trace, where there is anything."""
    found = {}
    for table in tables.TABLES:
        if table in IN_WORDS or table in ("gpu_counters", "phases"):
            continue
        rows = counted(session, f"SELECT 1 FROM {table} WHERE {chosen.condition}")
        if rows > written.get(table, 0):
            found[table] = rows - written.get(table, 0)
    return found
