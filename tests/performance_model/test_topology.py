"""Links: who hears of whom, and warnings where what is assumed of the wire may not hold."""

import pytest

from gnomon.hardware import profile, sku_facts
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import Decode, Prefill, Train
from gnomon.performance_model.topology import communicating_gpus
from tests.performance_model.models import DENSE, SPARSE, bf16, step

L40S = profile(sku_facts("L40S"))
ONE_DOMAIN = "counted as if one NVLink domain"


@pytest.mark.parametrize(
    ("layout", "phase", "gpus"),
    [
        (Layout(dp=1024), Decode(1, 1), 1),
        (Layout(tp=8, dp=1024), Decode(1, 1), 8),
        (Layout(tp=8, pp=2), Decode(1, 1), 16),
        (Layout(tp=2, ep=16, dp=8), Decode(1, 1), 16),
        (Layout(tp=8, dp=1024), Train(1, 8), 8192),
    ],
)
def test_replicas_hear_of_one_another_for_gradients_and_experts_alone(layout, phase, gpus):
    assert communicating_gpus(layout, phase) == gpus


@pytest.mark.parametrize(
    ("model", "phase", "layout", "gpus"),
    [
        (bf16("Llama-3.1-8B"), Train(1, 8), {"tp": 8, "dp": 1024}, "8,192"),
        (bf16("Llama-3.1-70B"), Decode(1, 8), {"tp": 16}, "16"),
        (DENSE, Prefill(4, 8), {"tp": 8, "pp": 4}, "32"),
        (SPARSE, Decode(1, 8), {"ep": 16, "dp": 16}, "16"),
    ],
)
def test_more_gpus_than_a_node_has_are_warned_of(model, phase, layout, gpus):
    (warning,) = step(model, phase, **layout).warnings

    assert warning.startswith(f"{gpus} GPUs exchange data, {ONE_DOMAIN}")


@pytest.mark.parametrize("layout", [{}, {"tp": 8}, {"tp": 2, "pp": 4}, {"tp": 8, "dp": 100}])
def test_a_node_is_not_warned_of(layout):
    assert step(DENSE, Decode(8, 8), **layout).warnings == ()


def test_a_gpu_without_nvlink_is_counted_at_its_pcie_rate_and_says_so():
    """PCIe 4.0 x16: 16 GT/s x 16 lanes x 128/130 / 8 bits."""
    answer = step(DENSE, Prefill(8, 512), gpu=L40S, tp=2)
    sent = next(one for one in answer.operators if one.operator.name.startswith("tensor_parallel"))

    assert sent.ideal_s == pytest.approx(sent.operator.collective_bytes / 31.508e9, rel=1e-4)
    (warning,) = answer.warnings
    assert "NVIDIA L40S has no NVLink: counted at its PCIe rate, 31.5 GB/s" in warning
    assert step(DENSE, Prefill(8, 512), gpu=L40S, dp=2).warnings == ()
    assert "PCIe switch" in step(DENSE, Train(8, 8), gpu=L40S, dp=9).warnings[1]
