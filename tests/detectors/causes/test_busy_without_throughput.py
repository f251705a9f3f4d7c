"""GPUs that are busy with nothing, and GPUs that are busy."""

import pytest

from gnomon import tables
from gnomon.detectors.causes.busy_without_throughput import SHORTEST_BINS, detect
from gnomon.enums import Severity
from gnomon.hardware import sku_facts
from gnomon.recording.base import Meta
from gnomon.recording.importers.importing import import_gpm_csv
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter
from tests.analysis.scenes import BEGIN_NS, GEMM, GPU, H200, SECOND_NS, rows
from tests.detectors.conftest import PUBLISHED
from tests.detectors.worlds import World

MEASURED = PUBLISHED.parent / "h200_llm"
SPIN = GEMM | {
    "engine_active_pct": 100.0,
    "sm_active_pct": 0.8,
    "tensor_active_pct": 0.0,
    "fp32_active_pct": 0.1,
    "dram_active_pct": 0.2,
}


def test_a_spinning_kernel_is_told_with_what_it_left_empty(tmp_path, case_of):
    world = World(3, "training", 12, counters=True).with_fault("busy_without_throughput")
    case = case_of(world.record(tmp_path))
    (found,) = detect(case)

    assert found.severity is Severity.CRITICAL
    # Busy 97 to 100 % of the time, with 1.5 % of the SMs.
    assert found.lost_seconds == pytest.approx(0.97 * 12, rel=0.12)
    assert found.lost_pct == pytest.approx(97, abs=3)
    for one in (*found.evidence, *found.ruled_out):
        assert case.value(one.sql) == one.value


@pytest.mark.parametrize("kind", ["training", "decode_server", "batch_inference", "idle_server"])
def test_work_and_idleness_are_silence(tmp_path, case_of, kind):
    assert list(detect(case_of(World(4, kind, 8, counters=True).record(tmp_path)))) == []


def test_the_measured_language_model_is_silence(tmp_path, case_of):
    import_gpm_csv(MEASURED / "gpm.csv", tmp_path / "r", sku_facts("H200-SXM-141GB"))

    assert list(detect(case_of(Recording.open(tmp_path / "r")))) == []


def measured(path, counters):
    with RecordingWriter(path, "host") as writer:
        writer.update_meta(Meta(tables.SCHEMA_VERSION, gpus={GPU: H200}))
        writer.append("gpu_counters", tables.batch("gpu_counters", counters))
    return Recording.open(path)


@pytest.mark.parametrize(("seconds", "is_told"), [(SHORTEST_BINS - 2, False), (8, True)])
def test_a_stretch_is_told_from_the_shortest_on(tmp_path, case_of, seconds, is_told):
    work = rows("gpm", GEMM, count=100)
    spin = rows("gpm", SPIN, first=100, count=10 * seconds)
    more = rows("gpm", GEMM, first=100 + 10 * seconds, count=50)
    found = list(detect(case_of(measured(tmp_path, [*work, *spin, *more]))))

    assert bool(found) is is_told
    for one in found:
        # Without NVML's busy the engine's activity stands for it.
        assert one.from_ns == pytest.approx(BEGIN_NS + 10 * SECOND_NS, abs=SECOND_NS)
        assert one.lost_seconds == pytest.approx(seconds, rel=0.15)


def test_a_gpu_that_nobody_knows_is_told_by_its_sms(case_with):
    counters = [*rows("gpm", SPIN, count=100), *rows("nvml", {"busy_pct": 100.0}, count=100)]

    assert len(list(detect(case_with(gpu_counters=counters)))) == 1


def test_without_counters_of_the_sms_there_is_silence(case_with):
    busy = {"busy_pct": 100.0, "power_watts": 200.0}

    assert list(detect(case_with(gpu_counters=rows("nvml", busy, count=100)))) == []
