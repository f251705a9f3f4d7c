"""The chart's data against a simulated world whose faults and idle GPUs are known."""

import numpy as np
import pytest

from gnomon.analysis.questions import Span
from gnomon.detectors.picture import BINS, picture
from tests.detectors.worlds import World


def test_lanes_and_gaps_show_what_a_fault_did(tmp_path, case_of):
    knobs = {"counters": True, "follow": "all", "classes": True, "ranks": 1, "hosts": 1}
    world = World(3, "training", 20, **knobs).with_fault("io_wait", share=0.6, from_s=5, to_s=10)
    made = picture(case_of(world.record(tmp_path / "w")))

    [truth] = world.truth
    [lane] = [one for one in made.lanes if one.thread.tid == truth.tid]
    waited_s = sum(lane.parts["io"]) * made.grid.bin_ns / 1e9
    assert waited_s == pytest.approx(truth.lost_seconds, rel=0.1)
    assert made.is_idle_measured
    idle_s = sum(one or 0 for one in made.idle_pct) / 100 * made.grid.bin_ns / 1e9
    assert idle_s == pytest.approx(truth.gpu_idle_seconds, rel=0.2)  # some was idle before
    assert {"busy_pct", "compute_sol_pct"} <= set(made.gpus[0].series)
    assert made.work is not None
    assert len(made.work.per_s) == BINS
    assert made.names[lane.thread] == "python3"


def test_without_counters_gaps_are_when_no_call_was_under_way(imported, case_of):
    made = picture(case_of(imported["vllm-37343-logprobs-amplification"]))

    assert not made.is_idle_measured
    assert not made.are_all_kept
    assert made.gpus == []
    longest_s = max(one.to_ns - one.from_ns for one in made.silences) / 1e9
    assert longest_s == pytest.approx(8.6656, rel=1e-3)  # as published
    silent_s = sum(made.idle_pct) / 100 * made.grid.bin_ns / 1e9
    assert silent_s == pytest.approx(sum(one.seconds for one in made.silences))
    assert made.work is not None
    assert made.work.per_s.sum() * made.grid.bin_ns / 1e9 == pytest.approx(550 + 1237)  # outermost


def test_where_nobody_feeds_a_gpu_the_threads_that_were_followed_are_drawn(imported, case_of):
    made = picture(case_of(imported["sample-gpu-node-01"]))

    assert made.work is None
    assert list(made.silences) == []
    [lane] = [one for one in made.lanes if one.thread.tid == 1887]
    waited_ns = sum(lane.parts["io"]) * made.grid.bin_ns
    assert waited_ns == pytest.approx(73_728_367, rel=0.02)


def test_a_span_of_no_length_is_drawn_too(imported, case_of):
    recording = imported["sample-gpu-node-01"]
    begin_ns, _ = recording.bounds()
    case = case_of(recording, begin_ns, begin_ns)

    made = picture(case)

    assert made.grid.span == Span(begin_ns, begin_ns)
    assert made.grid.bin_ns == 1
    assert not any(np.any(list(lane.parts.values())) for lane in made.lanes)
