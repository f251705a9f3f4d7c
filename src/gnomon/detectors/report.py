"""What ``gnomon explain`` knows of a span: findings, what was looked at, and what was not seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from gnomon.analysis.clock_error import ClockError, clock_errors
from gnomon.analysis.coverage import Loss, losses
from gnomon.analysis.drops import Drop, drops
from gnomon.analysis.questions import Span
from gnomon.analysis.recorded import Recorded, recorded
from gnomon.detectors.case import Case
from gnomon.detectors.finding import ORDER, Finding
from gnomon.detectors.needs import BLIND_WITHOUT, lacking
from gnomon.detectors.registry import Detector, attempted, detectors, diagnose, needs_of
from gnomon.detectors.work import launched_sql, steps_of
from gnomon.enums import Severity
from gnomon.recording.base import Questionable, SkippedSegment

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Looked:
    """What was there to look at in the span.

    ``calls`` and ``stays_off_cpu`` are those that were made, as far as is known; where rows of them
    stand for several each, they are estimates from the rows kept.
    """

    seconds: float
    calls: int
    threads: int
    dispatch_threads: int
    stays_off_cpu: int
    gpus: int
    collectives: int
    calls_kept: int
    stays_kept: int

    @property
    def is_exact(self) -> bool:
        """Whether no count is an estimate."""
        return self.calls == self.calls_kept and self.stays_off_cpu == self.stays_kept

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dumps``."""
        return asdict(self) | {"is_exact": self.is_exact}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Findings in a span, worst first; the shape of ``gnomon explain --json``.

    ``less_severe``: how many more findings there are below the severity that was asked for.
    ``unavailable``: detector -> what it lacked, so that its silence proves nothing; ``failed``:
    detector -> why it could not work at all. ``losses``: rows that were measured and not kept.
    ``drops``: when throughput fell, whatever the findings say. ``clocks``: of several hosts, how
    far each is ahead of the first; None where nothing ties it to the others.
    """

    span: Span
    looked: Looked
    findings: Sequence[Finding]
    less_severe: int
    losses: Sequence[Loss]
    skipped: Sequence[SkippedSegment]
    unavailable: Mapping[str, Sequence[str]]
    failed: Mapping[str, str]
    drops: Sequence[Drop]
    clocks: Mapping[str, ClockError | None]

    def share_pct(self, finding: Finding) -> float | None:
        """Return what a finding cost, in percent of the span; over 100 where threads add up."""
        if finding.cost_seconds is None or self.span.seconds <= 0:
            return None
        return 100 * finding.cost_seconds / self.span.seconds

    def to_json(self) -> dict[str, Any]:
        """Return plain data for ``json.dumps``."""
        return {
            "schema": SCHEMA,
            "window": asdict(self.span),
            "looked_at": self.looked.to_json(),
            "findings": [one.to_json() for one in self.findings],
            "less_severe": self.less_severe,
            "drops": [one.to_json() for one in self.drops],
            "clocks": {host: one and asdict(one) for host, one in self.clocks.items()},
            "losses": {
                "events_dropped": sum(one.rows for one in self.losses),
                "dropped": [asdict(one) for one in self.losses],
                "files_skipped": [asdict(one) for one in self.skipped],
            },
            "unavailable": {name: list(reasons) for name, reasons in self.unavailable.items()},
            "failed": dict(self.failed),
        }


def whole(bounds: tuple[int, int]) -> Span:
    """Return the span of a whole recording; an instant at its very start is in it."""
    return Span(bounds[0] - 1, bounds[1])


@contextmanager
def opened(measurements: Questionable, span: Span) -> Iterator[Case]:
    """Yield the case of a span, which can be asked as long as it is open."""
    with measurements.session() as session:
        yield Case(measurements, session, span)


def explain(
    measurements: Questionable,
    span: Span,
    *,
    causes: Sequence[str] = (),
    at_least: Severity = Severity.INFO,
) -> Explanation:
    """Return what is wrong in a span; ``causes``: names of the only detectors to run."""
    with opened(measurements, span) as case:
        return explain_case(case, causes=causes, at_least=at_least)


def explain_case(
    case: Case, *, causes: Sequence[str] = (), at_least: Severity = Severity.INFO
) -> Explanation:
    """Return what is wrong in an open case; see ``explain``."""
    chosen = {name: one for name, one in detectors().items() if not causes or name in causes}
    diagnosis = diagnose(case, chosen)
    failed = dict(diagnosis.failed)
    held = recorded(case.session, case.scope, case.operations)
    findings = [one for one in diagnosis.findings if ORDER[one.severity] <= ORDER[at_least]]
    return Explanation(
        span=case.span,
        looked=_looked(case, held),
        findings=findings,
        less_severe=len(diagnosis.findings) - len(findings),
        losses=losses(case.measurements, from_ns=case.span.from_ns, to_ns=case.span.to_ns),
        skipped=case.measurements.skipped(),
        unavailable=_unavailable(chosen, held),
        failed=failed,
        drops=attempted("drops", _drops, case, failed),
        clocks=dict(attempted("clocks", _clocks, case, failed)),
    )


def _clocks(case: Case) -> Sequence[tuple[str, ClockError | None]]:
    hosts = {one.thread.host for one in case.activities}
    if len(hosts) < 2:
        return ()
    known = clock_errors(case.session, case.scope)
    return [(str(host), known.get(host)) for host in sorted(hosts, key=str)]


def _drops(case: Case) -> Sequence[Drop]:
    return drops(
        case.measurements, case.session, case.dispatch_threads, steps_of(case), launched_sql(case)
    )


def _looked(case: Case, held: Recorded) -> Looked:
    return Looked(
        seconds=case.span.seconds,
        calls=held.calls_made,
        threads=held.threads,
        dispatch_threads=len(case.dispatch_threads),
        stays_off_cpu=held.stays_made,
        gpus=held.gpus,
        collectives=held.collectives,
        calls_kept=held.calls,
        stays_kept=held.stays,
    )


def _unavailable(chosen: Mapping[str, Detector], held: Recorded) -> Mapping[str, Sequence[str]]:
    missing = lacking(held)
    found: dict[str, Sequence[str]] = {}
    for name, detect in chosen.items():
        needs = [need for need in needs_of(detect) if need in missing]
        # Where all of it is missing, what the parts lack is beside the point.
        blind = [need for need in needs if need in BLIND_WITHOUT]
        found[name] = [missing[need] for need in blind or needs]
    return {name: reasons for name, reasons in found.items() if reasons}
