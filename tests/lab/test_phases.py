import pytest
from lab.announce import Announcer, PhaseRecord, read_sidecar
from lab.known_work import Work, gemm
from lab.tour import describe, parse

from gnomon.enums import BoundBy
from gnomon.hardware import profile
from lab import phases


def test_names_are_unique_and_every_set_names_phases():
    names = [phase.name for phase in phases.PHASES]

    assert len(set(names)) == len(names)
    for members in phases.SETS.values():
        assert set(members) <= set(names)


def test_bounds_are_words_of_the_vocabulary():
    for phase in phases.PHASES:
        assert phase.bounds
        assert set(phase.bounds) <= {str(bound) for bound in BoundBy}


def test_select_takes_names_and_sets_in_order_without_repeats():
    chosen = [phase.name for phase in phases.select("gemv, kernels,gemm_bf16_4096,idle")]

    assert chosen == ["gemv", *phases.NINE_KERNELS, "idle"]


def test_select_names_what_there_is():
    with pytest.raises(ValueError, match=r"no phase 'gem'; there are all, demo, .*gemv"):
        phases.select("gem")


def test_every_dtype_of_the_nine_kernels_has_a_peak_on_an_h200():
    hopper = profile({"name": "NVIDIA H200", "sm_count": 132})
    for dtype in ("bf16", "fp8", "tf32", "fp64_tensor", "fp32"):
        assert hopper.flops(gemm(1, 1, 1, dtype, "bf16").flops_dtype)


def test_a_phase_survives_the_sidecar(tmp_path):
    path = tmp_path / "phases.jsonl"
    work = Work(5e14, "bf16", 1e12, None)
    record = PhaseRecord.of("gemm", (10, 10 + 2_000_000_000), 7, work, {"idle_pct": 60.0})
    Announcer(sidecar=path).announce(record)
    Announcer(sidecar=path).announce(record)

    assert read_sidecar(path) == [record, record]
    assert record.flops_per_s == 2.5e14
    assert record.bytes_per_s == 5e11


def test_work_of_zero_is_unknown_work():
    record = PhaseRecord.of("idle", (0, 1), 1, Work(flops=0.0, flops_dtype="bf16"), {})

    assert record.model_flops is None
    assert record.flops_dtype is None


def test_description_tells_what_the_program_achieved():
    work = Work(1e15, "bf16", 4.2e12, 300.0)
    line = describe(PhaseRecord.of("gemm", (0, 1_000_000_000), 3, work, {"idle_pct": 0.5}))

    assert "1000.0 TFLOP/s bf16" in line
    assert "4200 GB/s" in line
    assert "300 tokens/s" in line
    assert "idle_pct 0.50" in line


def test_options_have_defaults_that_need_no_recording():
    options = parse([])

    assert options.phases == "demo"
    assert options.recording is None
