"""Detectors are files, each says what it needs, and one that breaks takes no other along."""

from pathlib import Path

from gnomon._errors import RecordingError
from gnomon.detectors import causes, registry
from gnomon.detectors.needs import Need
from gnomon.detectors.titles import TITLES
from gnomon.enums import Cause, Severity
from tests.cli.explanations import finding

# A cause that counters need not bound.
LATER = Cause.MEMORY_LEAK
FILES = {path.stem for path in Path(causes.__path__[0]).glob("[a-z]*.py")}


def test_every_file_is_a_detector_of_its_cause_with_a_test_and_its_needs():
    tests = {path.stem for path in (Path(__file__).parent / "causes").glob("test_*.py")}

    assert set(registry.detectors()) == FILES <= {*Cause}
    assert {f"test_{name}" for name in FILES} <= tests
    needs = {name: registry.needs_of(detect) for name, detect in registry.detectors().items()}
    assert {name for name, of in needs.items() if not of} <= {"data_loss"}  # told in any case
    assert {need for of in needs.values() for need in of} <= {*Need}


def test_every_cause_has_a_title():
    assert set(TITLES) == {*Cause}


def test_a_detector_that_fails_is_named_and_the_others_are_heard():
    def broken(case):
        yield finding(cause=LATER, severity=Severity.INFO)  # was measured, and stands
        raise ZeroDivisionError("by zero")

    def refused(case):
        raise RecordingError("the query took longer than 60 s and was stopped")

    def found(case):
        return [
            finding(cause=LATER, lost_seconds=1.0),
            finding(cause=LATER, severity=Severity.CRITICAL),
        ]

    diagnosis = registry.diagnose(None, {"broken": broken, "refused": refused, "found": found})

    assert [one.severity for one in diagnosis.findings] == ["critical", "warning", "info"]
    assert diagnosis.failed == {
        "broken": "ZeroDivisionError: by zero",
        "refused": "the query took longer than 60 s and was stopped",
    }


def test_a_third_party_adds_a_detector_by_an_entry_point(monkeypatch):
    class Entry:
        name = "theirs"

        def load(self):
            return finding

    monkeypatch.setattr(registry, "entry_points", lambda group: [Entry()])

    assert registry.detectors()["theirs"] is finding
    assert registry.needs_of(finding) == ()


def test_findings_are_read_by_severity_and_then_by_what_they_cost():
    # What the GPU lost, and what only threads are known to have lost.
    ordered = [
        ("critical", None, None),
        ("warning", 9.0, 12.0),
        ("warning", None, 5.0),
        ("warning", 1.0, 30.0),
        ("info", 99.0, 99.0),
    ]

    def found(case):
        return [
            finding(
                cause=LATER, severity=Severity(of), lost_seconds=lost, thread_seconds=of_threads
            )
            for of, lost, of_threads in ordered[::-1]
        ]

    ranked = registry.diagnose(None, {"found": found}).findings

    assert [(one.severity, one.lost_seconds, one.thread_seconds) for one in ranked] == ordered
