import pytest

from gnomon.recording.base import Meta, SkippedSegment, Unavailable
from gnomon.tui import health
from gnomon.tui.snapshot import Health
from tests.tui.standins import END_NS, plain, snapshot


def test_sources_losses_events_and_what_is_unavailable_are_told():
    of_sources = {
        "source": "nvml",
        "state": "stalled",
        "period_ns": 1_000_000_000,
        "longest_read_ns": 30_000_000_000,
        "duration_ns": 1_000_000_000,
        "cpu_ns": 3_000_000,
        "failures": 2,
        "reason": "blocked for 30 s",
    }
    found = Health(
        sources=[of_sources],
        losses=[
            {"source": "pm", "table": "gpu_counters", "rows": 5, "reason": "queue_full"},
            {"source": "pm", "table": "gpu_counters", "rows": 7, "reason": "queue_full"},
        ],
        events=[
            {"ts_ns": END_NS - 1, "message": "an older event", "severity": "info"},
            {"ts_ns": END_NS, "message": "GPU 3 is lost", "severity": "critical"},
        ],
        skipped=[SkippedSegment("gpu_counters/x.arrow", "truncated")],
    )

    text = plain(health.lines(snapshot(health=found), 119))

    for part in (
        "stalled",
        "0.30 %",
        "blocked for 30 s",
        "no CUPTI here",
        "install CUPTI",
        "12 rows of gpu_counters (queue_full)",
        "gpu_counters/x.arrow: truncated",
    ):
        assert part in text
    assert text.index("GPU 3 is lost") < text.index("an older event")


def test_nothing_to_tell_is_said_in_words():
    text = plain(health.lines(snapshot(meta=Meta(1)), 79))

    assert "no source reported" in text
    assert "everything that was asked for is being measured" in text


def test_a_long_remedy_is_wrapped_not_cut():
    remedy = "install the driver, or run the demo, which needs no GPU at all, on any machine"
    meta = Meta(1, unavailable=[Unavailable("nvml", "no driver: " + "x" * 30, remedy)])

    assert remedy in " ".join(plain(health.lines(snapshot(meta=meta), 79)).split())


@pytest.mark.parametrize("width", [40, 79, 199])
def test_lines_fit(width):
    assert max(line.cell_len for line in health.lines(snapshot(), width)) <= width
