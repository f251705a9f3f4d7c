"""Steps of a thread: the sequence of CUDA calls that it makes again and again.

A training step, a decoding step, a batch: whatever the program calls it, its calls repeat. The
period is the shortest distance, in calls, at which the sequence is most like itself. Every kind
of call weighs the same there, however often it comes: else a layer, of which 31 in 32 match the
next one, would pass for a step. A call that comes once in a period marks where a step begins; a
step lasts from one mark to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gnomon.analysis.intervals import Floats, Ints
from gnomon.analysis.operations import CUDA_LAYERS, Kind, kind_of
from gnomon.analysis.questions import Scope, Span, ThreadKey, literal
from gnomon.recording.base import Session

# A stretch of this many calls from the middle shows the period.
MOST_CALLS = 1 << 15
FEWEST_STEPS = 5
# Of calls that do not match by chance, the share that must match one period later.
REPEATED_SHARE = 0.75
# Kinds of calls that are looked at, from the rarest to the commonest.
MOST_KINDS = 32
# Several steps may repeat better than one, where every tenth does something more.
AS_GOOD_AS_BEST = 0.88
# Of the periods, so many may lack the mark, or have it twice: a retry, a first or last step.
ONCE_WITHIN = 0.1
# What marks a step best: it comes at its end, or is the step.
MARKS = (Kind.SYNCHRONIZATION, Kind.GRAPH_LAUNCH, Kind.COPY, Kind.LAUNCH, Kind.FILL)
CUDA = " OR ".join(f"layer = '{layer}'" for layer in CUDA_LAYERS)

CALLS_SQL = """\
SELECT operation, address, direction, ts_ns - duration_ns AS from_ns,
  (selection = 'all' AND coalesce(weight, 1) = 1) IS TRUE AS kept
FROM host_calls
WHERE {thread} AND ({cuda}) AND coalesce(depth, 0) = 0 AND ts_ns > {from_ns} AND ts_ns <= {to_ns}
ORDER BY from_ns, ts_ns LIMIT {most}"""


@dataclass(frozen=True, slots=True)
class Mark:
    """The call that begins a step: an operation, of one function or in one direction."""

    operation: str
    address: int | None
    direction: str | None

    @property
    def condition(self) -> str:
        """As it stands in a WHERE of ``host_calls``."""
        parts = [f"operation = {literal(self.operation)}", "coalesce(depth, 0) = 0"]
        for name, value in (("address", self.address), ("direction", self.direction)):
            if value is not None:
                parts.append(f"{name} = {literal(value)}")
        return " AND ".join(parts)


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps of a thread. ``starts_ns`` has shape (n + 1,) for n steps, Unix ns, ascending.

    ``calls``: CUDA calls in a step, of those operations whose every call was kept.
    """

    thread: ThreadKey
    mark: Mark
    calls: int
    starts_ns: Ints

    def __len__(self) -> int:
        return len(self.starts_ns) - 1

    @property
    def durations_ns(self) -> Ints:
        """Shape (n,)."""
        return np.diff(self.starts_ns)

    @property
    def p50_ns(self) -> int:
        return self._quantile(0.50)

    @property
    def p95_ns(self) -> int:
        return self._quantile(0.95)

    @property
    def p99_ns(self) -> int:
        return self._quantile(0.99)

    def _quantile(self, share: float) -> int:
        """Nearest rank, as ``latency`` has it."""
        return int(np.quantile(self.durations_ns, share, method="inverted_cdf"))


def steps(
    session: Session, scope: Scope, thread: ThreadKey, calls: int, active: Span
) -> Steps | None:
    """Return the steps of a thread that made ``calls`` CUDA calls in ``active``.

    None where nothing repeats, or too few of its calls were kept to tell.
    """
    rows = session.rows(_calls_sql(thread, calls, active))
    incomplete = {row["operation"] for row in rows if not row["kept"]}
    names: dict[tuple[str, int | None, str | None], int] = {}
    tokens = np.array(
        [
            names.setdefault((row["operation"], row["address"], row["direction"]), len(names))
            for row in rows
            if row["operation"] not in incomplete
        ],
        dtype=np.int64,
    )
    if len(tokens) < 2 * FEWEST_STEPS:
        return None
    length = period(tokens)
    if length is None:
        return None
    mark = _mark([Mark(*name) for name in names], tokens, length)
    if mark is None:
        return None
    starts = session.rows(
        f"SELECT ts_ns - duration_ns AS from_ns FROM host_calls WHERE {scope.condition} "
        f"AND {thread.condition} AND {mark.condition} ORDER BY from_ns"
    )
    starts_ns = np.array([row["from_ns"] for row in starts], dtype=np.int64)
    return Steps(thread, mark, length, starts_ns) if len(starts_ns) > FEWEST_STEPS else None


def period(tokens: npt.NDArray[np.int64]) -> int | None:
    """Return after how many places a sequence repeats; None where it does not.

    ``tokens``: shape (n,), one number for each kind of call. At least ``FEWEST_STEPS`` periods
    must fit in.
    """
    longest = len(tokens) // FEWEST_STEPS
    counts = np.bincount(tokens)
    kinds = np.flatnonzero(counts >= FEWEST_STEPS)
    if longest < 1 or len(kinds) < 2:
        return None
    kinds = kinds[np.argsort(counts[kinds], kind="stable")]
    chosen = kinds[np.linspace(0, len(kinds) - 1, min(len(kinds), MOST_KINDS)).astype(int)]
    alike = _matched(tokens, chosen, longest)
    best = float(np.max(alike))
    if best < REPEATED_SHARE:
        return None
    return 1 + int(np.argmax(alike >= AS_GOOD_AS_BEST * best))


def _matched(tokens: npt.NDArray[np.int64], kinds: Ints, longest: int) -> Floats:
    """Return the share of calls that come again 1, 2 ... ``longest`` places later.

    Less what chance gives; the mean over kinds. The sums over all distances are one
    autocorrelation, by FFT; of several kinds they add up before it is turned back.
    """
    count = len(tokens)
    size = 1 << (2 * count - 1).bit_length()
    power, by_chance = np.zeros(size // 2 + 1), 0.0
    for kind in kinds:
        present = tokens == kind
        share = float(present.mean())
        power += np.abs(np.fft.rfft(present, size)) ** 2 / (share * (1 - share))
        by_chance += share / (1 - share)
    again = np.fft.irfft(power, size)[1 : longest + 1] / (count - np.arange(1, longest + 1))
    return np.asarray((again - by_chance) / len(kinds))


def _mark(kinds: list[Mark], tokens: npt.NDArray[np.int64], length: int) -> Mark | None:
    """Return the call that comes once in a period, the best of ``MARKS`` where several do."""
    expected = len(tokens) / length
    once = [
        mark
        for mark, count in zip(kinds, np.bincount(tokens), strict=True)
        if abs(count - expected) <= max(1.0, ONCE_WITHIN * expected)
    ]
    ranks = {kind: place for place, kind in enumerate(MARKS)}
    return min(once, key=lambda one: ranks.get(kind_of(one.operation), len(MARKS)), default=None)


def _calls_sql(thread: ThreadKey, calls: int, active: Span) -> str:
    """Return the SELECT of about ``MOST_CALLS`` calls around the middle of ``active``."""
    length_ns = active.to_ns - active.from_ns
    margin_ns = int(length_ns * max(0.0, 1 - MOST_CALLS / max(calls, 1)) / 2)
    return CALLS_SQL.format(
        thread=thread.condition,
        cuda=CUDA,
        from_ns=active.from_ns + margin_ns,
        to_ns=active.to_ns - margin_ns,
        most=2 * MOST_CALLS,
    )
