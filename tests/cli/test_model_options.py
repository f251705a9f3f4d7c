"""The options that describe a model, as other commands take them; GPUs by name."""

import click
import pytest

from gnomon._errors import CommandError
from gnomon.cli.model_options import gpus, model_options
from gnomon.performance_model.constants import DEFAULT
from gnomon.performance_model.phases import Decode, Serve
from tests.performance_model.models import H200


@pytest.fixture
def ask():
    """Return a function from a command line to what a command gets of it."""

    @click.command()
    @model_options
    def command(asked):
        return asked

    return lambda *arguments: command.main(list(arguments), standalone_mode=False)


def test_options_become_a_workload(ask):
    options = ("--model", "llama-3.1-8b", "--phase", "decode", "--batch", "4", "--context", "99")
    workload = ask(*options, "--tp", "2", "--eager", "--unfused-attention").workload(H200)

    assert workload.architecture.name == "Llama-3.1-8B"
    assert workload.phase == Decode(4, 99)
    assert workload.layout.gpus == 2
    assert workload.constants is DEFAULT
    assert workload.request.is_eager
    assert not workload.execution.is_attention_fused


def test_what_is_not_said_is_not_there(ask):
    assert ask().options == {}
    assert isinstance(ask("--model", "Llama-2-7B").workload(H200).phase, Serve)


def test_means_of_lengths_may_have_a_fraction(ask):
    phase = (
        ask("--model", "Llama-2-7B", "--prompt", "100.5", "--output", "1e2").workload(H200).phase
    )

    assert phase == Serve(32, 100.5, 100)


def test_without_a_model_it_is_said_what_is_missing(ask):
    with pytest.raises(CommandError, match="--model is missing") as raised:
        ask("--batch", "4").workload(H200)
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "sku"),
    [
        ("H200-SXM-141GB", "H200-SXM-141GB"),
        ("h200-sxm-141gb", "H200-SXM-141GB"),
        ("NVIDIA H100 80GB HBM3", "H100-SXM5-80GB"),
    ],
)
def test_a_gpu_is_found_by_its_sku_or_the_drivers_name(name, sku):
    (gpu,) = gpus(name)

    assert gpu.sku == sku
    assert gpu.peak_flops


@pytest.mark.parametrize(
    ("name", "near"), [("H200-SXM", "H200-SXM-141GB"), ("4090", "RTX 4090"), ("B2000", "B200")]
)
def test_an_unknown_gpu_brings_near_names_and_not_the_whole_table(name, near):
    with pytest.raises(CommandError, match=f"--gpu {name}.*{near}") as raised:
        gpus(f"L40S, {name}")
    assert raised.value.exit_code == 2
    assert len(str(raised.value)) < 150


def test_a_slice_of_a_gpu_does_not_pass_for_the_whole():
    (gpu,) = gpus("NVIDIA H100 80GB HBM3 MIG 1g.10gb")

    assert gpu.peak_flops == {}
