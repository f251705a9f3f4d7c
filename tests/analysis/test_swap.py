"""When swap grew."""

from gnomon import tables
from gnomon.analysis.questions import Span
from gnomon.analysis.swap import SMALLEST_BYTES, swap_growth
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter
from tests.analysis.recordings import BEGIN_NS, SECOND


def test_readings_in_which_swap_grew_are_one_stretch_where_they_follow_each_other(tmp_path):
    used = [0, 0, 1, 2, 2, 3, 0]
    rows = [
        {"ts_ns": BEGIN_NS + at * SECOND, "duration_ns": SECOND, "swap_used_bytes": each}
        for at, each in enumerate(one * SMALLEST_BYTES for one in used)
    ]
    with RecordingWriter(tmp_path, "host-1") as writer:
        writer.append("host_samples", tables.batch("host_samples", rows))
    with Recording.open(tmp_path).session() as session:
        found = swap_growth(session, Span(BEGIN_NS - 1, BEGIN_NS + 10 * SECOND))

    assert [
        ((one.from_ns - BEGIN_NS) // SECOND, (one.to_ns - BEGIN_NS) // SECOND) for one in found
    ] == [(1, 3), (4, 5)]
