import json
import shutil

import pytest

from gnomon.cli.commands.demo import (
    bundled_directory,
    command,
    expected_bounds,
    wrong_verdicts,
)
from gnomon.recording.marks import phases
from gnomon.recording.reader import Recording

from . import summaries as s


def test_the_phase_of_the_example_is_in_the_bundled_recording():
    words = [word for line, _ in command.examples for word in line.split()]
    names = {phase.name for phase in phases(Recording.open(bundled_directory()))}

    assert words[words.index("--phase") + 1] in names


def test_headless_tells_every_phase_and_its_verdict(gnomon, h200_recording):
    done = gnomon("demo", "--headless", "--recording", h200_recording)

    assert done.returncode == 0, done.stderr
    for phase in ("decode_b1_c512", "prefill_b8_l2048", "lora_b8_l1024"):
        assert phase in done.stdout
    assert done.stdout.count("starved") >= 3


def test_one_phase_as_json(gnomon, h200_recording):
    done = gnomon(
        "demo", "--headless", "--json", "--phase", "lora_b1_l512", "--recording", h200_recording
    )

    assert [gpu["phase"] for gpu in json.loads(done.stdout)["gpus"]] == ["lora_b1_l512"]


def test_a_wrong_verdict_is_an_error(gnomon, h200_recording, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(h200_recording, copy)
    known = {"phases": [{"name": "decode_b1_c512", "bounds": ["compute"]}, {"name": "other"}]}
    (copy / "phases.json").write_text(json.dumps(known))

    done = gnomon("demo", "--headless", "--recording", copy)

    assert done.returncode == 1
    assert "phase decode_b1_c512: diagnosed as host, known to be compute" in done.stderr


def test_wrong_verdicts():
    right = s.phase("gemm", bound_by="clock")
    wrong = s.phase("copy", bound_by="host")
    expected = {"gemm": ["compute", "clock"], "copy": ["memory"], "idle": ["idle"]}

    assert wrong_verdicts([right, wrong], expected) == [
        "phase copy: diagnosed as host, known to be memory",
        "phase idle: not in the recording",
    ]
    assert wrong_verdicts([right], expected) == []  # only one phase was asked for
    assert wrong_verdicts([right, s.phase("unlabelled")], {"gemm": ["clock"]}) == []


def test_no_labels_no_expectations(tmp_path):
    assert expected_bounds(tmp_path) == {}


@pytest.mark.parametrize("headless", [True, False])
def test_an_unknown_phase_lists_the_known_ones(gnomon, h200_recording, headless):
    options = ["--headless"] if headless else []
    done = gnomon("demo", *options, "--phase", "nap", "--recording", h200_recording)

    assert done.returncode == 2
    assert "no phase 'nap'" in done.stderr
    assert "lora_b1_l512" in done.stderr


def test_json_needs_headless(gnomon):
    assert gnomon("demo", "--json").returncode == 2


def test_without_a_terminal_the_screen_says_what_else_there_is(gnomon, h200_recording):
    done = gnomon("demo", "--recording", h200_recording)

    assert done.returncode == 1
    assert "terminal" in done.stderr


def test_the_bundled_recording_is_diagnosed_right(gnomon):
    """Made on an H200; phases.json beside it knows what each phase was written to be."""
    done = gnomon("demo", "--headless", "--json")

    phases = {gpu["phase"]: gpu for gpu in json.loads(done.stdout)["gpus"]}
    assert done.returncode == 0, done.stderr
    assert len(phases) == 8
    lie = phases["one_thread_loop"]
    assert (round(lie["busy_pct"]), lie["compute_sol_pct"] < 1) == (100, True)
    copy = phases["copy_device"]
    known = expected_work()["copy_device"]
    assert copy["dram_bytes_per_s"] == pytest.approx(known["bytes_per_s"], rel=0.01)
    for phase in phases.values():
        terms = [term for term in phase["ledger"].values() if term is not None]
        assert sum(terms) == pytest.approx(100.0, abs=1e-6)
        assert phase["sm_clock_source"] == "cupti"


def expected_work():
    document = json.loads((bundled_directory() / "phases.json").read_text())
    return {
        phase["name"]: {
            "bytes_per_s": (phase["model_bytes"] or 0) / ((phase["to_ns"] - phase["from_ns"]) / 1e9)
        }
        for phase in document["phases"]
    }


def test_the_bundled_recording_is_small():
    size = sum(path.stat().st_size for path in bundled_directory().rglob("*") if path.is_file())

    assert size < 3_000_000
