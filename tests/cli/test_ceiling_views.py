"""Sweeps, the climb and GPUs side by side: what they rest on, places, and sweeps of nothing."""

import json
import re

import pytest

from gnomon.performance_model.constants import DEFAULT

LLAMA = ("--model", "Llama-3.1-8B")
H200 = "H200-SXM-141GB"
DECODE = ("--phase", "decode", "--batch", "8")
TOO_LONG = ("--phase", "decode", "--context", "200000")  # Llama-3.1 was made for 131,072 tokens
VIEWS = {
    "sweep": ("--gpu", H200, "--sweep", "batch=1,2"),
    "concurrency": ("--gpu", H200, "--concurrency", "1..2"),
    "gpus": ("--gpu", f"{H200},H100-SXM5-80GB"),
}


@pytest.fixture
def told(gnomon):
    """Return a function that runs ``gnomon ceiling`` and returns its words in one line."""
    return lambda *asked: " ".join(gnomon("ceiling", *LLAMA, *asked).stdout.split())


@pytest.fixture
def document(gnomon):
    """Return a function that runs ``gnomon ceiling --json`` and returns the document."""
    return lambda *asked: json.loads(gnomon("ceiling", *LLAMA, *asked, "--json").stdout)


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_says_its_constants_and_keeps_warnings(told, document, view):
    asked = (*TOO_LONG, *VIEWS[view])
    text, found = told(*asked), document(*asked)

    assert "200000 tokens are more than the 131072" in text
    assert "Default constants: the best public kernels on H100 and H200." in text
    assert [one for one in found["warnings"] if "200000 tokens" in one] == found["warnings"]
    rows = found[view]
    assert all(row["warnings"] == found["warnings"] for row in rows)
    for one in rows if view == "gpus" else [found]:
        assert one["constants"]["source"] == "default"
        assert one["constants"]["memory"] == DEFAULT.memory


def test_a_gpu_whose_kernels_were_not_measured_is_named(told, document):
    asked = (*DECODE, "--gpu", f"L40S,{H200}")
    warning = "NVIDIA L40S: its constants are those of H100 and H200"

    assert warning in told(*asked)
    (only,) = document(*asked)["warnings"]
    assert only.startswith(warning)


def test_many_warnings_of_a_sweep_are_counted_and_not_listed(told, document):
    contexts = ",".join(str(200_000 + step) for step in range(9))
    asked = ("--phase", "decode", "--gpu", H200, "--sweep", f"context={contexts}")
    text = told(*asked)

    assert text.count("warning:") == 5
    assert "and 4 more warnings: --json has all" in text
    assert len(document(*asked)["warnings"]) == 9


def test_the_same_gpu_at_two_prices_has_two_places(told, document):
    asked = (*DECODE, "--gpu", f"{H200},{H200}", "--gpu-hour-cost", "3,1")
    places = {one["gpu_hour_cost"]: one["ranks"] for one in document(*asked)["gpus"]}

    assert [places[cost]["tokens_per_money"] for cost in (1, 3)] == [1, 2]
    assert [places[cost]["tokens_per_s_per_gpu"] for cost in (1, 3)] == [1, 1]
    assert "H200 at 3 " in told(*asked)
    assert "H200 at 1 " in told(*asked)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_sweep_of_which_no_point_can_be_fails_with_the_reason(gnomon, form):
    done = gnomon("ceiling", *LLAMA, "--gpu", H200, "--sweep", "tp=3,5", *form)

    assert done.returncode == 1
    assert "no point of --sweep tp=3,5 can be computed: --tp 3 does not divide" in done.stderr
    assert "num_attention_heads" in done.stdout


def test_qlora_has_nf4_weights_in_words_and_in_json(told, document):
    asked = ("--gpu", H200, "--phase", "lora", "--dtype", "nf4")

    assert "rank 16; nf4 weights" in told(*asked)
    assert document(*asked)["asked"]["weights"] == {
        **dict.fromkeys(("attention", "feed_forward", "experts"), "nf4"),
        **dict.fromkeys(("lm_head", "embedding", "rest"), "bf16"),
    }


def test_fp32_models_say_what_stays_in_sixteen_bits(told, document):
    asked = ("--gpu", H200, "--dtype", "fp32")
    text = told(*asked)

    assert "CUDA cores at work" in text
    assert "tensor cores at work" not in text
    assert "attention and activations are assumed in 16 bits" in text
    for view in ((), ("--sweep", "tp=1")):
        assert any("assumed in 16 bits" in one for one in document(*asked, *view)["warnings"])
    assert "assumed in 16 bits" not in told("--gpu", H200)


def test_help_says_what_a_decoded_token_sees(gnomon):
    text = " ".join(gnomon("ceiling", "--help").stdout.split())

    assert re.search(r"decode: with half of --output, the context", text)
    assert "[default: 2048, or by --prompt]" in text
