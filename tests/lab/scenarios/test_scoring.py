import pytest
from lab.scenarios.scoring import MUST_SEE, Seen, score, table
from lab.scenarios.truth import SourceLines

from tests.lab.scenarios.facts import SECOND, explanation, finding, truth

LINES = SourceLines("tokenise", "/lab/scenarios/host_bound.py", 20, 33)


def verdict(of, *findings, is_loss=True, seen=None):
    return score(of, explanation(*findings), seen or Seen(), is_loss=is_loss).wrong


def test_a_control_is_right_where_nothing_is_an_alarm():
    healthy = truth(fault=False)

    assert verdict(healthy) == ()
    assert verdict(healthy, finding("host_bound", "info"), finding("data_loss", "warning")) == ()
    assert verdict(healthy, finding("host_bound", "warning")) == (
        "a false alarm: host_bound warning",
    )


def test_what_is_said_of_other_processes_is_none_of_a_runs():
    alarms = [finding("host_bound", pid=8), finding("busy_without_throughput", pid=None)]

    assert verdict(truth(fault=False), *alarms, seen=Seen(pid=7)) == (
        "a false alarm: busy_without_throughput critical",
    )


@pytest.mark.parametrize(
    ("findings", "wrong"),
    [
        ([finding()], ()),
        ([finding(), finding("host_bound", "warning")], ()),
        ([], ("cpu_contention was not said",)),
        ([finding(severity="info")], ("cpu_contention is information only",)),
        (
            [finding("host_bound"), finding(severity="warning")],
            ("the worst is said to be host_bound",),
        ),
    ],
)
def test_a_fault_must_be_the_worst_alarm(findings, wrong):
    assert verdict(truth(), *findings) == wrong


def test_information_suffices_where_the_cause_is_no_loss():
    waiting = truth("voluntary_wait")

    assert verdict(waiting, finding("voluntary_wait", "info"), is_loss=False) == ()
    assert verdict(
        waiting, finding("io_wait"), finding("voluntary_wait", "info"), is_loss=False
    ) == ("the worst is said to be io_wait",)


def test_the_same_time_may_be_called_by_its_mechanism():
    stall = truth("input_pipeline_stall", accepted=("io_wait",))

    assert verdict(stall, finding("io_wait")) == ()
    assert verdict(stall, finding("host_bound"))


@pytest.mark.parametrize(
    ("claimed_s", "is_right"), [(1.4, False), (1.6, True), (3.1, True), (3.3, False), (None, False)]
)
def test_what_is_claimed_must_be_possible(claimed_s, is_right):
    contended = truth(lost_ns=3 * SECOND, least=0.5, most=1.05)

    assert (not verdict(contended, finding(thread_seconds=claimed_s))) == is_right


@pytest.mark.parametrize(
    ("said", "is_right"),
    [
        ("most of it while backup had the CPU", True),
        ("most of it while zstd had the CPU", False),
    ],
)
def test_the_hog_must_be_named(said, is_right):
    assert (not verdict(truth(named=("backup",)), finding(said=[said]))) == is_right


@pytest.mark.parametrize(
    ("said", "is_right"),
    [
        ("half of it in tokenise /lab/scenarios/host_bound.py:24", True),
        ("half of it in <listcomp> lab/scenarios/host_bound.py:33", True),
        ("half of it in step lab/scenarios/host_bound.py:34", False),
        ("half of it in step model.py:24", False),
        ("half of it in tokenise_fast, host_bound.py:240", False),
    ],
)
def test_the_line_must_be_told_by_function_or_number(said, is_right):
    busy = truth("host_bound", sources=(LINES,))

    assert (not verdict(busy, finding("host_bound", said=[said]))) == is_right


@pytest.mark.parametrize(("recorded_ns", "is_right"), [(102, True), (94, False), (None, True)])
def test_recorded_waits_for_a_cpu_are_held_against_the_scheduler(recorded_ns, is_right):
    contended = truth(clocks={"run_queue_ns": 100})
    seen = Seen(run_queue_ns=recorded_ns)

    assert (not verdict(contended, finding(), seen=seen)) == is_right


@pytest.mark.parametrize("lacking", ["dispatch_threads", "stays_off_cpu", "gpus"])
def test_silence_of_who_saw_nothing_is_wrong(lacking):
    blind = explanation(**{lacking: 0})
    others = [name for name in MUST_SEE if name != lacking]

    found = score(truth(fault=False), blind, Seen(), is_loss=True)
    assert found.wrong == (f"it saw no {lacking}",)
    assert score(truth(fault=False), blind, Seen(), is_loss=True, must_see=others).is_right


def test_a_detector_that_failed_makes_a_run_wrong():
    found = score(truth(fault=False), explanation(failed={"io_wait": "no"}), Seen(), is_loss=True)

    assert found.wrong == ("io_wait failed: no",)


def test_the_table_tells_the_lie_beside_the_verdict():
    of = truth(lost_ns=3 * SECOND, least=0.5)
    found = finding(thread_seconds=2.5)
    right = score(of, explanation(found), Seen(busy_pct=97.0, sol_pct=1.25), is_loss=True)
    wrong = score(truth(), explanation(), Seen(), is_loss=True)
    heading, first, second, _, count = table([right, wrong]).splitlines()

    assert heading.split()[:4] == ["scenario", "variant", "run", "seed"]
    for word in ("right", "cpu_contention critical", "2.50 s", "3.00 s", "97.00 %", "1.25 %"):
        assert word in first
    assert "WRONG: cpu_contention was not said" in second
    assert count == "1 of 2 right"
