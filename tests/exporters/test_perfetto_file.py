"""The bytes of a trace, read by Perfetto's own classes."""

import io

from hypothesis import given
from hypothesis import strategies as st

from gnomon.exporters import perfetto_file
from gnomon.exporters.perfetto_file import PerfettoFile
from tests.exporters.traces import Trace, messages

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXTS


def _instants(*many):
    out = io.BytesIO()
    file = PerfettoFile(out, 0)
    track = file.track("place")
    for at_ns, (name, args) in enumerate(many, 1):
        file.instant(track, at_ns, name, args)
    file.flush()
    return Trace(out.getvalue())


@given(st.lists(st.tuples(TEXTS, st.dictionaries(TEXTS, VALUES, max_size=3)), max_size=5))
def test_names_and_arguments_come_back_as_they_were(many):
    assert [(one.name, one.args) for one in _instants(*many).instants] == many


def test_a_text_is_written_once_and_endless_ones_are_not_remembered(monkeypatch):
    monkeypatch.setattr(perfetto_file, "MOST_TEXTS", 2)
    trace = _instants(*[(name, {"key": name}) for name in "aabbccdd"])
    kept = [one.name for packet in trace.packets for one in packet.interned_data.event_names]

    assert kept == ["a", "b"]
    assert "".join(one.name for one in trace.instants) == "aabbccdd"
    assert "".join(one.args["key"] for one in trace.instants) == "aabbccdd"


def test_times_are_unix_time_on_the_axis_too():
    clocks, first, *others = _instants(("a", {})).packets

    assert clocks.clock_snapshot.primary_trace_clock == messages.BUILTIN_CLOCK_REALTIME
    assert first.trace_packet_defaults.timestamp_clock_id == messages.BUILTIN_CLOCK_REALTIME
    assert first.sequence_flags == messages.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
    assert {one.sequence_flags for one in others} == {
        messages.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
    }


def test_what_waits_to_be_written_stays_small(monkeypatch):
    monkeypatch.setattr(perfetto_file, "PACKETS_AT_ONCE", 10)
    out = io.BytesIO()
    file = PerfettoFile(out, 0)
    track = file.track("place")
    for at_ns in range(1000):
        file.reading(track, at_ns, at_ns / 2)
    waiting = len(file._trace.packet)
    file.flush()

    assert waiting <= 10
    assert file.bytes == len(out.getvalue())
    assert len(Trace(out.getvalue()).counter("place")) == 1000
