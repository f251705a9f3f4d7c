import json
import shutil

import pytest

from gnomon.analysis.summary import summarize
from gnomon.recording.reader import Recording
from tests.analysis import kernel_recordings

DOCUMENTED_KEYS = {
    "uuid", "name", "from_ns", "to_ns", "samples", "busy_pct", "engine_active_pct",
    "sm_active_pct", "sm_occupancy_pct", "pipe", "pipe_active_pct", "sm_clock_mhz",
    "reference_clock_mhz", "compute_sol_pct", "memory_sol_pct", "dram_bytes_per_s",
    "sm_clock_source", "ledger", "achieved_basis", "at_most", "bound_by", "memory_ledger",
    "losses", "pcie_rx_bytes_per_s", "pcie_tx_bytes_per_s", "nvlink_rx_bytes_per_s",
    "nvlink_tx_bytes_per_s", "cpu_pct", "busiest_thread_cpu_pct", "power_limit_watts",
    "tflops_per_watt", "power_watts", "energy_joules", "throttle_reasons", "vram_used_bytes",
    "vram_total_bytes", "verdict", "unavailable",
}  # fmt: skip


def entries(done):
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["schema"] == 1
    return document["gpus"]


def test_json(gnomon, h200_recording):
    (gpu,) = entries(gnomon("summary", h200_recording, "--json"))

    assert gpu.keys() >= DOCUMENTED_KEYS
    assert gpu["name"] == "NVIDIA H200"
    assert gpu["samples"] == 1073
    assert gpu["nvlink_rx_bytes_per_s"] is None  # not in the file: null, never 0
    assert "nvlink_rx_bytes_per_s" in gpu["unavailable"]
    assert sum(value for value in gpu["ledger"].values() if value is not None) == pytest.approx(100)


def test_json_is_what_analysis_says(gnomon, h200_recording):
    (expected,) = summarize(Recording.open(h200_recording))
    (gpu,) = entries(gnomon("summary", h200_recording, "--json"))

    assert gpu == json.loads(json.dumps(expected.to_json()))


def test_by_phase(gnomon, h200_recording):
    """Means of the file's own columns over a phase, told apart by an independent sum."""
    phases = {gpu["phase"]: gpu for gpu in entries(gnomon("summary", h200_recording,
                                                          "--by", "phase", "--json"))}  # fmt: skip

    assert len(phases) == 9
    assert phases["prefill_b8_l2048"]["busy_pct"] == pytest.approx(99.6, abs=0.3)
    assert phases["prefill_b8_l2048"]["pipe"] == "tensor"
    assert phases["decode_b1_c512"]["compute_sol_pct"] < 0.3


def test_by_period_and_range(gnomon, h200_recording):
    found = entries(
        gnomon("summary", h200_recording, "--from", "10s", "--to", "40s", "--by", "10s", "--json")
    )

    assert [gpu["to_ns"] - gpu["from_ns"] for gpu in found] == [10**10] * 3
    assert found[0]["to_ns"] == found[1]["from_ns"]


def test_text(gnomon, h200_recording):
    done = gnomon("summary", h200_recording, "--gpu", "0")

    assert done.returncode == 0
    assert done.stderr == ""
    verdict = done.stdout.split("\n\n")[1]
    assert "busy" not in verdict.split()[0]
    assert done.stdout.index("starved") < done.stdout.index("what nvidia-smi shows")
    assert "Where 100 % of the compute peak went" in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_text_by_phase_is_short(gnomon, h200_recording):
    done = gnomon("summary", h200_recording, "--by", "phase")

    assert "prefill_b8_l2048" in done.stdout
    assert len(done.stdout.splitlines()) < 9 * 7


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--from", "tomorrow"), 2, "is not a time"),
        (("--by", "fortnight"), 2, "is not a duration"),
        (("--from", "50s", "--to", "10s"), 2, "--from is not before --to"),
        (("--gpu", "5"), 2, "no GPU of this name"),
        (("--from", "2030-01-01"), 2, "nothing from 2030-01-01T00:00:00Z"),
        (("--by", "1ms"), 2, "take a longer period"),
        (("--by", "phase", "--to", "1ms"), 1, "no phase between --from and --to"),
    ],
)
def test_usage_errors(gnomon, h200_recording, arguments, status, message):
    done = gnomon("summary", h200_recording, *arguments)

    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_directory_that_is_no_recording(gnomon, tmp_path):
    missing = gnomon("summary", tmp_path / "nothing")
    empty = gnomon("summary", tmp_path)

    assert missing.returncode == empty.returncode == 1
    assert "no such directory" in missing.stderr
    assert "no recording in" in empty.stderr


def test_a_damaged_segment_is_named_and_the_rest_is_summarized(gnomon, h200_recording, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(h200_recording, copy)
    (phases,) = (copy / "phases").rglob("*.parquet")
    phases.write_bytes(b"not parquet")

    by_phase = gnomon("summary", copy, "--by", "phase")
    whole = gnomon("summary", copy, "--json")

    assert by_phase.returncode == 1
    assert phases.name in by_phase.stderr.replace("\n", "")
    assert "no phases are recorded" in by_phase.stderr
    assert entries(whole)[0]["samples"] == 1073


PREFILL = ["--model", "Llama-3.1-8B", "--phase", "prefill", "--batch", "8", "--prompt", "2048"]


def test_a_model_puts_its_ceiling_beside_what_was_reached(gnomon, h200_recording):
    (gpu,) = entries(gnomon("summary", h200_recording, "--json", *PREFILL))

    compute = gpu["budget"]["compute"]
    assert gpu["budget"]["model"] == "Llama-3.1-8B"
    assert compute["achieved_pct"] == gpu["compute_sol_pct"]
    assert compute["budget_pct"] == pytest.approx(
        compute["attainable_pct"] - compute["achieved_pct"]
    )
    text = gnomon("summary", h200_recording, *PREFILL).stdout
    assert "attainable 74" in text
    assert "Llama-3.1-8B, default constants" in text
    assert gpu["budget"]["traffic"] in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch", "8"], "--batch describes what a model does: add --model"),
        (["--eager"], "--eager describes"),
        (["--model", "Llama-9"], "did you mean"),
        ([*PREFILL, "--context", "100"], "--context is for --phase decode"),
        ([*PREFILL, "--tp", "3"], "tp"),
    ],
)
def test_what_makes_no_sense_of_a_model_is_a_usage_error(gnomon, h200_recording, options, words):
    done = gnomon("summary", h200_recording, *options)

    assert done.returncode == 2
    assert words in done.stderr
    assert done.stdout == ""


def test_a_recording_of_kernels_alone_says_which_command_reads_it(gnomon, tmp_path):
    kernel_recordings.record(tmp_path / "run", **kernel_recordings.measured())
    done = gnomon("summary", tmp_path / "run")

    assert done.returncode == 1
    assert f"see `gnomon kernels {tmp_path / 'run'}`" in done.stderr
