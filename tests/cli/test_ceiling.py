"""``gnomon ceiling``: its JSON, its screens, and what it refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gnomon.performance_model.known import names
from tests.performance_model.test_report import OPERATOR, PROMISED

LLAMA = ("--model", "Llama-3.1-8B")
H200 = ("--gpu", "H200-SXM-141GB")
DECODE = ("--phase", "decode", "--batch", "32", "--context", "1024")


@pytest.fixture
def ceiling(gnomon):
    """Return a function that runs ``gnomon ceiling`` for Llama-3.1-8B on an H200."""
    return lambda *arguments: gnomon("ceiling", *LLAMA, *H200, *arguments)


def document(done):
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_json_has_every_promised_key(ceiling):
    found = document(ceiling(*DECODE, "--count", "2", "--tp", "2", "--json"))

    for key, inner in PROMISED.items():
        assert inner is None or inner <= found[key].keys()
        assert key in found
    assert all(operator.keys() == OPERATOR for operator in found["operators"])
    assert found["gpus"] == 2
    assert found["asked"]["layout"]["tp"] == 2
    assert found["constants"]["source"] == "default"


def test_json_has_the_published_attainable_figures(ceiling):
    """Llama-3.1-8B bf16 on an H200, context 1024: 6,337 tokens/s of 7,816 at the bare peaks."""
    found = document(ceiling(*DECODE, "--json"))

    assert found["tokens_per_s"] == pytest.approx(6337, rel=0.0025)
    assert found["roofline"]["tokens_per_s"] == pytest.approx(7816, rel=0.0025)
    assert found["model"] == {
        "name": "Llama-3.1-8B",
        "params_total": 8_030_261_248,
        "params_active": found["model"]["params_active"],
        "kv_bytes_per_token": 131_072,
    }
    assert found["tpot_s"] == pytest.approx(32 / found["tokens_per_s"])
    assert found["bound_by"] == "memory"


@pytest.mark.parametrize("phase", ["prefill", "decode", "serve", "train", "lora"])
def test_every_phase_has_a_screen_of_80_columns(ceiling, phase):
    done = ceiling("--phase", phase, "--what-if", "--operators", "--gpu-hour-cost", "3")

    assert done.returncode == 0, done.stderr
    assert "tokens/s attainable" in done.stdout
    assert "Default constants" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not re.search(r"[ \t]$|\x1b", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("model", names())
def test_every_model_has_a_screen(gnomon, model):
    done = gnomon("ceiling", "--model", model, *H200, "--tp", "8", "--operators")

    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_answer_comes_first(ceiling):
    lines = ceiling(*DECODE).stdout.splitlines()

    assert lines[0] == "Llama-3.1-8B  on 1 x NVIDIA H200"
    assert re.fullmatch(r"  6,3\d\d tokens/s attainable, bound by memory", lines[3])
    assert re.fullmatch(r"  TPOT 5.0\d ms at least", lines[4])
    assert [line.split()[0] for line in lines[6:9]] == ["roofline", "attainable", "typical"]


def test_a_model_that_does_not_fit_is_computed_with_a_warning(gnomon):
    asked = ("ceiling", "--model", "Llama-3.1-70B", *H200)
    found = document(gnomon(*asked, "--json"))
    told = gnomon(*asked)

    assert found["fits"]["fits"] is False
    assert found["fits"]["max_batch"] == 0
    assert "does not fit" in found["warnings"][0]
    assert found["tokens_per_s"] > 0
    assert "does NOT fit" in told.stdout
    assert "warning: Llama-3.1-70B does not fit" in told.stdout


def test_a_config_of_ones_own_is_read(gnomon, tmp_path):
    config = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 256,
              "num_attention_heads": 4, "intermediate_size": 128}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")

    found = document(gnomon("ceiling", "--model", tmp_path, *H200, "--json"))

    per_layer = 4 * 64 * 64 + 3 * 64 * 128 + 2 * 64
    assert found["model"]["params_total"] == 2 * per_layer + 64 + 2 * 256 * 64


def test_formats_are_overridden(ceiling):
    wide, narrow = (
        document(ceiling(*DECODE, "--json", *more))
        for more in ((), ("--dtype", "fp8", "--kv-dtype", "fp8"))
    )

    assert narrow["model"]["kv_bytes_per_token"] == wide["model"]["kv_bytes_per_token"] / 2
    assert narrow["flops"] == wide["flops"]
    assert narrow["flops_by_dtype"].keys() == {"bf16", "fp8"}
    assert narrow["asked"]["weights"]["feed_forward"] == "fp8"


def test_what_if_ranks_remedies_in_json_too(ceiling):
    found = document(ceiling(*DECODE, "--what-if", "--json"))["what_if"]

    assert found["remedies"][0]["gain_pct"] > found["remedies"][-1]["gain_pct"]
    assert {one["name"] for one in found["assumed"]} == {"CUDA graphs", "fused attention"}
    assert "calibrate" in found["not_applicable"]["more power"]


def test_a_sweep_has_a_row_for_every_combination(ceiling):
    asked = (*DECODE, "--sweep", "tp=1,3", "--sweep", "batch=1..4")
    found = document(ceiling(*asked, "--json"))
    told = ceiling(*asked)

    assert [one["values"] for one in found["sweep"]] == [
        {"tp": tp, "batch": batch} for tp in (1, 3) for batch in (1, 2, 4)
    ]
    assert "num_attention_heads" in found["sweep"][-1]["error"]
    assert found["sweep"][0]["tokens_per_s"] == pytest.approx(249, abs=1)
    assert told.stdout.count("cannot be") == 3 + 1
    assert "(3 x): --tp 3 does not divide num_attention_heads" in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 80


def test_concurrency_climbs_in_a_chart(ceiling):
    found = document(ceiling("--concurrency", "2..1024", "--json"))["concurrency"]
    told = ceiling("--concurrency", "2..1024")

    assert [one["clients"] for one in found] == [2**power for power in range(1, 11)]
    assert [found[0]["bound_by"], found[-1]["bound_by"]] == ["memory", "compute"]
    bars = [len(re.findall("[█#]", line)) for line in told.stdout.splitlines()[5:15]]
    assert min(bars) > 0
    assert max(map(len, told.stdout.splitlines())) <= 80


def test_gpus_are_ranked_by_speed_money_and_power(gnomon):
    asked = ("ceiling", *LLAMA, "--gpu", "L40S,NVIDIA H200", *DECODE, "--gpu-hour-cost", "0.5,9")
    found = document(gnomon(*asked, "--json"))["gpus"]
    told = gnomon(*asked)

    assert [one["gpu"] for one in found] == ["NVIDIA H200", "NVIDIA L40S"]
    assert found[0]["ranks"]["tokens_per_s_per_gpu"] == found[1]["ranks"]["tokens_per_money"] == 1
    assert found[1]["gpu_hour_cost"] == 0.5
    assert "(2)" in told.stdout
    assert "--gpu-hour-cost" in gnomon("ceiling", *LLAMA, "--gpu", "L40S,T4").stdout


def test_the_price_of_the_configuration_is_taken_where_none_is_given(ceiling, environment):
    environment["GNOMON_GPU_HOUR_COST"] = "3.6"
    configured, given = (
        document(ceiling(*DECODE, "--json", *more))["cost"]
        for more in ((), ("--gpu-hour-cost", "7.2"))
    )

    assert configured["gpu_hour_cost"] == 3.6
    assert given["money_per_million_tokens"] == 2 * configured["money_per_million_tokens"]


def calibrate(environment, **fields):
    """Write the calibration of an H200 a day old, as ``gnomon calibrate`` leaves it."""
    folder = Path(environment["GNOMON_STATE_DIRECTORY"]) / "calibrations"
    folder.mkdir(parents=True)
    found = {"schema": 1, "gpu_uuid": "GPU-1", "gpu_name": "NVIDIA H200", "driver": "580",
             "created_ns": 1_760_000_000_000_000_000, **fields}  # fmt: skip
    (folder / "GPU-1.json").write_text(json.dumps(found), encoding="utf-8")
    return folder / "GPU-1.json"


def test_calibrated_constants_are_found_and_say_their_age(ceiling, environment):
    flops = {"bf16": {"burst": 788e12, "sustained": 650e12}}
    path = calibrate(environment, flops=flops)
    prefill = ("--phase", "prefill", "--prompt", "8192")
    default, newest, named = (
        document(ceiling(*prefill, "--json", *more))
        for more in ((), ("--constants", "calibrated"), ("--constants", path))
    )
    told = ceiling(*prefill, "--constants", "calibrated", "--what-if").stdout

    assert newest["constants"]["source"] == named["constants"]["source"] == "calibrated"
    assert newest["constants"]["age_s"] > 0
    assert newest["tokens_per_s"] == named["tokens_per_s"] < default["tokens_per_s"]
    assert "Calibrated on NVIDIA H200 GPU-1, driver 580, " in told
    assert re.search(r"more power +\+", told)


def test_constants_that_ship_are_of_a_device_and_say_so(ceiling, gnomon):
    prefill = ("--phase", "prefill", "--prompt", "8192", "--constants", "shipped")
    told = ceiling(*prefill).stdout

    assert "Default constants: those of NVIDIA H200, driver 580" in told
    refused = gnomon("ceiling", *LLAMA, "--gpu", "T4", *prefill)
    assert refused.returncode == 2
    assert "--constants shipped: no Tesla T4" in refused.stderr


@pytest.mark.parametrize("view", [("--sweep", "tp=1,2"), ("--concurrency", "8..16")])
def test_points_cost_what_their_gpus_do(ceiling, view):
    asked = (*view, "--gpu-hour-cost", "3.6")
    (rows,) = (
        document(ceiling(*asked, "--json"))[key]
        for key in ("sweep", "concurrency")
        if key in view[0]
    )
    told = ceiling(*asked)

    for one in rows:
        expected = 3.6 / 3600 * 1e6 / one["tokens_per_s_per_gpu"]
        assert one["money_per_million_tokens"] == pytest.approx(expected)
    assert "cost/M" in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--constants", "calibrated"), "gnomon calibrate"),
        (("--tp", "3"), "--tp 3 does not divide num_attention_heads"),
        (("--batch", "-1"), "--batch is -1"),
        (("--prompt", "nan"), "--prompt is nan"),
        (("--prompt", "x"), "--prompt"),
        (("--phase", "prefill", "--context", "9"), "--context is for --phase decode"),
        (("--dtype", "fp7"), "--dtype is 'fp7'"),
        (("--gpu-hour-cost", "-1"), "--gpu-hour-cost"),
        (("--gpu-hour-cost", "1,2"), "2 prices for 1 GPUs"),
        (("--gpu-hour-cost", "x"), "--gpu-hour-cost is 'x'"),
        (("--sweep", "layers=1"), "--sweep layers=1"),
        (("--sweep", "batch=1", "--sweep", "batch=2"), "given twice"),
        (("--sweep", "batch=1", "--concurrency", "1..2"), "ask for one"),
        (("--concurrency", "many"), "--concurrency is 'many'"),
        (("--concurrency", "9..1"), "--concurrency 9..1"),
        (("--constants", "/nowhere.json"), "/nowhere.json"),
    ],
)
def test_what_makes_no_sense_is_one_line_that_names_the_option(ceiling, arguments, message):
    done = ceiling(*arguments)

    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def test_a_whole_answer_needs_no_heavy_imports():
    script = "import sys; from gnomon.cli.main import run; run(sys.argv[1:]); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script, "ceiling", *LLAMA, *H200, "--what-if"],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    assert not {"numpy", "pyarrow", "duckdb", "textual", "pynvml"} & set(done.stdout.split())
