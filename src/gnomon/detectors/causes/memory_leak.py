"""Memory that keeps growing while a program does the same work.

Measured, by who can say it best: device memory that a process allocated less what it released; a
process's memory on a GPU; a GPU's memory; a process's resident memory. Of ``WINDOWS`` windows the
first ``WARM_UP`` with memory is left out; the rest must grow steadily (``analysis/memory_use.py``),
in its second half and its last quarter at half of its pace and more: a cache that fills and stays
is healthy. It ends with the last window with launches. Speaks
from a growth of ``SMALLEST_BYTES`` and ``SMALLEST_SHARE`` of what there was on, of device memory
also ``SMALLEST_VRAM_SHARE`` of what the GPU has. Information where less than ``SHORTEST_S`` of a
GPU's or host's memory was seen without the calls behind it, or where so much did not grow in
windows with launches (then it was loading, starting or stopping; where calls tell of it, nothing is
said); critical where the memory will be full
within ``SOON_S``, and that was seen for ``LONG_S``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from gnomon.analysis.memory_use import (
    Bools,
    Growth,
    Memory,
    MemoryUse,
    allocated,
    growth,
    readings,
    working,
)
from gnomon.analysis.questions import ThreadKey
from gnomon.detectors.case import Case, said
from gnomon.detectors.causes._loss import Figure, figures, is_gapless
from gnomon.detectors.finding import Evidence, Finding, Gain
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, Severity

NEEDS = (Need.CALLS, Need.MEMORY_READINGS)
WINDOWS = 24
WARM_UP = 0.25
SMALLEST_BYTES = 256 << 20
SMALLEST_SHARE = 0.05
SMALLEST_VRAM_SHARE = 0.02
SHORTEST_S = 300.0
LONG_S = 300.0
SOON_S = 3600.0
MOST_BY = "arg_max(tid, grown_bytes)::VARCHAR"
DEVICE_REMEDY = (
    "Find what is kept: tensors in lists or logs without .detach().item(), graphs kept by a loss "
    "that is summed, caches without a bound, captured graphs for ever new shapes. "
    "torch.cuda.memory._record_memory_history() names the lines that allocate."
)
HOST_REMEDY = (
    "Find what is kept: compare two snapshots of tracemalloc or memray taken minutes apart; look "
    "at loaders' prefetch queues and at caches without a bound."
)
WHAT: Mapping[Memory, str] = {
    Memory.CALLS: "device memory that the process allocated and did not release",
    Memory.PROCESS_ON_GPU: "the process's memory on the GPU",
    Memory.GPU: "the GPU's memory in use",
    Memory.RESIDENT: "the process's resident memory",
}

# In which windows each process launched kernels: read once, and only where memory grew.
AtWork = Callable[[], Mapping[int | None, Bools]]


@dataclass(frozen=True, slots=True)
class Leak:
    """A series that grows, and the bytes that there are at all (None where not known)."""

    use: MemoryUse
    grows: Growth
    total_bytes: int | None
    is_at_work: bool

    @property
    def full_in_s(self) -> float | None:
        """When the memory will be full, at this pace, counted from the end of the series."""
        if self.total_bytes is None or self.use.memory is Memory.CALLS:
            return None
        return max(0.0, self.total_bytes - self.grows.to_bytes) / self.grows.bytes_per_s


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each process, else GPU, whose memory keeps growing."""
    span = case.span

    @cache
    def by_pid() -> Mapping[int | None, Bools]:
        return working(case.session, span, case.operations, WINDOWS)

    held = allocated(case.session, case.scope, case.operations, WINDOWS)
    by_calls = _leaks(case, held, by_pid)
    if not is_gapless(case):
        by_calls = []
    told = {leak.use.pid for leak in by_calls}
    by_process = [
        leak
        for leak in _leaks(
            case, readings(case.session, span, Memory.PROCESS_ON_GPU, WINDOWS), by_pid
        )
        if leak.use.pid not in told
    ]
    by_gpu = _leaks(case, readings(case.session, span, Memory.GPU, WINDOWS), by_pid)
    resident = _leaks(case, readings(case.session, span, Memory.RESIDENT, WINDOWS), by_pid)
    for leak in (*by_calls, *by_process, *resident):
        yield _finding(case, leak, by_gpu)
    if not by_calls and not by_process:
        for leak in by_gpu:
            yield _finding(case, leak, ())


def _leaks(case: Case, uses: Sequence[MemoryUse], by_pid: AtWork) -> list[Leak]:
    found = []
    for one in uses:
        if not np.nanmax(one.bytes, initial=0) - np.nanmin(one.bytes, initial=0) >= SMALLEST_BYTES:
            continue
        at_work = _at_work(one, by_pid())
        end_ns = _end_ns(one, at_work)
        use = one.until(end_ns).after(WARM_UP)
        total = _total_bytes(case, use)
        grows = _leaking(use, total)
        if grows is None:
            continue
        inside = at_work[: len(one.until(end_ns).bytes)][-len(use.bytes) :]
        is_at_work = _leaking(use.while_at_work(inside), total) is not None
        if is_at_work or one.memory is not Memory.CALLS:
            found.append(Leak(use, grows, total, is_at_work))
    return found


def _leaking(use: MemoryUse, total_bytes: int | None) -> Growth | None:
    """Return how a series grows; None where not steadily, or not by much."""
    grows = growth(use)
    if grows is None or not grows.is_steady or not _is_large(use, grows, total_bytes):
        return None
    return grows


def _at_work(use: MemoryUse, by_pid: Mapping[int | None, Bools]) -> Bools:
    """Tell in which windows kernels were launched, by the process (of a GPU: by anyone)."""
    found = np.zeros(len(use.bytes), np.bool_)
    for pid, is_at_work in by_pid.items():
        if use.pid in {None, pid}:
            found |= is_at_work
    return found


def _end_ns(use: MemoryUse, at_work: Bools) -> int:
    """Return when the last window with launches ends; the end of all where there is none."""
    if not at_work.any():
        return use.span.to_ns
    length_ns = use.span.to_ns - use.span.from_ns
    return use.span.from_ns + length_ns * (int(np.flatnonzero(at_work)[-1]) + 1) // len(at_work)


def _is_large(use: MemoryUse, grows: Growth, total_bytes: int | None) -> bool:
    smallest = max(SMALLEST_BYTES, SMALLEST_SHARE * grows.from_bytes)
    if total_bytes is not None and use.memory is not Memory.RESIDENT:
        smallest = max(smallest, SMALLEST_VRAM_SHARE * total_bytes)
    return grows.bytes >= smallest


def _total_bytes(case: Case, use: MemoryUse) -> int | None:
    """Return the memory that there is: of the GPU it is on, else of the largest; of the host."""
    if use.memory is Memory.RESIDENT:
        found = case.value(
            f"SELECT max(memory_total_bytes) AS bytes FROM host_samples WHERE {use.span.condition}"
        )
        return None if found is None else int(found)
    facts = case.measurements.meta().gpus
    own = facts.get(use.gpu_uuid or "")
    chosen = list(facts.values()) if own is None else [own]
    known = [one["vram_total_bytes"] for one in chosen if one.get("vram_total_bytes")]
    return max(known, default=None)


def _severity(leak: Leak) -> Severity:
    seconds = leak.use.span.seconds
    if not leak.is_at_work or (leak.use.memory is not Memory.CALLS and seconds < SHORTEST_S):
        return Severity.INFO
    full_in_s = leak.full_in_s
    if full_in_s is not None and full_in_s <= SOON_S and seconds >= LONG_S:
        return Severity.CRITICAL
    return Severity.WARNING


def _finding(case: Case, leak: Leak, by_gpu: Sequence[Leak]) -> Finding:
    use = leak.use
    evidence = _evidence(case, leak)
    thread = _main_thread(case, use)
    if use.memory is Memory.CALLS:
        thread = ThreadKey(use.host, use.pid, int(str(evidence[-1].value)))
    seen = tuple(_evidence(case, other)[0] for other in by_gpu)
    return Finding(
        cause=Cause.MEMORY_LEAK,
        severity=_severity(leak),
        from_ns=use.span.from_ns,
        to_ns=use.span.to_ns,
        gpu=use.gpu_uuid,
        host=use.host,
        pid=use.pid,
        tid=None if thread is None else thread.tid,
        thread=None if thread is None else case.name_of(thread),
        rank=None if thread is None else case.rank_of(thread),
        evidence=(*evidence, *seen),
        remedy=HOST_REMEDY if use.memory is Memory.RESIDENT else DEVICE_REMEDY,
        expected_gain=Gain(leak.grows.bytes, "bytes", f"in {use.span.seconds:.3g} s"),
        confidence=0.8
        if leak.is_at_work and (use.memory is not Memory.CALLS or use.releases)
        else 0.6,
        confidence_reason=_reason(leak),
    )


def _reason(leak: Leak) -> str:
    steady = f"Kendall's tau of {len(leak.use.bytes)} windows is {leak.grows.tau:.2f}"
    if not leak.is_at_work:
        return f"{steady}; it did not grow so while kernels were launched: it may have been loading"
    if leak.use.memory is Memory.CALLS and not leak.use.releases:
        return f"{steady}; no release was recorded at all"
    return f"{steady}, while kernels were launched"


def _main_thread(case: Case, use: MemoryUse) -> ThreadKey | None:
    return next((key for key in case.threads if use.pid is not None and key.tid == use.pid), None)


def _evidence(case: Case, leak: Leak) -> Sequence[Evidence]:
    """Return the growth first; of calls also who allocated most, and how often."""
    use = leak.use
    if use.memory is Memory.CALLS:
        return figures(
            case,
            _within(use),
            Figure(_grew(use), "sum(grown_bytes)::BIGINT", "bytes"),
            Figure("it allocated {value} times", "count(*) FILTER (NOT is_release)", "count"),
            Figure("and released {value} times", "count(*) FILTER (is_release)", "count"),
            Figure("most of it was allocated by thread {value}", MOST_BY, ""),
        )
    full_in_s = leak.full_in_s
    pace = Figure("its pace is {value}", "regr_slope(bytes, ts_ns) * 1e9", "bytes/s")
    if full_in_s is not None:
        total = said(leak.total_bytes, "bytes")
        text = f"at its pace, {{value}}, all {total} will be in use after {full_in_s:,.0f} s more"
        pace = Figure(text, pace.aggregate, pace.unit)
    grew, then = figures(
        case,
        _within(use),
        Figure(_grew(use), "(arg_max(bytes, ts_ns) - arg_min(bytes, ts_ns))::BIGINT", "bytes"),
        pace,
    )
    # A name is foreign text: it may hold anything, a place for a value too.
    where = f" ({use.gpu_uuid})" if use.memory is Memory.GPU else ""
    return replace(grew, text=grew.text + where), then


def _grew(use: MemoryUse) -> str:
    return f"{WHAT[use.memory]} grew by {{value}} in {use.span.seconds:.4g} s, steadily"


def _within(use: MemoryUse) -> str:
    return f"SELECT * FROM ({use.sql}) WHERE {use.span.condition}"
