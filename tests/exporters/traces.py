"""Traces read back by Perfetto's own message classes, the way its trace processor reads them."""

from collections import defaultdict
from typing import Any, NamedTuple

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as messages

Event = messages.TrackEvent


class Slice(NamedTuple):
    """What was begun and ended on a track; ``depth``: of open slices around it."""

    track: int
    begin_ns: int
    end_ns: int
    name: str
    args: dict[str, Any]
    depth: int
    starts_flows: tuple[int, ...]
    ends_flows: tuple[int, ...]


class Trace:
    """A trace: events sorted by time, those of one instant as they lie in the file."""

    def __init__(self, data):
        self.packets = messages.Trace.FromString(data).packet
        self.tracks = {}
        self.slices, self.instants = [], []
        self.readings = defaultdict(list)
        self._names, self._keys, self._texts = {}, {}, {}
        self._open = defaultdict(list)
        for packet in self.packets:
            self._learn(packet)
        events = [one for one in self.packets if one.HasField("track_event")]
        for packet in sorted(events, key=lambda one: one.timestamp):
            self._take(packet.timestamp, packet.track_event)
        assert not any(self._open.values())
        assert {one.track for one in self.slices} | set(self.readings) <= set(self.tracks)

    def name(self, track):
        one = self.tracks[track]
        return one.process.process_name or one.thread.thread_name or one.name

    def path(self, track):
        """Return the names of a track and of those that it is under, the outermost first."""
        one = self.tracks[track]
        above = self.path(one.parent_uuid) if one.parent_uuid else ()
        return (*above, self.name(track))

    def named(self, name):
        """Return the slices of tracks of this name."""
        return [one for one in self.slices if self.name(one.track) == name]

    def counter(self, *path):
        """Return the (time, value) of the counter that ends in these names."""
        (found,) = [one for one in self.readings if self.path(one)[-len(path) :] == path]
        return self.readings[found]

    def _learn(self, packet):
        assert packet.trusted_packet_sequence_id == 1
        for one in packet.interned_data.event_names:
            assert one.iid not in self._names
            self._names[one.iid] = one.name
        for one in packet.interned_data.debug_annotation_names:
            self._keys[one.iid] = one.name
        for one in packet.interned_data.debug_annotation_string_values:
            self._texts[one.iid] = one.str.decode()
        if packet.HasField("track_descriptor"):
            descriptor = packet.track_descriptor
            assert descriptor.uuid not in self.tracks
            assert descriptor.parent_uuid in {0, *self.tracks}
            self.tracks[descriptor.uuid] = descriptor

    def _take(self, at_ns, event):
        track = event.track_uuid
        if event.type == Event.TYPE_COUNTER:
            self.readings[track].append((at_ns, event.double_counter_value))
        elif event.type == Event.TYPE_SLICE_BEGIN:
            self._open[track].append((at_ns, event))
        elif event.type == Event.TYPE_SLICE_END:
            begin_ns, begun = self._open[track].pop()
            self.slices.append(self._slice(begin_ns, at_ns, begun, len(self._open[track])))
        else:
            assert event.type == Event.TYPE_INSTANT
            self.instants.append(self._slice(at_ns, at_ns, event, 0))

    def _slice(self, begin_ns, end_ns, event, depth):
        return Slice(
            event.track_uuid,
            begin_ns,
            end_ns,
            self._names[event.name_iid] if event.name_iid else event.name,
            {self._keys[one.name_iid]: self._value(one) for one in event.debug_annotations},
            depth,
            tuple(event.flow_ids),
            tuple(event.terminating_flow_ids),
        )

    def _value(self, annotation):
        if annotation.WhichOneof("value") == "string_value_iid":
            return self._texts[annotation.string_value_iid]
        return getattr(annotation, annotation.WhichOneof("value"))
