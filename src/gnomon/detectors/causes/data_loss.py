"""Rows that were measured and not kept, where findings stand on what is left.

Measured: rows of ``losses`` for the tables that detectors read, as a share of all rows that there
were (kept and lost) in the span. It costs the GPU nothing, so it is never critical; but counts and
sums of such a table are lower bounds, and silence of a detector proves less.

Detection limit: ``grading.INFO_SHARE`` of a table's rows, or a loss of which the count is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from gnomon.analysis.questions import Span, literal
from gnomon.detectors.case import Case
from gnomon.detectors.finding import Finding
from gnomon.detectors.grading import severity_of
from gnomon.enums import Cause, Severity

# What findings are made from.
READ_BY_DETECTORS = (
    "host_calls",
    "off_cpu",
    "nccl_calls",
    "gpu_counters",
    "process_samples",
    "host_samples",
    "stacks",
    "threads",
)
# Losses of a span are told when it is over.
TOLD_WITHIN_NS = 2_000_000_000
LOSSES_SQL = """\
SELECT "table" AS name, any_value(source) AS source, string_agg(DISTINCT reason, ', ') AS reasons,
  coalesce(sum(rows), 0)::BIGINT AS lost, bool_or(rows IS NULL) AS is_unknown,
  min(ts_ns - coalesce(duration_ns, 0)) AS from_ns, max(ts_ns) AS to_ns
FROM losses WHERE {where} AND "table" IN ({tables}) GROUP BY name ORDER BY lost DESC, name"""
REMEDY = (
    "Record less, or a shorter while, so that nothing has to be dropped: fewer tables, a larger "
    "buffer, a faster disk. Where another program recorded it, take its file before it is trimmed."
)


def detect(case: Case) -> Iterable[Finding]:
    """Yield a finding for each table that lost a share of its rows worth knowing."""
    told = Span(case.span.from_ns, case.span.to_ns + TOLD_WITHIN_NS)
    query = LOSSES_SQL.format(
        where=told.condition, tables=", ".join(map(literal, READ_BY_DETECTORS))
    )
    for row in case.session.rows(query):
        kept = case.value(f"SELECT count(*) AS rows FROM {row['name']} WHERE {case.span.condition}")
        share = row["lost"] / max(1, row["lost"] + kept)
        severity = severity_of(share, at_most=Severity.WARNING)
        if severity is None and row["is_unknown"]:
            severity = Severity.INFO
        if severity is not None:
            yield _finding(case, told, row, severity)


def _finding(case: Case, told: Span, row: dict[str, Any], severity: Severity) -> Finding:
    table = row["name"]
    lost = case.evidence(
        f"{{value}} rows of {table} were lost",
        f'SELECT sum(rows)::BIGINT AS rows FROM losses WHERE "table" = {literal(table)} '
        f"AND {told.condition}",
        "count",
    )
    # A reason is foreign text: it may hold anything, a place for a value too.
    reasons = row["reasons"] or "no reason given"
    return Finding(
        cause=Cause.DATA_LOSS,
        severity=severity,
        # Rows may have been lost before the span, and told in it; or the other way round.
        from_ns=min(max(row["from_ns"], case.span.from_ns), case.span.to_ns),
        to_ns=min(max(row["to_ns"], case.span.from_ns), case.span.to_ns),
        evidence=(
            replace(lost, text=f"{lost.text} ({reasons})"),
            case.evidence(
                "{value} rows of it were kept",
                f"SELECT count(*) AS rows FROM {table} WHERE {case.span.condition}",
                "count",
            ),
        ),
        remedy=REMEDY,
        confidence=1.0,
        confidence_reason="the recorder counted what it did not keep",
    )
