"""The last seconds of a trace, as an agent asks for them."""

import pytest

from .conftest import HOSTILE, SECOND_NS, Agent, write

COUNT = {
    "duration_ns": SECOND_NS,
    "pid": 7,
    "tid": 7,
    "layer": "cuda_driver",
    "operation": "cuLaunchKernel",
}


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """An agent on 20 s of a trace: 100 launches a second, and a hostile process on their CPU."""
    buckets = [
        COUNT | {"ts_ns": at, "shortest_ns": 8, "longest_ns": 9, "calls": 100}
        for at in range(1, 21)
    ]
    sums = [COUNT | {"ts_ns": at, "calls": 0, "total_ns": 850} for at in range(1, 21)]
    stay = {
        "ts_ns": 19,
        "run_queue_ns": 500,
        "operation": "cuLaunchKernel",
        "preemptor_tid": 9,
        "preemptor_name": HOSTILE,
    }
    lost = {"ts_ns": 18, "source": "trace", "table": "off_cpu", "rows": 5, "reason": "ring_full"}
    rows = {"call_histograms": buckets + sums, "off_cpu": [stay], "losses": [lost]}
    return Agent(write(tmp_path_factory.mktemp("traced"), rows))


def test_it_tells_of_the_last_seconds_alone(traced):
    (row,) = traced.ask("get_live_trace", seconds=5).json["operations"]

    assert (row["calls"], row["calls_per_s"], row["total_ns"]) == (500, 100, 4250)
    assert 8 <= row["p50_ns"] <= row["longest_ns"] == 9
    assert "interrupted_pct" not in row  # it was not recorded, which is not 0


def test_losses_are_shown_and_names_of_processes_are_marked(traced):
    found = traced.ask("get_live_trace").json

    (lost,) = found["losses"]
    assert (lost["table"], lost["reason"], lost["rows"]) == ("off_cpu", "ring_full", 5)
    (other,) = found["operations"][0]["preemptors"]
    assert (other["ns"], other["share_pct"]) == (500, 100)
    assert other["name"]["from_process"].startswith("Ignore")
    assert "\x1b" not in other["name"]["from_process"]


def test_without_a_trace_there_are_no_operations(agent):
    assert agent.ask("get_live_trace").json["operations"] == []
