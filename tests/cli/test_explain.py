"""``gnomon explain`` on published recordings, as a user runs it."""

import json
from pathlib import Path

import pytest

from gnomon import tables
from gnomon.enums import Cause
from gnomon.recording.importers.ingero import import_ingero
from gnomon.recording.writer import RecordingWriter
from tests.detectors.worlds import World

PUBLISHED = Path(__file__).parents[1] / "data" / "ingero"
KEYS_OF_A_FINDING = {
    *("cause", "severity", "from_ns", "to_ns", "gpu", "pid", "tid", "thread", "operation"),
    *("rank", "lost_pct", "lost_seconds", "evidence", "ruled_out", "remedy", "expected_gain"),
    "confidence",
}


@pytest.fixture(scope="module")
def vllm(tmp_path_factory):
    directory = tmp_path_factory.mktemp("explain") / "vllm"
    import_ingero(PUBLISHED / "vllm-37343-logprobs-amplification.db", directory)
    return directory


def test_the_terminal_says_what_was_lost_and_why(gnomon, vllm):
    done = gnomon("explain", vllm)

    assert (done.returncode, done.stderr) == (0, "")
    assert "[first_use_loading]" in done.stdout
    assert "thread 72801 (VLLM::EngineCor)" in done.stdout
    assert "3 rows of off_cpu were not kept" in done.stdout
    assert "Detectors that failed" not in done.stdout


def test_json_has_the_agreed_shape_and_every_query_gives_its_value_again(gnomon, vllm):
    found = json.loads(gnomon("explain", vllm, "--json").stdout)

    assert found["schema"] == 1
    assert {"from_ns", "to_ns"} <= set(found["window"])
    assert found["losses"]["events_dropped"] == 3
    assert found["failed"] == {}
    assert {one["cause"] for one in found["findings"]} >= {"first_use_loading", "host_bound"}
    for one in found["findings"]:
        assert set(one) >= KEYS_OF_A_FINDING
        for proof in (*one["evidence"], *one["ruled_out"]):
            rows = json.loads(gnomon("query", vllm, proof["sql"], "--json").stdout)
            assert [[*row.values()] for row in rows] == [[proof["value"]]]


def test_a_range_a_cause_and_a_severity_narrow_what_is_told(gnomon, vllm):
    of_cause = json.loads(gnomon("explain", vllm, "--cause", "first_use_loading", "--json").stdout)
    severe = json.loads(gnomon("explain", vllm, "--severity", "critical", "--json").stdout)
    early = json.loads(gnomon("explain", vllm, "--to", "1s", "--json").stdout)

    assert {one["cause"] for one in of_cause["findings"]} == {"first_use_loading"}
    assert set(of_cause["unavailable"]) <= {"first_use_loading"}
    assert {one["severity"] for one in severe["findings"]} <= {"critical"}
    assert severe["less_severe"] > 0
    assert early["findings"] == []
    assert early["looked_at"]["seconds"] == pytest.approx(1)


def test_markdown_and_a_page_come_out_whole(gnomon, vllm, tmp_path):
    done = gnomon("explain", vllm, "--markdown", "--html", tmp_path / "p.html")

    assert done.stdout.startswith("# gnomon explain")
    assert done.stderr == f"{tmp_path / 'p.html'}: written\n"
    page = (tmp_path / "p.html").read_text()
    assert "thread 72801 VLLM::EngineCor" in page
    assert page.count("<article") == done.stdout.count("<details>")


def test_a_simulated_world_with_counters_and_ranks_has_a_page(gnomon, tmp_path):
    World(5, "training", seconds=5, counters=True, ranks=2, hosts=1).record(tmp_path / "w")

    assert gnomon("explain", tmp_path / "w", "--html", tmp_path / "p.html").returncode == 0
    page = (tmp_path / "p.html").read_text()
    assert "compute SOL" in page
    assert page.count('class="lane full"') >= 4


def test_a_recording_of_one_instant_is_looked_at(gnomon, tmp_path):
    with RecordingWriter(tmp_path / "r", "host-1") as writer:
        row = {"ts_ns": 10**18, "duration_ns": 0, "layer": "cuda_runtime", "operation": "cudaFree"}
        writer.append("host_calls", tables.batch("host_calls", [row]))
    done = gnomon("explain", tmp_path / "r", "--html", tmp_path / "p.html")

    assert done.returncode == 0
    assert "Nothing wrong was found; " in done.stdout
    assert "1 CUDA call of 1 thread" in done.stdout


def test_hosts_are_explained_together(gnomon, tmp_path):
    world = World(5, "training", seconds=5, ranks=2, hosts=2, counters=True, follow="all")
    world = world.with_fault("host_bound", share=0.4)
    world.record_each(tmp_path / "w")
    hosts = sorted((tmp_path / "w").iterdir())
    found = json.loads(gnomon("explain", *hosts, "--json").stdout)

    assert found["looked_at"]["dispatch_threads"] == 2
    assert found["findings"]
    assert set(found["clocks"]) == {"node-0", "node-1"}
    for proof in (proof for one in found["findings"] for proof in one["evidence"]):
        rows = json.loads(gnomon("query", *hosts, proof["sql"], "--json").stdout)
        assert [[*row.values()] for row in rows] == [[proof["value"]]]
    assert gnomon("explain", hosts[0], hosts[0]).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cause", "gremlins"], "--cause gremlins: there is no detector of this name"),
        (["--json", "--markdown"], "--json and --markdown exclude each other"),
        (["--from", "5s", "--to", "4s"], "--from is not before --to"),
        (["--severity", "bad"], "'bad' is not one of"),
    ],
)
def test_what_makes_no_sense_is_refused(gnomon, vllm, arguments, message):
    done = gnomon("explain", vllm, *arguments)

    assert done.returncode == 2
    assert message in done.stderr


def test_a_cause_is_named_by_the_word_of_the_vocabulary(gnomon, vllm):
    done = gnomon("explain", vllm, "--cause", "gremlins")

    names = done.stderr.partition("there are: ")[2].strip().split(", ")
    assert set(names) <= {*Cause}
