"""Memory that spilled from the GPU to the host, or from the host to its disk.

Measured: managed memory that a process allocated and did not release, against what its GPU has
(beyond that, pages travel over the link at each use); and waits for pages that were swapped out:
of threads that feed a GPU, the time off the CPU that waited for a disk in stacks of the kernel's
swap-in, where stacks are known, else while swap in use grew (``analysis/swap.py``). Swap that is
merely in use says nothing. Managed memory beyond the GPU's is a warning by
itself; the waits speak from 1 % of the thread's active time on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.latency import Operation
from gnomon.analysis.memory_use import MemoryUse, allocated
from gnomon.analysis.operations import Kind
from gnomon.analysis.overlap import SWAP_IN
from gnomon.analysis.questions import Span, literal
from gnomon.analysis.swap import while_growing
from gnomon.detectors.case import Case, said
from gnomon.detectors.causes._loss import Figure, Loss, figures, loss_of
from gnomon.detectors.finding import Evidence, Finding, Gain
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, Severity

NEEDS = (Need.CALLS, Need.SCHEDULING, Need.HOST_READINGS)
MANAGED = "Managed"
MANAGED_REMEDY = (
    "Keep what is used at every step within the GPU's memory: shard or offload explicitly, "
    "quantise, or prefetch (cudaMemPrefetchAsync) before use."
)
SWAP_REMEDY = (
    "Have the host need less than it has: fewer loader workers, a smaller page-locked pool, no "
    "other tenants; or turn swap off, so that shortage shows itself."
)

SWAPPED_SQL = """\
SELECT ts_ns, coalesce(weight, 1) AS weight,
  (coalesce(io_ns, duration_ns) * coalesce(weight, 1))::BIGINT AS lost_ns FROM off_cpu
WHERE {where} AND stack_hash IN (SELECT stack_hash FROM stacks WHERE symbol IN ({symbols}))
  AND coalesce(io_ns, duration_ns) > 0"""
WHILE_GROWING_SQL = """\
SELECT ts_ns, coalesce(weight, 1) AS weight, (io_ns * coalesce(weight, 1))::BIGINT AS lost_ns
FROM off_cpu WHERE {where} AND io_ns > 0 AND {growing}"""


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each process beyond its GPU, and each thread that waits for swap."""
    managed = [one for one in case.operations if MANAGED in one.operation]
    beyond = _beyond(case, managed) if managed else {}
    growing = case.swap_growth
    told = set()
    for one in case.dispatch_threads:
        loss = _waits(case, one, growing)
        severity = None if loss is None else loss.severity
        use = beyond.get((one.thread.host, one.thread.pid))
        if loss is not None and severity is not None:
            told.add((one.thread.host, one.thread.pid))
            yield _slow(case, one, loss, severity, use)
    for process, use in beyond.items():
        if process not in told:
            yield _large(case, use)


def _vram_bytes(case: Case) -> int | None:
    known = [facts.get("vram_total_bytes") for facts in case.measurements.meta().gpus.values()]
    return max((one for one in known if one), default=None)


def _beyond(
    case: Case, managed: list[Operation]
) -> Mapping[tuple[str | None, int | None], MemoryUse]:
    """Return the processes that hold more managed memory than a GPU has."""
    vram_bytes = _vram_bytes(case)
    if vram_bytes is None:
        return {}
    releases = [one for one in case.operations if one.kind is Kind.RELEASE]
    uses = allocated(case.session, case.scope, [*managed, *releases], 1)
    return {(one.host, one.pid): one for one in uses if one.bytes[-1] > vram_bytes}


def _waits(case: Case, one: ThreadActivity, growing: Sequence[Span]) -> Loss | None:
    """Return what a thread waited for pages that were swapped out."""
    if not one.stays:
        return None
    where = f"{case.span.condition} AND {one.thread.condition}"
    loss = None
    if _has_swap_in(case):
        symbols = ", ".join(map(literal, SWAP_IN))
        loss = loss_of(
            case, one, SWAPPED_SQL.format(where=where, symbols=symbols), is_weighted=True
        )
    if loss is None and growing:
        pieces = WHILE_GROWING_SQL.format(where=where, growing=while_growing(growing))
        loss = loss_of(case, one, pieces, is_weighted=True)
    return loss


def _has_swap_in(case: Case) -> bool:
    symbols = ", ".join(map(literal, SWAP_IN))
    exists = f"EXISTS (SELECT 1 FROM stacks WHERE symbol IN ({symbols}))"
    return case.has_stacks and bool(case.value(f"SELECT {exists} AS has_swap_in"))


def _slow(
    case: Case, one: ThreadActivity, loss: Loss, severity: Severity, use: MemoryUse | None
) -> Finding:
    by_stack = "symbol IN" in loss.sql
    swap = figures(
        case,
        f"SELECT swap_used_bytes FROM host_samples WHERE {case.span.condition}",
        Figure("swap in use reached {value}", "max(swap_used_bytes)", "bytes"),
    )
    return Finding(
        cause=Cause.HOST_MEMORY_SPILL,
        severity=severity,
        **loss.told,
        **case.who(one.thread),
        evidence=(
            loss.evidence(
                f"{loss.count} waits for pages that were swapped out took {{value}}"
                if by_stack
                else f"{loss.count} waits for a disk while swap grew took {{value}}"
            ),
            *swap,
            *(() if use is None else _managed(case, use)),
        ),
        remedy=SWAP_REMEDY if use is None else f"{MANAGED_REMEDY} {SWAP_REMEDY}",
        expected_gain=Gain(loss.idle_ns / 1e9, "s", "if nothing had been swapped out"),
        confidence=0.9 if by_stack else 0.6,
        confidence_reason=(
            "the kernel's stacks say what these waits were for"
            if by_stack
            else "waits and growth of swap came together; what was read is not known"
        ),
    )


def _large(case: Case, use: MemoryUse) -> Finding:
    return Finding(
        cause=Cause.HOST_MEMORY_SPILL,
        severity=Severity.WARNING,
        from_ns=case.span.from_ns,
        to_ns=case.span.to_ns,
        host=use.host,
        pid=use.pid,
        evidence=_managed(case, use),
        remedy=MANAGED_REMEDY,
        confidence=0.6,
        confidence_reason="more was allocated than fits; how much of it is in use is not known",
    )


def _managed(case: Case, use: MemoryUse) -> tuple[Evidence, ...]:
    return figures(
        case,
        use.sql,
        Figure(
            f"managed memory of {{value}} is allocated; a GPU has "
            f"{said(_vram_bytes(case), 'bytes')}",
            "sum(grown_bytes)::BIGINT",
            "bytes",
        ),
    )
