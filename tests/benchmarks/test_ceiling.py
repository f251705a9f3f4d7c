"""A kept run is judged anew without a GPU; what it lacks is said."""

import json
from dataclasses import asdict

import pytest
from benchmarks.ceiling_points import WORKLOADS, expect
from lab.announce import PhaseRecord

from benchmarks import ceiling
from gnomon.hardware import profile, sku_facts
from gnomon.performance_model.constants import DEFAULT

PREFILL = next(one for one in WORKLOADS if one.name == "prefill_4x2048")
GPU = {"gpu_uuid": "GPU-1", "gpu_name": "NVIDIA H200"}


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A run at 88 % of the default attainable, with two calibrations that differ by 3 %."""
    for i, memory_bytes_per_s in enumerate((4400e9, 4268e9)):
        found = {**GPU, "schema": 1, "memory_bytes_per_s": memory_bytes_per_s}
        (tmp_path / f"calibration-{i}.json").write_text(json.dumps(found))
    expected = expect(PREFILL, profile(sku_facts("H200-SXM-141GB")), DEFAULT)
    steps_per_s = 0.88 * expected.tokens_per_s / PREFILL.tokens
    record = PhaseRecord(PREFILL.name, 0, round(100 / steps_per_s * 1e9), 100)
    (tmp_path / "phases.jsonl").write_text(json.dumps(asdict(record)) + "\n")
    (tmp_path / "engines.json").write_text(json.dumps({PREFILL.name: "CUDA graph"}))
    summary = {
        "phase": PREFILL.name,
        "uuid": "GPU-1",
        "name": "NVIDIA H200",
        "pipe": "tensor",
        "compute_sol_pct": 100 * 1.01 * expected.flops * steps_per_s / 989.4e12,
    }
    monkeypatch.setattr(ceiling, "_gnomon", lambda *_arguments: {"gpus": [summary]})
    return tmp_path


def test_a_kept_run_is_judged_anew(kept, monkeypatch, capsys):
    results = kept / "results.json"
    monkeypatch.setattr("sys.argv", ["ceiling", "--again", str(kept), "--json", str(results)])
    status = ceiling.main()
    found = json.loads(results.read_text())
    (point,) = found["points"]

    assert status == 1
    assert found["missed"] == ["two calibrations differ by -3.0 % in memory_bytes_per_s"]
    assert (point["name"], point["engine"]) == (PREFILL.name, "CUDA graph")
    assert point["of_default_pct"] == pytest.approx(88)
    assert point["flops_error_pct"] == pytest.approx(1)
    assert [one["gpu_uuid"] for one in found["calibrations"]] == ["GPU-1", "GPU-1"]
    assert "1 points, 1 tolerances missed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("lost", "words"),
    [("calibration-*.json", "name one, --calibration"), ("engines.json", "is no kept run")],
)
def test_what_a_kept_run_lacks_is_said(kept, monkeypatch, capsys, lost, words):
    for file in kept.glob(lost):
        file.unlink()
    monkeypatch.setattr("sys.argv", ["ceiling", "--again", str(kept)])

    assert ceiling.main() == 2
    assert words in capsys.readouterr().err
