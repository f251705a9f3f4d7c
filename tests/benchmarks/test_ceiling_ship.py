"""What ships is the calibration, without whose GPU it was."""

import json

from benchmarks.ceiling_ship import shipped


def test_all_but_the_uuid_is_kept_to_six_digits_with_a_line_to_a_point():
    points = [{"kind": "launch", "seconds": 5.4336634e-7, "shape": {}, "power_watts": None}] * 2
    made = {"schema": 1, "gpu_uuid": "GPU-1", "flops": {"bf16": {"burst": 7.123456789e14}}}
    text = shipped(made | {"points": points, "failures": []})

    assert json.loads(text) == {
        "schema": 1,
        "flops": {"bf16": {"burst": 7.12346e14}},
        "failures": [],
        "points": [points[0] | {"seconds": 5.43366e-7}] * 2,
    }
    assert text.count('\n  {"kind": "launch"') == 2
