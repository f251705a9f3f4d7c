"""Where threads stood in their code while they were off the CPU, or inside calls.

Sums are over the rows that carry a stack; those without one are told beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gnomon.analysis.questions import Scope, ThreadKey, literal
from gnomon.recording.base import Session

TOP_SQL = """\
SELECT host, pid, tid, stack_hash, count(*) AS rows, {operation} AS operation,
  round(sum(duration_ns * coalesce(weight, 1)))::BIGINT AS total_ns,
  max(duration_ns) AS longest_ns
FROM {table} WHERE {where} AND stack_hash IS NOT NULL
GROUP BY ALL ORDER BY total_ns DESC, stack_hash, pid, tid LIMIT {most}"""

TOTAL_SQL = """\
SELECT
  coalesce(round(sum(duration_ns * coalesce(weight, 1))), 0)::BIGINT AS total_ns,
  coalesce(round(sum(duration_ns * coalesce(weight, 1)) FILTER (stack_hash IS NULL)), 0)::BIGINT
    AS without_stack_ns
FROM {table} WHERE {where}"""

FRAMES_SQL = """\
SELECT DISTINCT stack_hash, depth, kind, symbol, module, file, line FROM stacks
WHERE stack_hash IN ({hashes}) ORDER BY stack_hash, depth"""

Kind = Literal["off_cpu", "calls"]
_TABLES = {"off_cpu": ("off_cpu", "NULL::VARCHAR"), "calls": ("host_calls", "operation")}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; ``symbol`` is None where it could not be resolved."""

    kind: str | None
    symbol: str | None
    module: str | None
    file: str | None
    line: int | None


@dataclass(frozen=True, slots=True)
class TopStack:
    """A thread's time with one stack, innermost frame first; ``operation``: of calls."""

    thread: ThreadKey
    operation: str | None
    rows: int
    total_ns: int
    longest_ns: int
    frames: Sequence[Frame]


@dataclass(frozen=True, slots=True)
class TopStacks:
    """``total_ns`` of all rows asked for, ``without_stack_ns`` of those that carry no stack."""

    stacks: Sequence[TopStack]
    total_ns: int
    without_stack_ns: int


def top_stacks(
    session: Session,
    scope: Scope,
    kind: Kind,
    *,
    most: int,
    tid: int | None = None,
    operation: str | None = None,
) -> TopStacks:
    """Return the stacks with most time off the CPU, or in outermost calls; of one thread or all.

    ``operation`` is of calls alone. A call inside another is part of that one.
    """
    table, name = _TABLES[kind]
    where = scope.condition
    if tid is not None:
        where += f" AND tid = {tid}"
    if kind == "calls":
        where += " AND (depth > 0) IS NOT TRUE"
        if operation is not None:
            where += f" AND operation = {literal(operation)}"
    (total,) = session.rows(TOTAL_SQL.format(table=table, where=where))
    top = session.rows(TOP_SQL.format(table=table, operation=name, where=where, most=most))
    frames = _frames(session, {row["stack_hash"] for row in top})
    stacks = [
        TopStack(
            thread=ThreadKey(row["host"], row["pid"], row["tid"]),
            operation=row["operation"],
            rows=row["rows"],
            total_ns=row["total_ns"],
            longest_ns=row["longest_ns"],
            frames=frames.get(row["stack_hash"], ()),
        )
        for row in top
    ]
    return TopStacks(stacks, **total)


def _frames(session: Session, hashes: set[int]) -> dict[int, list[Frame]]:
    if not hashes:
        return {}
    found: dict[int, list[Frame]] = {}
    for row in session.rows(FRAMES_SQL.format(hashes=", ".join(map(str, sorted(hashes))))):
        row.pop("depth")
        found.setdefault(row.pop("stack_hash"), []).append(Frame(**row))
    return found
