"""What was said of the time of a recording: phases, events, and findings of the detectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from gnomon.detectors.case import Case, said
from gnomon.detectors.finding import Finding
from gnomon.detectors.report import Explanation, explain_case
from gnomon.detectors.titles import TITLES
from gnomon.exporters.nest import Nest
from gnomon.exporters.places import Places
from gnomon.exporters.rows import Chosen, Row, known
from gnomon.recording.base import Measurements, Session
from gnomon.recording.marks import phases

EVENTS_SQL = """\
SELECT ts_ns, kind, severity, gpu_uuid, source, message, old_value, new_value
FROM events WHERE {where} ORDER BY ts_ns"""
EVENT_ARGS = ("severity", "gpu_uuid", "source", "message", "old_value", "new_value")
PHASE_ARGS = ("model_flops", "flops_dtype", "model_bytes", "tokens")
PLACE_ARGS = ("gpu", "host", "pid", "tid", "thread", "operation", "rank")


def write_phases(
    measurements: Measurements, places: Places, chosen: Chosen, written: Counter[str]
) -> None:
    """Write the phases that touch the span, at their full length."""
    inside = [
        one
        for one in phases(measurements)
        if one.from_ns <= chosen.span.to_ns and one.to_ns > chosen.span.from_ns
    ]
    nest = places.of_all("phases")
    for one in sorted(inside, key=lambda one: (one.from_ns, -one.to_ns)):
        work = {name: getattr(one, name) for name in PHASE_ARGS}
        details = {_text(name): _plain(value) for name, value in one.detail.items()}
        nest.add(one.from_ns, one.to_ns, one.name, details | known(work, PHASE_ARGS))
        written["phases"] += 1


def write_events(session: Session, places: Places, chosen: Chosen, written: Counter[str]) -> None:
    for row in session.rows(EVENTS_SQL.format(where=chosen.condition)):
        if not _is_of(row, chosen):
            continue
        places.of_all("events").mark(row["ts_ns"], row["kind"] or "event", known(row, EVENT_ARGS))
        written["events"] += 1


def write_findings(case: Case, places: Places, written: Counter[str]) -> Explanation:
    """Write what `gnomon explain` finds, and return what it said in all."""
    explanation = explain_case(case)
    nest = places.of_all("findings")
    for one in sorted(explanation.findings, key=lambda one: (one.from_ns, -one.to_ns)):
        _write_finding(one, nest)
        written["findings"] += 1
    return explanation


def _write_finding(finding: Finding, nest: Nest) -> None:
    place = {name: getattr(finding, name) for name in PLACE_ARGS}
    cost = {"lost_seconds": finding.lost_seconds, "thread_seconds": finding.thread_seconds}
    args: dict[str, Any] = {
        "cause": finding.cause.value,
        "severity": finding.severity.value,
        **known(place, PLACE_ARGS),
        **known(cost, tuple(cost)),
        **_numbered("evidence", [one.text for one in finding.evidence]),
        **_numbered("not", [f"{TITLES[one.cause]}: {one.text}" for one in finding.ruled_out]),
        "remedy": finding.remedy,
        "confidence": finding.confidence,
        "confidence_reason": finding.confidence_reason,
    }
    gain = finding.expected_gain
    if gain is not None:
        args["could_win"] = f"{said(gain.value, gain.unit)}: {gain.basis}"
    nest.add(finding.from_ns, finding.to_ns, TITLES[finding.cause], args)


def _numbered(name: str, texts: Sequence[str]) -> dict[str, str]:
    return {f"{name}_{number}": text for number, text in enumerate(texts, 1)}


def _is_of(row: Row, chosen: Chosen) -> bool:
    """Tell whether an event is of the GPU that was asked for, or of none."""
    return chosen.gpu_uuid is None or row["gpu_uuid"] in (None, chosen.gpu_uuid)


def _plain(value: Any) -> int | float | str:
    """Return a value of JSON as a trace has it: numbers of 64 bits, all else as text."""
    is_number = isinstance(value, float) or (isinstance(value, int) and value.bit_length() < 64)
    return value if is_number else _text(str(value))


def _text(text: str) -> str:
    """Return text without halves of letters, which JSON can hold and UTF-8 cannot."""
    return text.encode(errors="replace").decode()
