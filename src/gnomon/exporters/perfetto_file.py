"""A Perfetto trace (protobuf) that is written as it comes.

Messages are those of the ``perfetto`` package: ``TracePacket`` with a ``TrackDescriptor`` or a
``TrackEvent``. Times are Unix nanoseconds, which the trace's clock is told to be. A text is
written once and is a number from then on (``InternedData``). Only packets that wait to be written
and the texts are held in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

# Serialising packets one by one takes half as long again.
PACKETS_AT_ONCE = 4096
# Names that a program numbers ("step 123") are endless: those beyond are written out each time.
MOST_TEXTS = 100_000
SEQUENCE = 1

Value = int | float | str


class PerfettoFile:
    """Tracks, and what is on them, written into a binary file.

    Events of a track have to come in the order of time where they touch: what ends at an instant
    before what begins at it. Raises ImportError where the ``perfetto`` package is not installed.
    """

    def __init__(self, file: IO[bytes], begin_ns: int) -> None:
        """``begin_ns``: no event is long before it; the clock is tied to it."""
        from perfetto.protos.perfetto.trace import (  # noqa: PLC0415  50 ms, an extra
            perfetto_trace_pb2 as messages,
        )

        self.tracks = 0
        self.bytes = 0
        self._messages: Any = messages
        self._file = file
        self._trace = messages.Trace()
        # Of names, keys and texts: which number stands for which.
        self._names: dict[str, int] = {}
        self._keys: dict[str, int] = {}
        self._texts: dict[str, int] = {}
        self._begin = messages.TrackEvent.TYPE_SLICE_BEGIN
        self._end = messages.TrackEvent.TYPE_SLICE_END
        self._open(begin_ns)

    def group(self, name: str, *, parent: int = 0, rank: int = 0) -> int:
        """Return a new track that others are under, in the order of their ranks."""
        descriptor = self._descriptor(parent, rank, name)
        descriptor.child_ordering = self._messages.TrackDescriptor.EXPLICIT
        return int(descriptor.uuid)

    def track(self, name: str, *, parent: int = 0, rank: int = 0) -> int:
        """Return a new track for slices; the UI draws those of one name and parent together."""
        return int(self._descriptor(parent, rank, name).uuid)

    def process(self, name: str, pid: int) -> int:
        """Return the track of a process; no two may have the same pid."""
        descriptor = self._descriptor(0, 0, None)
        descriptor.process.pid = pid
        descriptor.process.process_name = name
        return int(descriptor.uuid)

    def thread(self, name: str, pid: int, tid: int, *, parent: int) -> int:
        """Return the track of a thread of a process that has a track."""
        descriptor = self._descriptor(parent, 0, None)
        descriptor.thread.pid = pid
        descriptor.thread.tid = tid
        descriptor.thread.thread_name = name
        return int(descriptor.uuid)

    def counter(self, name: str, unit: str, *, parent: int, rank: int = 0) -> int:
        """Return a new track for numbers; those of one parent and unit share their scale."""
        descriptor = self._descriptor(parent, rank, name)
        descriptor.counter.unit_name = unit
        descriptor.counter.y_axis_share_key = unit
        return int(descriptor.uuid)

    def begin(
        self,
        track: int,
        at_ns: int,
        name: str,
        args: Mapping[str, Value],
        *,
        starts_flows: Sequence[int] = (),
        ends_flow: int | None = None,
    ) -> None:
        """Begin a slice inside those that are open on the track."""
        event = self._event(track, at_ns, self._begin, name, args)
        if starts_flows:
            event.flow_ids.extend(starts_flows)
        if ends_flow is not None:
            event.terminating_flow_ids.append(ends_flow)

    def end(self, track: int, at_ns: int) -> None:
        """End the slice that was begun last on the track and is still open."""
        event = self._packet(timestamp=at_ns).track_event
        event.type = self._end
        event.track_uuid = track

    def instant(self, track: int, at_ns: int, name: str, args: Mapping[str, Value]) -> None:
        self._event(track, at_ns, self._messages.TrackEvent.TYPE_INSTANT, name, args)

    def reading(self, track: int, at_ns: int, value: float) -> None:
        """Write a counter's value from a moment on."""
        event = self._packet(timestamp=at_ns).track_event
        event.type = self._messages.TrackEvent.TYPE_COUNTER
        event.track_uuid = track
        event.double_counter_value = value

    def flush(self) -> None:
        """Hand what waits over to the file."""
        data = self._trace.SerializeToString()
        self.bytes += len(data)
        self._file.write(data)
        self._trace = self._messages.Trace()

    def _open(self, begin_ns: int) -> None:
        """Say that times are Unix ns, in what follows and on the axis."""
        realtime = self._messages.BUILTIN_CLOCK_REALTIME
        clocks = self._trace.packet.add(trusted_packet_sequence_id=SEQUENCE).clock_snapshot
        clocks.primary_trace_clock = realtime
        clocks.clocks.add(clock_id=realtime, timestamp=begin_ns)
        packet = self._trace.packet.add(trusted_packet_sequence_id=SEQUENCE)
        packet.sequence_flags = self._messages.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
        packet.trace_packet_defaults.timestamp_clock_id = realtime

    def _packet(self, **fields: int) -> Any:
        if len(self._trace.packet) >= PACKETS_AT_ONCE:
            self.flush()
        return self._trace.packet.add(
            trusted_packet_sequence_id=SEQUENCE,
            sequence_flags=self._messages.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE,
            **fields,
        )

    def _descriptor(self, parent: int, rank: int, name: str | None) -> Any:
        self.tracks += 1
        descriptor = self._packet().track_descriptor
        descriptor.uuid = self.tracks
        if parent:
            descriptor.parent_uuid = parent
        if rank:
            descriptor.sibling_order_rank = rank
        if name is not None:
            descriptor.name = name
        return descriptor

    def _event(
        self, track: int, at_ns: int, kind: int, name: str, args: Mapping[str, Value]
    ) -> Any:
        packet = self._packet(timestamp=at_ns)
        event = packet.track_event
        event.type = kind
        event.track_uuid = track
        if number := self._names.get(name) or self._new_name(packet, name):
            event.name_iid = number
        else:
            event.name = name
        # Millions of arguments pass here: what is known is not looked for in a function.
        add = event.debug_annotations.add
        for key, value in args.items():
            key_number = self._keys.get(key) or self._new_key(packet, key)
            if isinstance(value, int):
                add(name_iid=key_number, int_value=value)
            elif isinstance(value, float):
                add(name_iid=key_number, double_value=value)
            elif number := self._texts.get(value) or self._new_text(packet, value):
                add(name_iid=key_number, string_value_iid=number)
            else:
                add(name_iid=key_number, string_value=value)
        return event

    def _new_name(self, packet: Any, name: str) -> int:
        """Return the number of a name from now on; 0 where it has to be written out."""
        number = _next(self._names, name)
        if number:
            packet.interned_data.event_names.add(iid=number, name=name)
        return number

    def _new_key(self, packet: Any, key: str) -> int:
        """Return the number of an argument's name; these are columns, and few."""
        self._keys[key] = len(self._keys) + 1
        packet.interned_data.debug_annotation_names.add(iid=self._keys[key], name=key)
        return self._keys[key]

    def _new_text(self, packet: Any, text: str) -> int:
        """Return the number of an argument's text; 0 as above."""
        number = _next(self._texts, text)
        if number:
            strings = packet.interned_data.debug_annotation_string_values
            strings.add(iid=number, str=text.encode())
        return number


def _next(numbers: dict[str, int], text: str) -> int:
    """Give a text the next number, as long as there are any."""
    if len(numbers) >= MOST_TEXTS:
        return 0
    numbers[text] = len(numbers) + 1
    return numbers[text]
