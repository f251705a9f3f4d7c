"""The JSON of a ceiling: every promised key, in plain types."""

import json

from gnomon.performance_model.capacity import capacity
from gnomon.performance_model.cost import cost
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import Serve
from gnomon.performance_model.report import as_dict
from tests.performance_model.models import H200, bf16, step

PROMISED = {
    "schema": None,
    "model": {"name", "params_total", "params_active", "kv_bytes_per_token"},
    "phase": None,
    "per_gpu": None,
    "flops": None,
    "flops_by_dtype": {"bf16"},
    "bytes": {"weights", "kv_read", "kv_write", "activations", "total"},
    "collective_bytes": None,
    "arithmetic_intensity_flop_per_byte": None,
    "ridge_flop_per_byte": None,
    "time_s": None,
    "tokens_per_s": None,
    "tokens_per_s_per_gpu": None,
    "roofline": {"time_s", "tokens_per_s"},
    "typical": {"tokens_per_s"},
    "ttft_s": None,
    "tpot_s": None,
    "compute_sol_pct": None,
    "memory_sol_pct": None,
    "mfu_pct": None,
    "mbu_pct": None,
    "bound_by": None,
    "fits": {"vram_bytes", "max_batch"},
    "cost": {"money_per_million_tokens", "joules_per_million_tokens"},
    "constants": {"source"},
}
OPERATOR = {
    "name",
    "count",
    "flops",
    "bytes_read",
    "bytes_written",
    "collective_bytes",
    "dtype",
    "time_s",
    "bound_by",
}


def test_a_report_has_every_promised_key_and_is_plain_json():
    model, layout, phase = bf16("Llama-3.1-70B"), Layout(tp=2), Serve(16, 1000, 200)
    answer = step(model, phase, tp=2)
    report = as_dict(
        answer,
        model,
        capacity(model, H200, layout, phase),
        cost(answer.tokens_per_s, layout.gpus, 3.0, H200.tdp_watts),
    )

    assert json.loads(json.dumps(report)) == report
    for key, inner in PROMISED.items():
        assert inner is None or inner <= report[key].keys()
        assert key in report
    assert all(operator.keys() == OPERATOR for operator in report["operators"])
    assert report["model"]["params_total"] == 70_553_706_496
    assert report["bytes"]["total"] == sum(
        value for kind, value in report["bytes"].items() if kind != "total"
    )
