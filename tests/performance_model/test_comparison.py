"""GPUs side by side: figures by hand, places, and those that do not fit last."""

import pytest

from gnomon.hardware import profile, sku_facts
from gnomon.performance_model.comparison import MEASURES, compare, ranks
from gnomon.performance_model.workload import Request, workload
from tests.performance_model.models import H100, H200, bf16

L40S = profile(sku_facts("L40S"))
LLAMA = bf16("Llama-3.1-8B")


def candidates(*gpus, costs=None, model=LLAMA):
    workloads = [workload(Request(phase="decode", tp=2), model, gpu) for gpu in gpus]
    return compare(workloads, costs or [None] * len(gpus))


def test_tokens_for_money_and_power_are_those_of_all_gpus():
    (one,) = candidates(H200, costs=[3.6])
    per_gpu = one.ceiling.tokens_per_s / 2

    assert one.tokens_per_s_per_gpu == per_gpu
    assert one.tokens_per_joule == pytest.approx(per_gpu / 700)  # TDP of an H200 SXM in W
    assert one.tokens_per_money == pytest.approx(per_gpu * 3600 / 3.6)
    assert one.effective_tflops_per_gpu == pytest.approx(
        one.ceiling.compute_sol_pct / 100 * 989.4, rel=1e-3
    )


def test_more_bandwidth_decodes_faster_and_a_low_price_buys_more():
    found = candidates(L40S, H100, H200, costs=[0.5, 3, 3])
    places = ranks(found)

    assert [one.workload.gpu for one in found] == [H200, H100, L40S]
    assert places["tokens_per_s_per_gpu"] == (1, 2, 3)
    assert places["tokens_per_money"][2] == 1
    assert places.keys() == set(MEASURES)


def test_what_does_not_fit_comes_last_and_what_is_not_known_has_no_place():
    found = candidates(H100, H200, model=bf16("Llama-3.1-70B"))

    assert [one.fits for one in found] == [True, False]
    assert ranks(found)["tokens_per_money"] == (None, None)


def test_the_same_gpu_twice_has_a_place_by_each_price_and_equals_share_theirs():
    found = candidates(H200, H200, L40S, costs=[3, 1, None])
    places = ranks(found)

    assert [one.gpu_hour_cost for one in found] == [3, 1, None]
    assert places["tokens_per_money"] == (2, 1, None)
    assert places["tokens_per_s_per_gpu"] == (1, 1, 3)
