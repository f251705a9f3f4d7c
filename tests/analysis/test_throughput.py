"""Work over time, against closed forms."""

import numpy as np
import pytest

from gnomon.analysis.activity import ThreadActivity
from gnomon.analysis.lanes import Grid
from gnomon.analysis.questions import Span, ThreadKey
from gnomon.analysis.steps import Mark, Steps
from gnomon.analysis.throughput import active_grid, counted_launches_per_s, throughput, tokens_per_s
from gnomon.recording.memory import MemoryRecording
from tests.analysis.scenes import BEGIN_NS, SECOND_NS, memory
from tests.detectors.worlds import World

GRID = Grid(Span(BEGIN_NS, BEGIN_NS + 4 * SECOND_NS), 4, SECOND_NS)


def marked(*spans):
    """Phases given as (begin s, end s, tokens)."""
    return memory(
        phases=[
            {
                "ts_ns": BEGIN_NS + int(at * SECOND_NS),
                "duration_ns": 0,
                "name": f"p{number}",
                "edge": edge,
                "pid": 1,
                "tokens": tokens if edge == "end" else None,
            }
            for number, (begin, end, tokens) in enumerate(spans)
            for edge, at in (("begin", begin), ("end", end))
        ]
    )


def activity(from_s, to_s, feeds_gpu=True):
    span = Span(BEGIN_NS + int(from_s * SECOND_NS), BEGIN_NS + int(to_s * SECOND_NS))
    nothing = dict.fromkeys(("run_queue_ns", "io_ns", "voluntary_ns"))
    return ThreadActivity(
        ThreadKey(None, 1, 1),
        span,
        (),
        feeds_gpu=feeds_gpu,
        is_followed=False,
        is_off_cpu_biased=False,
        stays=0,
        idle_ns=0,
        off_cpu_ns=0,
        **nothing,
    )


def test_tokens_are_spread_over_their_phase_and_overlapping_phases_add_up():
    found = tokens_per_s(marked((0, 2, 100), (1, 3, 40), (3.5, 4.5, 10)), GRID, fewest=1)

    assert found.tolist() == pytest.approx([50, 70, 20, 5])


def test_a_few_phases_do_not_tell_how_throughput_went():
    assert tokens_per_s(marked((0, 4, 100)), GRID) is None
    assert tokens_per_s(MemoryRecording(), GRID, fewest=1) is None


def test_a_step_counts_in_each_second_for_its_share_of_it():
    starts = BEGIN_NS + (np.array([0.5, 1.5, 2.0, 2.5, 4.5]) * SECOND_NS).astype(np.int64)
    steps = Steps(ThreadKey(None, 1, 1), Mark("cudaStreamSynchronize", None, None), 9, starts)
    found = throughput(MemoryRecording(), None, GRID, steps)

    assert found.metric == "steps"
    assert found.is_done
    # From 0.5 to 1.5 s one, two halves until 2.5 s, then one of two seconds.
    assert found.per_s.tolist() == pytest.approx([0.5, 1.5, 1.25, 0.5])


def test_steps_that_are_only_queued_are_not_done():
    starts = BEGIN_NS + np.arange(9) * SECOND_NS
    steps = Steps(ThreadKey(None, 1, 1), Mark("cudaLaunchKernel", 7, None), 9, starts)

    assert not throughput(MemoryRecording(), None, GRID, steps).is_done


def test_sampled_launches_count_by_their_weight(tmp_path):
    world = World(2, "eager_small", 6, sample_every=10, graph=False, nested=False)
    recording = world.record(tmp_path)
    with recording.session() as session:
        span = Span(world.begin_ns, world.end_ns)
        grid = Grid(span, 6, SECOND_NS)
        found = counted_launches_per_s(session, grid)
    launched = len(world.jobs[0].steps) * world.knobs.launches

    assert found.sum() == pytest.approx(launched, rel=0.15)


def test_bins_cover_the_time_in_which_somebody_fed_a_gpu():
    threads = [activity(1, 5.7), activity(2, 7.9), activity(0, 99, feeds_gpu=False)]
    grid = active_grid(threads, SECOND_NS, 100)

    assert (grid.span.from_ns, grid.bins, grid.bin_ns) == (BEGIN_NS + SECOND_NS, 6, SECOND_NS)
    assert active_grid(threads, SECOND_NS, 3).bins == 3
    assert active_grid([activity(1, 1.5)], SECOND_NS, 100) is None
    assert active_grid([], SECOND_NS, 100) is None


@pytest.mark.parametrize(("step_s", "until_s"), [(7, 28), (0.5, None)])
def test_what_follows_the_last_step_may_be_a_part_of_one(step_s, until_s):
    starts = BEGIN_NS + (np.arange(5) * step_s * SECOND_NS).astype(np.int64)
    steps = Steps(ThreadKey(None, 1, 1), Mark("cudaStreamSynchronize", None, None), 9, starts)
    grid = active_grid([activity(0, 34)], SECOND_NS, 100, steps)
    until_ns = throughput(MemoryRecording(), None, grid, steps).until_ns

    assert grid.bin_ns == max(SECOND_NS, 3 * step_s * SECOND_NS)
    assert until_ns == (until_s and BEGIN_NS + until_s * SECOND_NS)
