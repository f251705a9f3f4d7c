"""What causes within calls share: how much of their time a GPU lost.

A detector writes one SELECT with a row for each piece of time that was lost (``ts_ns``, its end,
and ``lost_ns``). Pieces that stand for several, because others like them were not kept, have a
``weight`` as well, which ``lost_ns`` holds already. What a thread lost while its GPU still had work
is no loss of the GPU's: where counters were recorded, no more counts in each ``BIN_NS`` than the
GPU was idle. What is told is of the stretch of time in which nearly all of it was lost
(``analysis.concentration``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.concentration import BIN_NS, concentration
from gnomon.analysis.coverage import losses
from gnomon.analysis.gpu_idle import Stretch
from gnomon.analysis.questions import Span, ThreadKey
from gnomon.analysis.weighted import percentile_sql
from gnomon.detectors.case import Case, proven
from gnomon.detectors.feeding import largest
from gnomon.detectors.finding import Evidence, ToldLoss
from gnomon.detectors.grading import SHORTEST_NS, severity_of
from gnomon.detectors.needs import NEGLIGIBLE_SHARE
from gnomon.enums import Severity

BINS_SQL = """\
SELECT (ts_ns - 1) // {bin_ns} AS bin, sum({weight}) AS pieces, count(*) AS kept,
  sum(lost_ns)::BIGINT AS lost_ns,
  min(ts_ns - (lost_ns / {weight})::BIGINT) AS from_ns, max(ts_ns) AS to_ns
FROM ({pieces}) GROUP BY bin ORDER BY bin"""


@dataclass(frozen=True, slots=True)
class Loss:
    """A thread's time: ``lost_ns`` in ``pieces`` pieces, of which its GPU lost ``idle_ns``.

    ``sql`` gives these pieces, or, where ``is_sampled``, those that were kept of them; ``bins``
    bounds their ends where there are others outside of it.
    ``idle_ns`` is ``lost_ns`` where no counters bound it, ``gpu`` None. ``share``: of the time in
    which the thread was active or waited for the GPU, 0 to 1.
    """

    sql: str
    from_ns: int
    to_ns: int
    pieces: int
    lost_ns: int
    idle_ns: int
    share: float
    gpu: str | None
    bins: Span | None
    is_sampled: bool = False

    @property
    def lost_pct(self) -> float | None:
        """Share of the GPU's peak from first to last piece; None where no counters tell it."""
        if self.gpu is None or self.to_ns <= self.from_ns:
            return None
        return min(100.0, 100 * self.idle_ns / (self.to_ns - self.from_ns))

    @property
    def count(self) -> str:
        """The number of pieces in words."""
        return f"{'about ' if self.is_sampled else ''}{self.pieces:,}"

    @property
    def severity(self) -> Severity | None:
        """How bad it is; None where it is not worth a word."""
        return None if self.idle_ns < SHORTEST_NS else severity_of(self.share)

    @property
    def told(self) -> ToldLoss:
        """What a finding says of it."""
        return ToldLoss(
            from_ns=self.from_ns,
            to_ns=self.to_ns,
            gpu=self.gpu,
            thread_seconds=self.lost_ns / 1e9,
            lost_seconds=None if self.gpu is None else self.idle_ns / 1e9,
            lost_pct=self.lost_pct,
        )

    def evidence(self, text: str) -> Evidence:
        """Return the sum as evidence, with the query that gives it again."""
        query = f"SELECT sum(lost_ns)::BIGINT AS ns FROM ({self.sql})"
        return proven(text, self.lost_ns, query, "ns")


@dataclass(frozen=True, slots=True)
class Figure:
    """A number about pieces: an aggregate over their columns, in a sentence with ``{value}``."""

    text: str
    aggregate: str
    unit: str

    def sql(self, pieces_sql: str) -> str:
        """Return the SELECT that gives it again."""
        return f"SELECT {self.aggregate} AS value FROM ({pieces_sql})"


@dataclass(frozen=True, slots=True)
class Median:
    """The median of a column of pieces, each counted by its ``weight``, in a sentence."""

    text: str
    value: str
    unit: str

    def sql(self, pieces_sql: str) -> str:
        """Return the SELECT that gives it again."""
        return percentile_sql(pieces_sql, self.value, 0.5)


def commonest(case: Case, pieces_sql: str, text: str, weight: str = "1") -> tuple[Evidence, ...]:
    """Return the operation that most pieces are of, with its share; nothing where that is small.

    ``{share}`` in the text is replaced, the name comes after it. ``weight``: of a piece.
    """
    query = (
        f"SELECT operation, sum({weight}) AS pieces, sum(sum({weight})) OVER () AS of_all "
        f"FROM ({pieces_sql}) GROUP BY operation ORDER BY pieces DESC, operation LIMIT 1"
    )
    rows = case.session.rows(query)
    of_all = float(rows[0].pop("of_all")) if rows else 0.0
    return tuple(largest(rows, of_all, f"SELECT operation FROM ({query})", text))


def operation_of(told: Sequence[Evidence]) -> str | None:
    """Return the operation that ``commonest`` told."""
    return next((str(one.value) for one in told), None)


def figures(case: Case, pieces_sql: str, *asked: Figure | Median) -> tuple[Evidence, ...]:
    """Return numbers as evidence, each with a query of its own to show.

    Aggregates are asked for in one query, and medians, which need an order each, one by one.
    """
    aggregates = [one for one in asked if isinstance(one, Figure)]
    columns = ", ".join(f"{one.aggregate} AS f{place}" for place, one in enumerate(aggregates))
    rows = case.session.rows(f"SELECT {columns} FROM ({pieces_sql})") if aggregates else ()
    known = dict(zip(aggregates, (value for row in rows for value in row.values()), strict=True))
    values = {
        one: known[one] if isinstance(one, Figure) else case.value(one.sql(pieces_sql))
        for one in asked
    }
    return tuple(
        proven(one.text, value, one.sql(pieces_sql), one.unit) for one, value in values.items()
    )


def loss_of(
    case: Case,
    one: ThreadActivity,
    pieces_sql: str,
    *,
    is_copying: bool = False,
    is_whole: bool = False,
    is_weighted: bool = False,
) -> Loss | None:
    """Return what a thread lost by a SELECT of ``ts_ns`` and ``lost_ns``; None where nothing.

    ``is_copying``: the GPU may have been copying meanwhile, which its idle time leaves out;
    ``is_whole``: all pieces are told, wherever they are; ``is_weighted``: they have a ``weight``.
    """
    # Asked twice and more: where the pieces are, and what they are like.
    case.session.keep(pieces_sql)
    weight = "weight" if is_weighted else "1"
    rows = case.session.rows(BINS_SQL.format(bin_ns=BIN_NS, pieces=pieces_sql, weight=weight))
    found = concentration([Stretch(row["from_ns"], row["to_ns"], row["lost_ns"]) for row in rows])
    # A wait for the GPU that blocks is long, and none of the thread's idle time.
    worked_ns = min(one.span.to_ns - one.span.from_ns, one.active_ns + one.waiting_ns)
    if found is None or worked_ns <= 0:
        return None
    is_whole = is_whole or found.is_all
    if not is_whole:
        rows = [row for row in rows if found.bins.from_ns <= row["bin"] * BIN_NS < found.bins.to_ns]
    lost_ns = sum(row["lost_ns"] for row in rows)
    gpu = case.gpu_of(one.thread)
    idle = case.idle_of(one.thread)
    idle_ns = lost_ns
    if idle is not None:
        bins = [_stretch(case, row["bin"], row["from_ns"], row["lost_ns"]) for row in rows]
        idle_ns = idle.bounded_ns(bins) + (_copying_ns(case, gpu) if is_copying else 0)
        idle_ns = min(lost_ns, idle_ns)
    return Loss(
        sql=pieces_sql
        if is_whole
        else f"SELECT * FROM ({pieces_sql}) WHERE {found.bins.condition}",
        from_ns=min(row["from_ns"] for row in rows),
        to_ns=max(row["to_ns"] for row in rows),
        pieces=round(sum(row["pieces"] for row in rows)),
        lost_ns=lost_ns,
        idle_ns=idle_ns,
        share=min(1.0, idle_ns / worked_ns),
        gpu=None if idle is None else gpu,
        bins=None if is_whole else found.bins,
        is_sampled=any(row["pieces"] != row["kept"] for row in rows),
    )


def loss_of_thread(
    case: Case, thread: ThreadKey, pieces_sql: str, *, is_whole: bool = False
) -> Loss | None:
    """Return ``loss_of`` a thread by its key; None also where it made no calls that are known."""
    one = next((one for one in case.activities if one.thread == thread), None)
    return None if one is None else loss_of(case, one, pieces_sql, is_whole=is_whole)


def is_gapless(case: Case) -> bool:
    """Tell whether (nearly) every call that was measured is there, so that neighbours are known.

    Rows that were pruned are older than all others, and no gap between them.
    """
    found = losses(case.measurements, from_ns=case.span.from_ns, to_ns=case.span.to_ns)
    lost = sum(one.rows for one in found if one.table == "host_calls" and one.reason != "pruned")
    return lost <= NEGLIGIBLE_SHARE * sum(one.calls for one in case.operations)


def _stretch(case: Case, number: int, from_ns: int, lost_ns: int) -> Stretch:
    """Return a bin, from where its first piece begins, as far as it lies in the case's span."""
    return Stretch(
        max(case.span.from_ns, min(from_ns, number * BIN_NS)),
        min(case.span.to_ns, (number + 1) * BIN_NS),
        lost_ns,
    )


def _copying_ns(case: Case, gpu: str | None) -> int:
    """Return how long a link of the GPU moved data and nothing else ran, over the whole span."""
    pct = next((one.ledger.copying_pct for one in case.gpus if one.uuid == gpu), None)
    return round((pct or 0.0) / 100 * case.span.seconds * 1e9)
