"""The runner, from the workload to the verdict, without a GPU."""

import json
import os

import pytest
from lab.scenarios.__main__ import main, parse, wanted
from lab.scenarios.catalogue import SCENARIOS
from lab.scenarios.running import Run, RunError, judge, perform, runs_in, seen_in
from lab.scenarios.scoring import Seen
from lab.scenarios.stage import Stage
from lab.scenarios.truth import read_truths
from lab.scenarios.working import work

from gnomon.enums import Cause
from tests.lab.scenarios.standin import create

SHORT = {"seconds": 0.5, "warm_up_s": 0.1}


def test_scenarios_are_called_by_causes():
    for name, scenario in SCENARIOS.items():
        assert name == scenario.name
        assert scenario.cause in list(Cause)


@pytest.mark.parametrize("names", [("a",), ("a", "b"), ("a", "b", "c", "d")])
def test_even_and_odd_seeds_have_the_same_variants(names):
    even, odd = (
        {Stage(None, seed, fault=True).variant(names) for seed in range(first, 8, 2)}
        for first in (0, 1)
    )

    assert even == odd == set(names)


def test_fault_and_control_of_a_seed_draw_the_same_parameters():
    drawn = {Stage(None, 4, fault=fault).random.random() for fault in (True, False)}

    assert len(drawn) == 1


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
@pytest.mark.parametrize("fault", [True, False])
def test_a_hog_is_where_it_is_said_to_be(gpu_name, fault):
    allowed = os.sched_getaffinity(0)
    try:
        truth = work(SCENARIOS["cpu_contention"], Stage(create(), 0, fault), **SHORT)
    finally:
        os.sched_setaffinity(0, allowed)
    counts = truth.injected.counts

    assert (counts["hog_cpu"] == counts["own_cpu"]) == fault
    assert counts["hog_cpu_ns"] > 0
    assert truth.kernels == truth.steps * counts["launches_a_step"] > 0
    if fault:
        assert truth.injected.lost_ns == pytest.approx(truth.clocks["run_queue_ns"], rel=0.2)
        assert truth.injected.named == (counts["hog_name"],)


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_a_server_waits_for_its_requests(gpu_name, seed):
    truth = work(SCENARIOS["voluntary_wait"], Stage(create(), seed, fault=True), **SHORT)

    assert truth.expected == "voluntary_wait"
    assert truth.steps == truth.injected.counts["requests"]
    assert 0 < truth.injected.lost_ns <= truth.to_ns - truth.from_ns


@pytest.mark.parametrize("name", ["launch_bound", "host_bound"])
@pytest.mark.parametrize("fault", [True, False])
def test_the_other_faults_run_too(gpu_name, name, fault):
    truth = work(SCENARIOS[name], Stage(create(), 2, fault), **SHORT)

    assert truth.steps > 0
    assert (truth.expected == name) == fault


def test_a_run_that_nobody_traced_is_judged_wrong(tmp_path, gpu_name, capsys):
    arguments = ["run", "voluntary_wait", "--healthy", "-o", str(tmp_path), "--gpu", gpu_name]
    options = ["--seconds", "1", "--warm-up", "0.2", "--record", "record --no-pm"]

    assert main([*arguments, *options]) == 1
    assert "WRONG: it saw no dispatch_threads" in capsys.readouterr().out
    (run,) = runs_in(tmp_path)
    (truth,) = read_truths(run.sidecar)
    assert run == Run("voluntary_wait", fault=False, seed=0, output=tmp_path)
    assert truth.steps > 0
    assert json.loads((run.folder / "score.json").read_text())["found"] == "silence"
    assert judge(run, must_see=()).is_right
    with pytest.raises(RunError, match="give another folder"):
        perform(run, 1.0, 0.2, gpu=gpu_name, record="record")


def test_a_workload_that_fails_is_told(tmp_path, capsys):
    arguments = ["run", "host_bound", "-o", str(tmp_path), "--gpu", "no.such:thing"]

    assert main([*arguments, "--record", "record --no-pm"]) == 1
    assert "ended with status" in capsys.readouterr().err


def test_busy_is_told_of_the_busiest_gpu_beside_its_speed_of_light():
    summary = {
        "gpus": [
            {"busy_pct": 5.0, "compute_sol_pct": 50.0, "memory_sol_pct": None},
            {"busy_pct": 97.0, "compute_sol_pct": 1.0, "memory_sol_pct": 2.0},
            {"busy_pct": None},
        ]
    }
    thread = {"pid": 7, "run_queue_ns": 12}

    assert seen_in(summary, thread) == Seen(97.0, 2.0, **thread)
    assert seen_in({"gpus": []}, thread) == Seen(**thread)


def test_all_runs_are_every_scenario_of_every_seed_with_and_without_fault(tmp_path):
    runs = wanted(parse(["score", "--all", "--seeds", "0,4", "-o", str(tmp_path)]))
    only = wanted(parse(["score", "--all", "--only", "host_bound", "-o", str(tmp_path)]))

    assert len({run.folder for run in runs}) == len(runs) == 2 * 2 * len(SCENARIOS)
    assert {(run.name, run.seed, run.fault) for run in only} == {
        ("host_bound", seed, fault) for seed in (0, 2) for fault in (True, False)
    }
