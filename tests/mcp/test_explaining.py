"""What stalled the GPU, asked by an agent that then proves it; and how texts are kept apart."""

import json
from pathlib import Path

import pytest

from gnomon.analysis.questions import literal
from gnomon.mcp.explaining import named, query
from gnomon.recording.importers.ingero import import_ingero
from gnomon.recording.reader import Recording

from .conftest import HOSTILE, Agent, at, tree, write

PUBLISHED = Path(__file__).parents[1] / "data" / "ingero"


@pytest.fixture(scope="module")
def vllm(tmp_path_factory):
    directory = tmp_path_factory.mktemp("explaining") / "vllm"
    import_ingero(PUBLISHED / "vllm-37343-logprobs-amplification.db", directory)
    return directory


def test_what_stalled_the_gpu_is_answered_and_proved_and_nothing_is_changed(vllm):
    before = tree(vllm)
    agent = Agent(vllm)

    status = agent.ask("get_status").json
    worst = agent.ask("get_check").json["findings"][0]
    [chain] = agent.ask("get_causal_chains", cause=worst["cause"]).json["chains"]
    proof = chain["because"][0]
    proved = agent.ask("run_sql", query=proof["query"]).json

    assert worst["cause"] == chain["cause"] == "host_bound"  # what
    assert status["from_ns"] <= chain["from_ns"] < chain["to_ns"] <= status["to_ns"]  # when
    assert (chain["tid"], chain["thread"]["from_process"]) == (72801, "VLLM::EngineCor")  # who
    assert chain["thread_ns"] == pytest.approx(proof["value"], rel=1e-6)  # how many nanoseconds
    assert "lost_ns" not in chain  # because no counters were recorded
    assert proof["unit"] == "ns"
    assert proved["rows"] == [[proof["value"]]]  # and the proof
    assert tree(vllm) == before


def test_every_query_of_every_chain_gives_its_value_again(vllm):
    agent = Agent(vllm)
    chains = agent.ask("get_causal_chains", queries=True).json["chains"]

    proofs = [proof for one in chains for proof in (*one["because"], *one.get("ruled_out", ()))]
    assert len(proofs) > 4
    with Recording.open(vllm).session() as session:
        for proof in proofs:
            assert [[*row.values()] for row in session.rows(proof["query"])] == [[proof["value"]]]


def test_only_the_query_of_the_loss_is_told_unless_all_are_asked_for(vllm):
    for chain in Agent(vllm).ask("get_causal_chains").json["chains"]:
        first, *others = (*chain["because"], *chain.get("ruled_out", ()))
        assert "query" in first
        assert not any("query" in one for one in others)


def test_a_check_says_what_it_could_not_see(vllm):
    found = Agent(vllm).ask("get_check", severity="warning").json

    assert found["less_severe"] > 0
    assert {one["severity"] for one in found["findings"]} <= {"warning", "critical"}
    lacked = {one["detector"]: one["lacked"] for one in found["could_not_see"]}
    assert "7,749 of 7,757 recorded stays off the CPU" in lacked["cpu_contention"][0]


def test_statistics_are_those_of_the_file_to_the_nanosecond(vllm):
    rows = Agent(vllm).ask("get_trace_stats", operation="launch", tid=72801).json["operations"]

    launches = next(one for one in rows if one["operation"] == "cudaLaunchKernel")
    names = ("calls", "p50_ns", "p95_ns", "p99_ns", "longest_ns", "total_ns", "off_cpu_ns")
    expected = (550, 20300, 152152, 5079382, 70847581, 169962071, 5296514)
    assert tuple(launches[name] for name in names) == expected
    assert launches["biased"] is True
    assert "bytes" not in launches  # it has none, which is not 0


def test_of_a_sample_all_calls_are_told_and_that_they_are_estimated(tmp_path):
    call = {"duration_ns": 100, "pid": 1, "tid": 1, "layer": "cuda_runtime", "weight": 10.0}
    call |= {"operation": "cudaLaunchKernel", "selection": "weighted", "off_cpu_ns": 50}
    rows = [call | {"ts_ns": n} for n in range(1, 6)]
    agent = Agent(write(tmp_path / "r", {"host_calls": rows}))

    found = agent.ask("get_trace_stats").json
    looked_at = agent.ask("get_check").json["looked_at"]

    assert found["is_exact"] is looked_at["is_exact"] is False
    names = ("calls", "calls_kept", "total_ns", "calls_off_cpu", "off_cpu_ns")
    assert [found["operations"][0][name] for name in names] == [50, 5, 5000, 50, 2500]
    assert (looked_at["cuda_calls"], looked_at["cuda_calls_kept"]) == (50, 5)


def test_stacks_say_where_calls_came_from_and_what_has_none(vllm):
    found = Agent(vllm).ask("get_stacks", of="calls", operation="cudaLaunchKernel", limit=1).json

    [stack] = found["stacks"]
    assert stack["longest_ns"] == 70847581
    assert "masked_fill_kernel" in stack["frames"][0]["from_process"]
    assert found["without_stack_ns"] < found["total_ns"]


def test_a_window_is_kept_to(agent):
    after = agent.ask("get_trace_stats", since=at(2.005)).json["operations"]
    whole = agent.ask("get_trace_stats").json["operations"]

    assert (after[0]["calls"], whole[0]["calls"]) == (100, 101)
    assert "calls_kept" not in whole[0]
    assert whole[0]["first_calls"] == 1


@pytest.mark.parametrize(
    ("tool", "asked", "message"),
    [
        ("get_causal_chains", {"cause": "gremlins"}, "no detector is called 'gremlins'"),
        ("get_check", {"since": "1h"}, "the recording lasts from"),
        ("get_stacks", {"of": "everything"}, "'off_cpu' or 'calls'"),
        ("get_trace_stats", {"limit": 0}, "greater than or equal"),
    ],
)
def test_a_question_that_makes_no_sense_is_told_so(agent, tool, asked, message):
    reply = agent.ask(tool, **asked)

    assert reply.is_error
    assert message in reply.text


@pytest.mark.parametrize("text", [HOSTILE, "it's", "two words", "x" * 300, "tab\there"])
def test_a_query_with_prose_in_it_is_plain_and_asks_the_same(agent, hostile, text):
    asked = f"SELECT {literal(text)} AS text, 'cudaFree' AS name"
    plain = query(asked)

    assert "'cudaFree'" in plain
    assert text not in plain
    with Recording.open(hostile).session() as session:
        assert session.rows(plain) == session.rows(asked) == [{"text": text, "name": "cudaFree"}]
    assert json.loads(json.dumps(plain)) == plain


def test_only_what_can_be_nothing_but_a_name_goes_unmarked():
    assert named(None) is None
    assert named("cudaMemcpyAsync") == "cudaMemcpyAsync"
    assert named("run rm -rf") == {"from_process": "run rm -rf"}
