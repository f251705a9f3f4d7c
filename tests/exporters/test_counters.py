"""What counters read, and where they read nothing."""

import io

import pytest

from gnomon.analysis.summary import summarize
from gnomon.detectors.report import whole
from gnomon.exporters.perfetto_export import export
from gnomon.exporters.rows import Chosen
from gnomon.hardware import sku_facts
from gnomon.recording.importers.importing import import_gpm_csv
from gnomon.recording.reader import Recording
from tests.analysis import kernel_recordings as kernels
from tests.exporters.traces import Trace

BUSY = "busy (as nvidia-smi tells)"
COUNTERS = {
    "compute SOL": "compute_sol_pct",
    "memory SOL (DRAM active)": "memory_sol_pct",
    "power": "power_watts",
}


def _traced(path):
    recording = Recording.open(path)
    out = io.BytesIO()
    chosen = Chosen(whole(recording.bounds()))
    done = export(recording, chosen, out, hosts={}, has_findings=False)
    return recording, done, Trace(out.getvalue())


def _mean(readings, from_ns, to_ns):
    """Return the mean of a value that holds until the next one."""
    ends = [*(at for at, _ in readings[1:]), to_ns]
    pieces = [
        (value, min(end, to_ns) - max(at, from_ns))
        for (at, value), end in zip(readings, ends, strict=True)
    ]
    return sum(value * max(0, ns) for value, ns in pieces) / (to_ns - from_ns)


def test_the_counters_of_a_language_model_have_the_means_of_the_summary(tmp_path):
    files = kernels.MEASURED.parent / "h200_llm"
    phases = files / "phases.jsonl"
    facts = sku_facts("H200-SXM-141GB")
    import_gpm_csv(files / "gpm.csv", tmp_path, facts, phases_file=phases)
    recording, _, trace = _traced(tmp_path)
    decode = max(
        (one for one in trace.named("phases") if "decode" in one.name),
        key=lambda one: one.end_ns - one.begin_ns,
    )
    (told,) = summarize(recording, from_ns=decode.begin_ns, to_ns=decode.end_ns)

    for name, field in COUNTERS.items():
        mean = _mean(trace.counter(name), decode.begin_ns, decode.end_ns)
        assert mean == pytest.approx(getattr(told, field), rel=0.01), name


def _row(begin_s, busy_pct):
    return {
        "ts_ns": kernels.BEGIN_NS + (begin_s + 1) * kernels.SECOND,
        "duration_ns": kernels.SECOND,
        "gpu_uuid": kernels.GPU_UUID,
        "source": "nvml",
        "busy_pct": busy_pct,
    }


def test_a_stretch_in_which_nothing_was_read_is_told_and_a_value_that_stays_is_written_once(
    tmp_path,
):
    read = [(0, 10.0), (1, 10.0), (2, 20.0), (8, 20.0), (9, None), (20, 5.0)]
    _, _, trace = _traced(kernels.record(tmp_path, gpu_counters=[_row(*one) for one in read]))
    at = {begin_s: kernels.BEGIN_NS + begin_s * kernels.SECOND for begin_s in range(25)}

    assert trace.counter(BUSY) == [(at[0], 10.0), (at[2], 20.0), (at[20], 5.0)]
    unread = trace.named(f"{BUSY}: not read")
    assert [(one.begin_ns, one.end_ns) for one in unread] == [(at[3], at[8]), (at[9], at[20])]
