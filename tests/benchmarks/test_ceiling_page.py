"""The page of the measured ceiling takes its tables from a run."""

import pytest
from benchmarks.ceiling_page import renewed

CALIBRATION = {
    "gpu_name": "NVIDIA H200",
    "flops": {"bf16": {"burst": 791.52e12, "sustained": 650e12}},
    "memory_bytes_per_s": 4320e9,
    "launch_s": 0.5e-6,
}
ROW = {
    "name": "prefill_1x512",
    "engine": "graph",
    "tokens_per_s": 37707.0,
    "default_tokens_per_s": 48248.0,
    "calibrated_tokens_per_s": 41633.0,
    "of_default_pct": 78.15,
    "of_calibrated_pct": 90.57,
    "counter_flops_per_s": 542.3e12,
    "model_flops_per_s": 531.5e12,
    "flops_error_pct": 2.04,
    "padding_pct": 2.0,
    "counter_dram_bytes_per_s": None,
    "model_dram_bytes_per_s": 1512e9,
    "dram_error_pct": None,
    "executed_dram_bytes_per_s": 1299e9,
    "executed_dram_error_pct": None,
    "sm_clock_mhz": 1464.2,
    "power_watts": 684.4,
}
TABLE = "| old |\n|-|\n| row |\n"
PAGE = f"## The points\n\n{TABLE}\nAfter.\n\n## The two calibrations\n\n{TABLE}"


def test_tables_are_made_anew():
    second = CALIBRATION | {"memory_bytes_per_s": 4296e9}
    results = {"points": [ROW], "calibrations": [CALIBRATION, second]}
    page = renewed(f"\n{PAGE}", results)

    assert "old" not in page
    assert "After." in page
    assert "| prefill_1x512 | 37,707 | 78.2 % of 48,248 | 90.6 % of 41,633 | 542.3 | 531.5" in page
    assert "| +2.0 % | 2.0 % | - | 1,512 | - | 1,299 | - | 1,464 | 684 | graph |" in page
    assert "| `flops.bf16.burst` | 80 % | 791.5 TFLOP/s | 791.5 TFLOP/s | +0.00 % | 80.0 %" in page
    assert "| 92 % | 4,320.0 GB/s | 4,296.0 GB/s | -0.56 % | 89.5 % |" in page
    assert "| `launch_s` | 2.0 µs | 0.50 µs | 0.50 µs | +0.00 % |" in page


def test_a_page_without_a_table_is_refused():
    with pytest.raises(ValueError, match="two calibrations"):
        renewed("\n## The points\n\n" + TABLE, {"points": [ROW], "calibrations": [CALIBRATION] * 2})
