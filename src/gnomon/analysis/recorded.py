"""What a span holds of the cause side, and what its rows lack: counts, for who must not guess.

A thread's scheduling is known where its stays off the CPU are recorded, or where its calls say how
long they were off the CPU. The class of such time (waiting for a CPU, for a disk, of its own will)
is known where ``run_queue_ns`` is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from gnomon.analysis.latency import Operation
from gnomon.analysis.operations import CUDA_LAYERS
from gnomon.analysis.questions import Scope, Span
from gnomon.recording.base import Session

COUNTED = (
    "calls",
    "calls_followed",
    "calls_off_cpu",
    "calls_unclassed",
    "calls_biased",
    "calls_order_known",
)

STAYS_SQL = """\
SELECT
  count(*)::BIGINT AS stays,
  coalesce(round(sum(coalesce(weight, 1))), 0)::BIGINT AS stays_made,
  count(*) FILTER (run_queue_ns IS NULL)::BIGINT AS stays_unclassed,
  count(*) FILTER (waker_tid IS NULL AND waker_name IS NULL AND stack_hash IS NULL)::BIGINT
    AS stays_unexplained
FROM off_cpu WHERE {where}"""

GPUS_SQL = "SELECT count(DISTINCT gpu_uuid)::BIGINT AS gpus FROM gpu_counters WHERE {where}"

COLLECTIVES_SQL = "SELECT count(*)::BIGINT AS collectives FROM nccl_calls WHERE {where}"

MEMORY_SQL = """\
SELECT
  (SELECT count(vram_used_bytes) FROM gpu_processes WHERE {where})::BIGINT AS vram_readings,
  (SELECT count(rss_bytes) FROM process_samples WHERE {where})::BIGINT AS rss_readings,
  (SELECT count(*) FROM host_samples WHERE {where})::BIGINT AS host_readings"""


# Losses of a span are told when it is over. Calls that were pruned are older than all others.
TOLD_WITHIN_NS = 2_000_000_000
LOST_SQL = """\
SELECT
  coalesce(sum(rows) FILTER ("table" = 'host_calls'), 0)::BIGINT AS calls_lost,
  coalesce(sum(rows) FILTER ("table" = 'off_cpu'), 0)::BIGINT AS stays_lost,
  count(*) FILTER (rows IS NULL)::BIGINT AS losses_uncounted
FROM losses WHERE {where} AND coalesce("table" IN ('host_calls', 'off_cpu'), TRUE)
  AND NOT coalesce("table" = 'host_calls' AND reason = 'pruned', FALSE)"""


@dataclass(frozen=True, slots=True)
class Lost:
    """Rows of calls and of stays off the CPU that were measured and not kept.

    ``losses_uncounted``: how often it is not known how many.
    """

    calls_lost: int
    stays_lost: int
    losses_uncounted: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """Counts over a span, the recorder's own threads left out; calls are those into CUDA.

    They count rows, but for ``calls_made`` and ``stays_made``: all that these rows stand for.
    ``calls_off_cpu``: with time off the CPU in them, ``calls_unclassed`` of these without a class.
    ``calls_order_known``: of which is known whether they were the first of their function.
    ``stays_unexplained``: stays off the CPU of which neither who woke the thread nor a stack is
    known. ``gpus``: those with counters. What was
    lost is as in ``Lost``, and not in the other counts.
    """

    threads: int
    calls: int
    calls_made: int
    calls_followed: int
    calls_off_cpu: int
    calls_unclassed: int
    calls_biased: int
    calls_order_known: int
    stays: int
    stays_made: int
    stays_unclassed: int
    stays_unexplained: int
    gpus: int
    collectives: int
    vram_readings: int
    rss_readings: int
    host_readings: int
    calls_lost: int
    stays_lost: int
    losses_uncounted: int


def lost_rows(session: Session, span: Span) -> Lost:
    """Return what was lost of calls and stays in a span."""
    told = Span(span.from_ns, span.to_ns + TOLD_WITHIN_NS)
    (row,) = session.rows(LOST_SQL.format(where=told.condition))
    return Lost(**row)


def recorded(session: Session, scope: Scope, operations: Sequence[Operation]) -> Recorded:
    """Return what a scope holds; ``operations``: all of it."""
    cuda = [one for one in operations if one.layer in CUDA_LAYERS]
    (stays,) = session.rows(STAYS_SQL.format(where=scope.condition))
    (gpus,) = session.rows(GPUS_SQL.format(where=scope.span.condition))
    (collectives,) = session.rows(COLLECTIVES_SQL.format(where=scope.span.condition))
    (memory,) = session.rows(MEMORY_SQL.format(where=scope.span.condition))
    counted = {name: sum(getattr(one, name) for one in cuda) for name in COUNTED}
    made = sum(one.made for one in cuda)
    threads = len({one.thread for one in cuda})
    lost = lost_rows(session, scope.span)
    return Recorded(
        threads=threads,
        calls_made=made,
        **counted,
        **stays,
        **gpus,
        **collectives,
        **memory,
        **asdict(lost),
    )
