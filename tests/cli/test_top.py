import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from gnomon.cli import live
from gnomon.recording._worker import Worker
from gnomon.recording.announcement import announce
from tests.standins import DEFAULT_UUID, Scenario, library_environment


@pytest.fixture
def h200(nvml_standin, tmp_path):
    """The environment variables of a machine with two H200, a GEMM running on the first."""
    scenario = Scenario(tmp_path / "scenario.txt", gpus=2)
    scenario.set("nvmlDeviceGetUtilizationRates.gpu", 100, gpu=0)
    for metric, value in {1: 99.9, 2: 96.0, 5: 93.0, 7: 93.0, 10: 17.0}.items():
        scenario.set(f"gpm.{metric}", value, gpu=0)
    scenario.set("nvmlDeviceGetClockInfo.1", 1465, gpu=0)
    variables = library_environment(nvml_standin, scenario)
    return {name: variables[name] for name in ("LD_LIBRARY_PATH", "GNOMON_NVML_SCENARIO")}


def test_once_as_json(gnomon_process, h200):
    done = gnomon_process("top", "--once", "--json", "--interval", "400ms", **h200)
    document = json.loads(done.stdout)

    assert done.returncode == 0, done.stderr
    assert document["schema"] == 1
    busy, idle = document["gpus"]
    assert busy["uuid"] == DEFAULT_UUID.format(index=0)
    assert busy["busy_pct"] == pytest.approx(100)
    # 93 % of cycles at 1465 of 1830 MHz, and NVML's clock reads high: at most.
    assert busy["compute_sol_pct"] == pytest.approx(93 * 1465 / 1830, abs=0.5)
    assert busy["at_most"]
    assert idle["busy_pct"] == 0
    assert idle["verdict"].startswith("idle")


def test_once_as_text(gnomon_process, h200):
    done = gnomon_process("top", "--once", "--interval", "400ms", **h200)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("NVIDIA H200") == 2
    assert "compute SOL" in done.stdout


def test_a_stream_of_json(start_gnomon, h200):
    top = start_gnomon("top", "--json", "--interval", "200ms", **h200)
    documents = [json.loads(top.stdout.readline()) for _ in range(3)]
    top.send_signal(2)

    assert top.wait(30) == 130
    assert [len(document["gpus"]) for document in documents] == [2, 2, 2]
    ends = [document["gpus"][0]["to_ns"] for document in documents]
    assert ends[0] < ends[1] < ends[2]


def test_without_a_gpu_the_reason_is_told(gnomon_process):
    done = gnomon_process("top", "--once")

    assert done.returncode == 1
    assert "no GPU was measured" in done.stderr
    assert "no NVIDIA driver" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_gpu_json_is_an_empty_list_and_stderr_says_why(gnomon_process):
    done = gnomon_process("top", "--json")

    assert done.returncode == 1
    assert json.loads(done.stdout) == {"schema": 1, "gpus": []}
    assert "no GPU" in done.stderr


def test_a_recording(gnomon, h200_recording):
    done = gnomon("top", h200_recording, "--once", "--json", "--interval", "5s")
    (gpu,) = json.loads(done.stdout)["gpus"]

    assert gpu["to_ns"] - gpu["from_ns"] == 5 * 10**9


@pytest.mark.parametrize("options", [[], ["--counters", "cupti"]])
def test_a_running_recorder_is_attached_to(gnomon, environment, h200_recording, options):
    """Also where PM sampling is asked for: two samplers of a GPU would fight."""
    with announce(Path(environment["GNOMON_RUNTIME_DIRECTORY"]), h200_recording):
        done = gnomon("top", "--json", "--once", *options)

    assert [gpu["name"] for gpu in json.loads(done.stdout)["gpus"]] == ["NVIDIA H200"]


def test_the_screen_needs_a_terminal(gnomon_process, h200_recording):
    done = gnomon_process("top", h200_recording)

    assert done.returncode == 1
    assert "terminal" in done.stderr


def test_the_screen_opens_and_q_leaves_it(environment, h200_recording):
    """The very program under a pseudo terminal: it draws the GPU, and ends when told to."""
    ours, theirs = pty.openpty()
    variables = environment | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    command = [sys.executable, "-m", "gnomon", "top", str(h200_recording)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables)
    os.close(theirs)
    shown = b""
    while b"H200" not in shown:
        shown += os.read(ours, 65536)
    os.write(ours, b"q")
    while True:
        try:
            if not os.read(ours, 65536):
                break
        except OSError:  # how Linux says that the other side of a terminal was closed
            break
    os.close(ours)

    assert process.wait(30) == 0


def test_waiting_knows_what_a_silent_source_says_of_itself():
    class Silent:
        name = "silent"
        period_ns = 1

    assert Worker(Silent(), 1).reason == live.NOT_YET
