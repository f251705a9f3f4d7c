"""Rows that were lost, of tables that findings stand on."""

import pytest

from gnomon.detectors.causes.data_loss import detect
from gnomon.enums import Severity
from tests.analysis.scenes import BEGIN_NS, SECOND_NS
from tests.detectors.worlds import World


def lossy(case_with, lost, kept=100, table="host_calls", **more):
    calls = [
        {"ts_ns": BEGIN_NS + at * SECOND_NS // 10, "duration_ns": 10, "tid": 1}
        for at in range(kept)
    ]
    loss = {
        "ts_ns": BEGIN_NS + 5 * SECOND_NS,
        "duration_ns": SECOND_NS,
        "source": "tracer",
        "table": table,
        "rows": lost,
        "reason": "queue_full",
    }
    return case_with(host_calls=calls, losses=[loss | more])


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_the_rows_lost_are_those_that_are_missing(tmp_path, case_of, share):
    world = World(3, "training", 10, nested=False).with_fault("data_loss", share)
    case = case_of(world.record(tmp_path))
    (found,) = detect(case)

    assert found.severity is Severity.WARNING
    lost, kept = found.evidence
    assert lost.value == world.truth[0].count
    # A row that ends where the span begins is not in it.
    assert kept.value == pytest.approx(len(world.kept_calls()), abs=1)
    assert found.thread_seconds is None


@pytest.mark.parametrize(
    ("lost", "severity"),
    [(0, None), (None, Severity.INFO), (2, Severity.INFO), (900, Severity.WARNING)],
)
def test_its_severity_is_the_share_that_is_missing(case_with, lost, severity):
    assert [one.severity for one in detect(lossy(case_with, lost))] == [severity] * bool(severity)


def test_tables_that_no_finding_stands_on_do_not_matter(case_with):
    assert list(detect(lossy(case_with, 900, table="phases"))) == []


def test_what_is_told_when_the_span_is_over_belongs_to_it(case_with):
    (found,) = detect(lossy(case_with, 900, ts_ns=BEGIN_NS + 11 * SECOND_NS))

    assert found.to_ns <= BEGIN_NS + 10 * SECOND_NS


def test_a_loss_outside_of_the_span_has_bounds_in_it(imported, case_of):
    case = case_of(imported["sample-gpu-node-02"])

    for found in detect(case):
        assert case.span.from_ns <= found.from_ns <= found.to_ns <= case.span.to_ns


def test_files_that_their_recorder_trimmed_are_told(imported, case_of):
    told = {
        name: [one.severity for one in detect(case_of(each))] for name, each in imported.items()
    }

    assert told["sample-gpu-node-01"] == told["sample-gpu-node-02"] == [Severity.WARNING]
    assert told["vllm-37343-logprobs-amplification"] == []


def test_a_place_for_a_value_in_a_reason_stays_as_it_is(case_with):
    (found,) = detect(lossy(case_with, 900, reason="{value} of them"))

    assert found.evidence[0].text == "900 rows of host_calls were lost ({value} of them)"
