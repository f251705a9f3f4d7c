import io
import json

import pytest
from rich.console import Console

from gnomon.cli import roofline_rendering
from gnomon.cli.commands.demo import bundled_directory
from tests.cli.test_roofline_plot import picture

MODEL = ("--model", "Llama-3.1-8B", "--phase", "decode", "--batch", "32", "--context", "1024")
H200 = ("--gpu", "H200-SXM-141GB")
SCREEN = (80, 24)


def document(done):
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["schema"] == 1
    return found


def test_json_of_a_model(gnomon):
    found = document(gnomon("roofline", *MODEL, *H200, "--json"))

    (roof,) = found["roofs"]
    assert roof["dtype"] == "bf16"
    assert roof["ridge_flop_per_byte"] == pytest.approx(206.1, abs=0.1)
    operators = {one["name"]: one for one in found["operators"]}
    # 32 tokens x 2 FLOP a weight of 2 bytes, with the activations of 32 tokens on top.
    assert 31 < operators["mlp_gate_up"]["flop_per_byte"] < 32
    assert found["step"]["mark"] == "@"
    assert found["measured"] == []
    assert {one["metric"] for one in found["typical"]} == {"mbu"}


def test_json_of_a_recording_has_a_point_a_phase_and_both_ridges(gnomon):
    found = document(gnomon("roofline", bundled_directory(), "--json"))

    measured = {one["name"]: one for one in found["measured"]}
    assert {"prefill_8x2048", "gemm_bf16_8192"} <= measured.keys()
    assert {one["name"] for one in found["left_out"]} == {"idle", "copy_device", "one_thread_loop"}
    ridges = {roof["kind"]: roof["ridge_flop_per_byte"] for roof in found["roofs"]}
    clock = found["measured_clock"]["mhz"]
    assert ridges["measured_clock"] == pytest.approx(ridges["datasheet"] * clock / 1830, rel=1e-3)
    assert found["gpu"]["sku"] == "H200-SXM-141GB"


def test_a_recording_without_phases_is_one_point_and_periods_are_several(gnomon):
    late = ("roofline", bundled_directory(), "--from", "56s", "--to", "62s", "--json")

    by_period = document(gnomon(*late, "--by", "2s"))

    assert [one["name"] for one in by_period["measured"]] == ["from 0 s", "from 2 s", "from 4 s"]


def test_model_and_recording_share_one_screen(gnomon):
    done = gnomon("roofline", bundled_directory(), *MODEL)

    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert len(lines) < SCREEN[1]
    assert max(map(len, lines)) <= SCREEN[0]
    for words in ("NVIDIA H200: Llama-3.1-8B, decode", "158 at 1,400 MHz", "@ whole decode step",
                  "mlp_gate_up", "gemm_bf16_8192", "typical decode"):  # fmt: skip
        assert words in done.stdout


@pytest.mark.parametrize("form", [(), ("--operators",), ("--json",)])
def test_what_is_typical_of_other_sizes_is_not_shown(gnomon, form):
    prefill = ("--phase", "prefill", *H200, *form)

    assert "PaLM" not in (small := gnomon("roofline", "--model", "Llama-3.1-8B", *prefill).stdout)
    assert "above 100B" not in small
    assert "above 100B" in gnomon("roofline", "--model", "DeepSeek-V3", *prefill).stdout


def test_a_point_of_fp32_says_what_is_assumed(gnomon):
    found = document(gnomon("roofline", *MODEL, *H200, "--dtype", "fp32", "--json"))

    assert any("assumed in 16 bits" in one for one in found["warnings"])


def test_tables_have_every_point_and_the_sources_of_what_is_typical(gnomon):
    done = gnomon("roofline", bundled_directory(), *MODEL, "--operators")

    for words in ("output_projection", "rope_kv_write", "lora_8x1024", "gpt-fast README"):
        assert words in done.stdout
    assert max(map(len, done.stdout.splitlines()[SCREEN[1] :])) <= 100


def test_a_terminal_without_utf8_gets_plain_ascii():
    out = Console(file=io.TextIOWrapper(io.BytesIO(), "ascii"), width=80)

    roofline_rendering.print_roofline(picture(), out, has_tables=True)

    out.file.flush()
    assert "^" in out.file.buffer.getvalue().decode("ascii")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --gpu, a recording, or both"),
        ((*H200, "--by", "1s"), "--from, --to and --by are of a recording"),
        ((*H200, "--phase", "decode"), "--model is missing"),
        (("--gpu", "H20O"), "no GPU of this name"),
        (("--gpu", "H200-SXM-141GB,H100-SXM5-80GB"), "a roofline is of one GPU"),
        ((*H200, "--model", "Llama-3.1-8B", "--tp", "3"), "tp"),
        ((*H200, "-o", "r.gif"), "a picture ends in one of"),
        ((bundled_directory(), "--gpu", "H100-SXM5-80GB"), "recorded are: NVIDIA H200"),
        ((bundled_directory(), "--by", "1ms"), "take a longer period"),
    ],
)
def test_usage_errors_are_one_line_without_a_traceback(gnomon, arguments, message):
    done = gnomon("roofline", *arguments)

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_operators_of_one_place_share_an_entry_however_many_they_are(gnomon):
    done = gnomon("roofline", *H200, "--model", "Llama-3.1-8B", "--phase", "train")

    assert "mlp_gate_up_input_gradient = mlp_gate_up_weight_gradient" in " ".join(
        done.stdout.split()
    )
    assert max(map(len, done.stdout.splitlines())) <= SCREEN[0]


def test_a_clock_that_may_read_high_makes_upper_bounds(gnomon, h200_recording):
    done = gnomon("roofline", h200_recording, "--operators")

    assert "(nvml, reads high on tensor work)" in " ".join(done.stdout.split())
    assert "<=" in done.stdout
