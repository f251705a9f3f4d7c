"""Each tool, asked through the official client, against what is known of the recordings."""

import time

import pytest

from gnomon.analysis.series import series
from gnomon.analysis.summary import summarize
from gnomon.cli.model_options import Asked
from gnomon.recording.reader import Recording

from .conftest import DEMO, GPU, SECOND_NS, Agent, at, counters, tree, write


def test_status_tells_what_is_there_what_is_missing_and_what_was_lost(agent):
    found = agent.ask("get_status").json

    assert (found["from_ns"], found["to_ns"]) == (at(0), at(10))
    assert found["is_live"] is False
    assert found["host"] == {"hostname": "node-1"}
    assert found["gpus"][0]["not_measured_s"] == 3
    gap = {"gpu_uuid": GPU, "from_ns": at(3), "to_ns": at(6), "duration_s": 3.0}
    assert found["gaps"] == [gap]
    nvml, gpm = found["sources"]
    assert (nvml["source"], nvml["state"], nvml["reads"], nvml["failures"]) == (
        "nvml",
        "ready",
        3,
        1,
    )
    assert "reason" not in nvml  # it works again
    assert (gpm["source"], gpm["state"]) == ("gpm", "unavailable")
    assert found["unavailable"] == [
        {
            "metric": "dram_active_pct",
            "reason": {"from_process": "no GPM"},
            "remedy": {"from_process": "a Hopper GPU"},
            "source": "gpm",
        }
    ]
    assert [(one["table"], one["rows"]) for one in found["losses"]] == [("gpu_counters", 5)]


def test_a_recording_whose_newest_row_is_of_now_is_live(tmp_path):
    now_s = (time.time_ns() - at(0)) / SECOND_NS
    agent = Agent(write(tmp_path / "r", {"gpu_counters": counters([now_s - 1, now_s])}))

    assert agent.ask("get_status").json["is_live"] is True


def test_sol_says_the_verdict_first_and_the_numbers_of_the_summary(demo):
    [entry] = demo.ask("get_sol", gpu=0).json["entries"]

    [expected] = summarize(Recording.open(DEMO))
    assert next(iter(entry)) == "verdict"
    assert entry["verdict"] == expected.verdict
    assert entry["compute_sol_pct"] == pytest.approx(expected.compute_sol_pct, rel=1e-4)
    assert sum(value or 0 for value in entry["ledger"].values()) == pytest.approx(100, abs=0.01)


def test_sol_by_phase_and_by_period(demo):
    phases = demo.ask("get_sol", by="phase").json["entries"]
    periods = demo.ask("get_sol", by="30s", since="10s", until="100s").json["entries"]

    assert phases[0]["phase"] == {"from_process": "idle"}
    assert phases[0]["bound_by"] == "idle"
    assert [round((one["to_ns"] - one["from_ns"]) / SECOND_NS) for one in periods] == [30, 30, 30]


def test_sol_of_a_model_tells_its_ceiling_and_what_is_left(demo):
    asked = {"model": "llama-3.1-8b", "traffic": {"phase": "decode", "batch": 8}}
    [entry] = demo.ask("get_sol", **asked).json["entries"]

    memory = entry["budget"]["memory"]
    left = memory["attainable_pct"] - memory["achieved_pct"]
    assert memory["budget_pct"] == pytest.approx(left, abs=0.01)
    assert entry["budget"]["model"] == "Llama-3.1-8B"


def test_the_model_of_the_command_line_holds_until_another_is_asked_for():
    agent = Agent(DEMO, Asked("Llama-3.1-8B", "default", {"phase": "decode", "batch": 8}))

    def model(**asked):
        return agent.ask("get_sol", **asked).json["entries"][0]["budget"]

    assert (model()["model"], model()["phase"]) == ("Llama-3.1-8B", "decode")
    assert model(traffic={"phase": "prefill"})["phase"] == "prefill"
    assert model(model="Qwen3-32B")["model"] == "Qwen3-32B"


@pytest.mark.parametrize(
    ("tool", "asked", "message"),
    [
        ("get_sol", {"since": "tomorrow"}, "is not a time"),
        ("get_sol", {"since": "1h"}, "the recording lasts from"),
        ("get_sol", {"since": "20s", "until": "10s"}, "the recording lasts from"),
        ("get_sol", {"by": "often"}, "is not a duration"),
        ("get_sol", {"by": "1ms"}, "longer period"),
        ("get_sol", {"gpu": 7}, "get_status lists them"),
        ("get_sol", {"gpu": 0, "since": "4s", "by": "phase", "until": "4500ms"}, "no phase"),
        ("get_sol", {"model": "/etc/passwd"}, "neither a file nor a known model"),
        ("get_sol", {"traffic": {"phase": "decode"}}, "--model"),
        ("get_sol", {"model": "Qwen3-32B", "traffic": {"batch": 0}}, "greater than or equal"),
        ("get_timeline", {"bins": 0}, "greater than or equal"),
        ("get_events", {"severity": "bad"}, "'info', 'warning' or 'critical'"),
    ],
)
def test_a_question_that_makes_no_sense_is_told_so(demo, tool, asked, message):
    reply = demo.ask(tool, **asked)

    assert reply.is_error
    assert message in reply.text
    assert "Traceback" not in reply.text


def test_timeline_has_the_series_of_the_charts(demo):
    found = demo.ask("get_timeline", since="20s", until="60s", bins=8, gpu="GPU-5894").json

    begin, end = found["from_ns"], found["to_ns"]
    [gpu] = found["gpus"]
    expected = series(Recording.open(DEMO), GPU, from_ns=begin, to_ns=end, bins=8)
    for name in ("busy_pct", "memory_sol_pct", "power_watts"):
        assert gpu["series"][name] == pytest.approx(expected[name], rel=0.02, abs=0.02)
    assert found["bin_ns"] * 8 == end - begin
    assert set(gpu["series"]["bound_by"]) >= {"compute", "host"}
    assert found["phases"][0]["name"] == {"from_process": "decode_launch_bound"}


def test_timeline_shows_where_nothing_was_measured(agent):
    [gpu] = agent.ask("get_timeline", bins=10).json["gpus"]

    assert gpu["series"]["busy_pct"] == [50.0] * 3 + [None] * 3 + [50.0] * 4


def test_processes_are_those_on_the_gpu_with_their_host_side(demo):
    [process] = demo.ask("get_processes", gpu=0).json["processes"]

    assert process["pid"] == 534
    assert process["command_line"]["from_process"].startswith("python3 -m lab.tour")
    assert process["vram_used_bytes"] > 1e9


def test_events_come_newest_first_and_only_as_severe_as_asked(agent):
    every = agent.ask("get_events").json["events"]
    severe = agent.ask("get_events", severity="warning").json["events"]
    newest = agent.ask("get_events", limit=1).json
    later = agent.ask("get_events", since="5500ms").json["events"]

    assert [one["kind"] for one in every] == ["xid", "recording_started"]
    assert [one["kind"] for one in severe] == ["xid"]
    assert newest["cut"]["events"] == {"shown": 1, "of": 2}
    assert later == []


def test_select_returns_rows_with_exact_numbers(demo):
    query = "SELECT source, count(*) AS n, sum(duration_ns) AS ns FROM gpu_counters GROUP BY 1"
    found = demo.ask("run_sql", query=f"{query} ORDER BY 1").json

    assert [column["name"] for column in found["columns"]] == ["source", "n", "ns"]
    expected = Recording.open(DEMO).sql(query).to_pylist()
    assert {row[0]["from_process"]: int(row[2]) for row in found["rows"]} == {
        row["source"]: int(row["ns"]) for row in expected
    }


def test_select_of_more_than_an_answer_holds_is_cut_and_says_so(demo):
    few = demo.ask("run_sql", query="SELECT range FROM range(5000)", rows=10).json
    wide = demo.ask("run_sql", query="SELECT * FROM gpu_counters", rows=1000)

    assert few["rows"] == [[number] for number in range(10)]
    assert few["cut"]["rows"] == {"shown": 10, "of": 5000}
    assert len(wide.text.encode()) < 50_000
    assert wide.json["cut"]["rows"]["of"] == 3081


def test_a_recording_without_measurements_says_so(tmp_path):
    agent = Agent(write(tmp_path / "r", {}))

    assert "nothing is recorded yet" in agent.ask("get_status").text


def test_a_damaged_file_is_told_by_name_and_the_rest_is_read(tmp_path):
    directory = write(tmp_path / "r", {"gpu_counters": counters([1]), "events": []})
    damaged = next(directory.glob("gpu_counters/*/*/*.parquet")).with_name("w-000009.parquet")
    damaged.write_bytes(b"PAR1 no more PAR1")
    agent = Agent(directory)

    [told] = agent.ask("get_status").json["skipped_files"]
    counted = agent.ask("run_sql", query="SELECT count(*) FROM gpu_counters").json

    assert damaged.name in told["from_process"]
    assert counted["rows"] == [[1]]
    assert counted["skipped_files"] == [told]


def test_eight_gpus_fit_into_one_answer(tmp_path):
    rows = [row for gpu in range(8) for row in counters(range(1, 61), gpu=f"GPU-{gpu}")]
    agent = Agent(write(tmp_path / "r", {"gpu_counters": rows}))

    found = agent.ask("get_timeline").json

    assert len(found["gpus"]) == 8


def test_a_recording_is_not_changed_by_any_question(hostile, agent):
    before = tree(hostile)

    for tool, asked in (
        ("get_status", {}),
        ("get_sol", {"by": "phase"}),
        ("get_timeline", {}),
        ("get_processes", {}),
        ("get_events", {}),
        ("run_sql", {"query": "SELECT * FROM gpu_counters"}),
        ("run_sql", {"query": "COPY gpu_counters TO 'x.parquet'"}),
    ):
        agent.ask(tool, **asked)

    assert tree(hostile) == before


def test_a_few_questions_find_what_held_the_gpu_up_when_and_by_which_proof(demo):
    """The way of the prompt: from a term of the ledger to a thread, and a query that shows it."""
    worst = max(
        demo.ask("get_sol", by="phase").json["entries"],
        key=lambda one: one["ledger"].get("idle_pct") or 0 if one["bound_by"] == "host" else 0,
    )
    window = {"since": worst["from_ns"], "until": worst["to_ns"]}
    [process] = demo.ask("get_processes", **window).json["processes"]
    proof = demo.ask(
        "run_sql",
        query="SELECT max(busiest_thread_cpu_pct) AS pct, any_value(busiest_tid) AS tid "
        f"FROM process_samples WHERE pid = {process['pid']} "
        f"AND ts_ns BETWEEN {worst['from_ns']} AND {worst['to_ns']}",
    ).json

    assert worst["phase"] == {"from_process": "decode_launch_bound"}
    assert worst["ledger"]["idle_pct"] > 50
    [[pct, tid]] = proof["rows"]
    assert pct > 90
    assert tid == process["pid"]
