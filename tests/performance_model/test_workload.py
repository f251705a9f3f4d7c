"""From options to a phase, a layout and an engine; what contradicts itself is refused by name."""

from dataclasses import replace

import pytest

from gnomon._errors import ModelError
from gnomon.hardware import HardwareProfile
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import Decode, Lora, Prefill, Serve, Train
from gnomon.performance_model.workload import Request, workload
from tests.performance_model.models import DENSE, H200, bf16, rows


def asked(**options):
    return workload(Request(**options), DENSE, H200)


@pytest.mark.parametrize(
    ("options", "phase"),
    [
        ({"phase": "prefill", "batch": 2, "prompt": 9, "cached_prefix": 3}, Prefill(2, 9, 3)),
        ({"phase": "decode", "batch": 2, "context": 9}, Decode(2, 9)),
        ({"phase": "decode", "batch": 2, "prompt": 100, "output": 50}, Decode(2, 125)),
        ({"phase": "prefill", "prompt": 9, "chunk": 4}, Prefill(1, 9, 0, 4)),
        ({"batch": 2, "prompt": 9.5, "output": 3}, Serve(2, 9.5, 3)),
        ({"phase": "train", "prompt": 9, "recompute": "full"}, Train(1, 9, "full")),
        (
            {"phase": "lora", "prompt": 9, "lora_rank": 4, "lora_targets": "q_proj, v_proj"},
            Lora(1, 9, 4, ("q_proj", "v_proj")),
        ),
        ({"phase": "lora", "prompt": 9, "dtype": "nf4"}, Lora(1, 9, is_quantised=True)),
    ],
)
def test_options_make_the_phase_they_say(options, phase):
    assert asked(**options).phase == phase


@pytest.mark.parametrize(
    ("options", "layout"),
    [
        ({"tp": 2, "pp": 2}, Layout(2, 2)),
        ({"count": 8, "tp": 2}, Layout(2, dp=4)),
        ({"count": 4, "tp": 2, "dp": 2}, Layout(2, dp=2)),
        ({"phase": "train", "dp": 4, "zero": 3}, Layout(dp=4, zero=3)),
    ],
)
def test_what_tensor_and_pipeline_parallelism_leave_of_the_gpus_are_replicas(options, layout):
    assert asked(**options).layout == layout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phase": "prefill", "context": 9}, "--context is for --phase decode"),
        ({"phase": "decode", "context": 9, "prompt": 9}, "--context"),
        ({"phase": "decode", "output": 9}, "--prompt"),
        ({"phase": "guess"}, "--phase is 'guess'"),
        ({"recompute": "full"}, "--recompute is for --phase train, lora"),
        ({"phase": "decode", "dtype": "nf4"}, "--dtype nf4"),
        ({"count": 3, "tp": 2}, "--count is 3"),
        ({"count": 4, "dp": 2}, "--count is 4"),
        ({"count": 0}, "--count is 0"),
        ({"zero": 1}, "--zero is for --phase train, lora"),
        ({"phase": "train", "zero": 4}, "--zero is 4"),
        ({"batch": -1}, "--batch is -1"),
        ({"prompt": float("nan")}, "--prompt is nan"),
        ({"kv_dtype": "fp7"}, "--kv-dtype"),
    ],
)
def test_a_contradiction_or_an_absurd_number_names_its_option(options, message):
    with pytest.raises(ModelError, match=message):
        asked(**options)


@pytest.mark.parametrize("phase", ["prefill", "decode", "serve", "train", "lora"])
@pytest.mark.parametrize("tp", [1, 2])
@pytest.mark.parametrize("batch", [1, 300])
def test_whether_it_fits_is_what_capacity_says(phase, tp, batch):
    one = workload(Request(phase=phase, tp=tp, batch=batch), bf16("Llama-2-13B"), H200)

    assert one.fits() is one.capacity().fits


def test_whether_it_fits_is_not_told_of_a_gpu_whose_memory_is_not_known():
    assert replace(asked(), gpu=HardwareProfile("some GPU", None, "computed")).fits() is None


def test_a_changed_workload_starts_from_the_model_as_it_was_read():
    narrow = asked(dtype="fp8")

    assert narrow.changed(dtype="bf16").architecture.formats == DENSE.formats
    assert narrow.changed(batch=7).architecture == narrow.architecture


def test_an_eager_engine_waits_for_python_at_kernels_shorter_than_a_launch():
    graphs, eager = asked(phase="decode"), asked(phase="decode", is_eager=True)
    kernels = sum(one.count for one in rows(eager.ceiling()).values())

    assert eager.ceiling().time_s == pytest.approx(7e-6 * kernels)  # a model of 64 numbers
    assert eager.ceiling().tpot_s == eager.ceiling().time_s
    assert graphs.ceiling().time_s < eager.ceiling().time_s


def test_the_first_token_of_an_eager_engine_is_that_of_its_prefill():
    served = asked(prompt=100, is_eager=True).ceiling()
    alone = asked(phase="prefill", prompt=100, is_eager=True).ceiling()

    assert served.ttft_s == alone.ttft_s == alone.time_s


def test_python_runs_ahead_of_long_kernels():
    llama = bf16("Llama-3.1-8B")
    graphs, eager = (
        workload(Request(phase="prefill", prompt=8192, is_eager=eager), llama, H200).ceiling()
        for eager in (False, True)
    )

    assert eager.time_s == pytest.approx(graphs.time_s, rel=0.001)
