"""What an explanation holds, over rows made up so that it is known."""

from gnomon.analysis.questions import Span
from gnomon.detectors import registry, report
from gnomon.detectors.needs import Need
from gnomon.enums import Cause, Severity
from tests.cli.explanations import BEGIN_NS, SECOND_NS, SPAN, explanation, finding

CALL = {"pid": 1, "tid": 1, "layer": "cuda_runtime", "operation": "cudaFree", "duration_ns": 1000}


def leak(**changed):
    """A finding that counters need not bound."""
    return finding(cause=Cause.MEMORY_LEAK, **changed)


def detector(*found, needs=()):
    def detect(case):
        return found

    return detect, needs


def explained(monkeypatch, case, detectors, **asked):
    monkeypatch.setattr(
        report, "detectors", lambda: {name: detect for name, (detect, _) in detectors.items()}
    )
    needs = dict(detectors.values())
    monkeypatch.setattr(report, "needs_of", lambda detect: needs[detect])
    return report.explain_case(case, **asked)


def test_what_is_less_severe_than_asked_for_is_counted_and_left_out(monkeypatch, case_with):
    case = case_with(host_calls=[CALL | {"ts_ns": BEGIN_NS}])
    found = {
        "one": detector(leak(severity=Severity.INFO), leak()),
        "two": detector(leak(severity=Severity.CRITICAL)),
    }

    whole = explained(monkeypatch, case, found)
    severe = explained(monkeypatch, case, found, at_least=Severity.WARNING)
    chosen = explained(monkeypatch, case, found, causes=["two"])

    assert [one.severity for one in whole.findings] == ["critical", "warning", "info"]
    assert [one.severity for one in severe.findings] == ["critical", "warning"]
    assert (whole.less_severe, severe.less_severe) == (0, 1)
    assert [one.severity for one in chosen.findings] == ["critical"]


def test_a_blind_detector_is_not_told_what_else_it_lacks(monkeypatch, case_with):
    case = case_with(off_cpu=[{"ts_ns": BEGIN_NS, "duration_ns": 1000, "pid": 1, "tid": 1}])
    found = explained(
        monkeypatch,
        case,
        {
            "blind": detector(needs=(Need.CALLS, Need.CLASSES)),
            "half": detector(needs=(Need.SCHEDULING, Need.CLASSES)),
            "well": detector(needs=(Need.SCHEDULING,)),
        },
    )

    assert {name: len(reasons) for name, reasons in found.unavailable.items()} == {
        "blind": 1,
        "half": 1,
    }
    assert found.unavailable["blind"] == ["no CUDA calls are recorded"]
    assert found.unavailable["half"][0].startswith("1 of 1 recorded stays")


def test_losses_and_drops_stand_beside_the_findings(monkeypatch, case_with):
    lost = {"ts_ns": BEGIN_NS, "duration_ns": 0, "table": "off_cpu", "rows": 7}
    calls = [CALL | {"ts_ns": BEGIN_NS - SECOND_NS}, CALL | {"ts_ns": BEGIN_NS + SECOND_NS}]
    case = case_with(host_calls=calls, losses=[lost])
    monkeypatch.setattr(report, "drops", lambda *of: 1 / 0)

    found = explained(monkeypatch, case, {}).to_json()

    assert found["losses"]["events_dropped"] == 7
    assert found["drops"] == []
    assert found["failed"] == {"drops": "ZeroDivisionError: division by zero"}


def test_the_whole_of_a_recording_holds_its_first_instant(case_with):
    case = case_with(host_calls=[CALL | {"ts_ns": BEGIN_NS, "duration_ns": 0}])
    found = report.explain(case.measurements, report.whole(case.measurements.bounds()))

    assert found.looked.calls == 1
    assert found.failed == {}


def test_a_share_is_of_the_window_and_of_nothing_there_is_none():
    half = finding(thread_seconds=45.0, lost_seconds=30.0)

    assert explanation().share_pct(half) == 50
    assert explanation().share_pct(finding(thread_seconds=45.0, lost_seconds=None)) == 75
    assert explanation().share_pct(finding(lost_seconds=None)) is None
    assert explanation(span=Span(SPAN.from_ns, SPAN.from_ns)).share_pct(half) is None


def test_every_detector_can_look_at_a_recording_without_any_of_its_tables(case_with):
    case = case_with(threads=[{"ts_ns": BEGIN_NS, "duration_ns": 0, "name": "python"}])
    case.span = SPAN

    found = report.explain_case(case)

    assert (found.failed, list(found.findings)) == ({}, [])
    needy = {name for name, one in registry.detectors().items() if registry.needs_of(one)}
    assert set(found.unavailable) == needy
