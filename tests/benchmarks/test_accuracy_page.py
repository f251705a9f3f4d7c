"""The page of published accuracy takes its tables from a run, and nothing else changes."""

import pytest
from benchmarks.accuracy_page import renewed

CHECKS = [
    {"quantity": "compute SOL", "measured": 66.6, "truth": 66.27, "error": 0.5, "passed": True},
    {"quantity": "ledger clock", "measured": 24.0, "truth": 21.0, "error": 3.0, "passed": False},
]
ROW = {
    "record": {
        "name": "gemm",
        "from_ns": 0,
        "to_ns": 2_000_000_000,
        "model_flops": 1.3e15,
        "flops_dtype": "bf16",
        "model_bytes": None,
        "tokens": None,
    },
    "summary": {
        "bound_by": "clock",
        "pipe": "tensor",
        "ledger": dict.fromkeys(
            [f"{term}_pct" for term in ("copying", "idle", "sm_empty", "stalled", "clock")], 1.0
        )
        | {"padding_pct": None, "achieved_pct": 66.0},
        **dict.fromkeys(
            [
                "busy_pct",
                "engine_active_pct",
                "sm_active_pct",
                "pipe_active_pct",
                "compute_sol_pct",
                "memory_sol_pct",
            ],
            50.0,
        ),
    },
    "clocks_mhz": {"nvml": 1484.0, "cupti": 1343.0, "clock64": None},
    "checks": [check | {"tolerance": 2, "unit": "%"} for check in CHECKS],
}
TABLE = "| old |\n|-|\n| row |\n"
PAGE = "".join(
    f"\n## {heading}: more\n\nWords.\n\n{TABLE}\nAfter.\n"
    for heading in ("The kernels", "The phases", "The ledgers", "Each term")
)


def test_tables_are_made_anew_and_words_stay():
    page = renewed(PAGE, [ROW])

    assert "old" not in page
    assert page.count("Words.") == page.count("After.") == 4
    assert "| gemm | 1484 | 1343 | - | 66.27 | 66.60 | +0.50 % |  |" in page
    assert (
        "| gemm | clock | 50.0 | 50.0 | 50.0 | tensor 50.0 | 50.00 | 50.00 | 650.0 TFLOP/s" in page
    )
    assert "| gemm | ledger clock | 24.00 | 21.00 | +3.00 % **missed** | 2 % |" in page


def test_a_page_without_a_table_is_refused():
    with pytest.raises(ValueError, match="Each term"):
        renewed(PAGE.replace("## Each term", "## Nothing"), [ROW])
