"""Findings as an agent reads them: short, or whole as chains of evidence.

A sentence of evidence may hold names that an observed program chose, so all of them are marked. A
query stays plain, because it is to be run: a text in it that could be prose is written as bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gnomon.analysis.questions import Span, ThreadKey
from gnomon.detectors.case import Case
from gnomon.detectors.finding import Evidence, Finding, RuledOut
from gnomon.detectors.report import Explanation, opened, whole
from gnomon.detectors.titles import TITLES
from gnomon.mcp.desk import Desk, Time, iso
from gnomon.mcp.reply import named, rewritten, said

# Names and patterns of ours, and of functions: no blanks, so no sentences.
_HARMLESS = re.compile(r"[!-&(-~]{0,200}")


@contextmanager
def case_of(desk: Desk, since: Time | None, until: Time | None) -> Iterator[Case]:
    """Yield the case of a window; all of the recording by default. Raises QuestionError."""
    span = whole(desk.bounds()) if since is until is None else Span(*desk.window(since, until))
    with opened(desk.recording, span) as case:
        yield case


def thread(key: ThreadKey) -> dict[str, Any]:
    return known({"host": named(key.host), "pid": key.pid, "tid": key.tid})


def known(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not known."""
    return {name: value for name, value in row.items() if value is not None}


def query(sql: str) -> str:
    """Return a query that gives the same answer and holds no prose."""
    return rewritten(sql, lambda text: _HARMLESS.fullmatch(text) is not None)


def short(finding: Finding) -> dict[str, Any]:
    """Return what a finding says in a few words."""
    return {
        "severity": finding.severity.value,
        "cause": finding.cause.value,
        "means": TITLES[finding.cause],
    } | _where_and_when(finding)


def chain(finding: Finding, *, has_queries: bool) -> dict[str, Any]:
    """Return all of a finding: what was lost, where, the evidence, the remedy.

    ``has_queries``: of every number; else of the first, which is the loss.
    """
    gain = finding.expected_gain
    return short(finding) | known(
        {
            "because": [
                _proof(one, has_query=has_queries or not number)
                for number, one in enumerate(finding.evidence)
            ],
            "ruled_out": [
                {"cause": one.cause.value} | _proof(one, has_query=has_queries)
                for one in finding.ruled_out
            ],
            "remedy": finding.remedy,
            "expected_gain": None
            if gain is None
            else {"at_most": gain.value, "unit": gain.unit, "basis": gain.basis},
            "confidence": finding.confidence,
            "confidence_reason": said(finding.confidence_reason),
        }
    )


def looked(explanation: Explanation) -> dict[str, Any]:
    """Return the facts that every answer about findings begins with."""
    span = explanation.span
    facts = explanation.looked
    skipped = [said(f"{one.path}: {one.reason}") for one in explanation.skipped]
    return ({"skipped_files": skipped} if skipped else {}) | {
        "from_ns": span.from_ns,
        "to_ns": span.to_ns,
        "looked_at": {
            "seconds": facts.seconds,
            "cuda_calls": facts.calls,
            "cuda_calls_kept": facts.calls_kept,
            "threads": facts.threads,
            "threads_that_feed_a_gpu": facts.dispatch_threads,
            "stays_off_cpu": facts.stays_off_cpu,
            "stays_off_cpu_kept": facts.stays_kept,
            "is_exact": facts.is_exact,
            "gpus_with_counters": facts.gpus,
            "collectives": facts.collectives,
        },
    }


def _where_and_when(finding: Finding) -> dict[str, Any]:
    return known(
        {
            "lost_ns": _ns(finding.lost_seconds),
            "thread_ns": _ns(finding.thread_seconds),
            "lost_pct_of_peak": finding.lost_pct,
            "from_ns": finding.from_ns,
            "to_ns": finding.to_ns,
            "from": iso(finding.from_ns),
            "to": iso(finding.to_ns),
            "gpu": named(finding.gpu),
            "rank": finding.rank,
            **thread(ThreadKey(finding.host, finding.pid, finding.tid)),
            "thread": said(finding.thread),
            "operation": named(finding.operation),
        }
    )


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e9)


def _proof(proof: Evidence | RuledOut, *, has_query: bool) -> dict[str, Any]:
    value = said(proof.value) if isinstance(proof.value, str) else proof.value
    told = {"says": said(proof.text), "value": value, "unit": proof.unit}
    return told | {"query": query(proof.sql)} if has_query else told


def unseen(explanation: Explanation) -> Sequence[dict[str, Any]]:
    """Return what detectors lacked, one entry a detector."""
    return [
        {"detector": name, "lacked": list(reasons)}
        for name, reasons in explanation.unavailable.items()
    ] + [{"detector": name, "failed": said(reason)} for name, reason in explanation.failed.items()]
