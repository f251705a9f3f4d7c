"""The record stream of gnomon-pm: every split, every break."""

import contextlib
import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon._errors import SourceError
from gnomon.sources import _pm_records as records

HEADER = struct.Struct("<IHHIi")


def frame(kind, gpu, payload, *, magic=records.MAGIC, version=records.VERSION):
    return HEADER.pack(magic, version, kind, len(payload), gpu) + payload


HELLO = frame(1, -1, struct.pack("<IIII", 130001, 13000, 1, 0))
STARTED = frame(
    2, 0, bytes.fromhex("84ee14517edeeee76d34ddedfd9d82b9") + b"GH100".ljust(16, b"\0")
    + struct.pack("<II", 10_000, 2) + struct.pack("<9H", 0, 2, 1, 0, 7, 3, 1, 0, 0),
)  # fmt: skip
ROW = frame(
    3, 0, struct.pack("<qqqdqqIHH", 100, 200, 90, 5.5, 30, 7, 9, 2, 1)
    + struct.pack("<4d", 1.0, 2.0, 3.0, 4.0),
)  # fmt: skip
COLUMNS = struct.pack("<2q2I2f", 100, 150, 50, 50, 1.5, 2.5)
SAMPLES = frame(6, 0, struct.pack("<IHH", 2, 1, 1) + COLUMNS)
STATISTICS = frame(7, 0, struct.pack("<qqqII", 1000, 3, 5_000_000, 2, 1))
LOSS = frame(4, 0, struct.pack("<qqII", 100, 200, 3, 1))
STATUS = frame(5, 1, struct.pack("<Ii", 1, 26) + "belegt: größer".encode())

EXPECTED = [
    records.Hello(130001, 13000, 1),
    records.GpuStarted(
        0,
        "GPU-84ee1451-7ede-eee7-6d34-ddedfd9d82b9",
        "GH100",
        10_000,
        (
            records.StartedSet(0, (0, 7), (3,)),
            records.StartedSet(1, (), ()),
        ),
    ),
    records.Row(0, 1, 100, 200, 90, 5.5, 30, 7, 9, (1.0, 2.0), (3.0, 4.0)),
    records.Samples(0, 1, 2, 1, COLUMNS),
    records.Loss(0, 100, 200, 3, records.LossReason.OVERFLOW),
    records.Statistics(0, 1000, 3, 5_000_000, 2, 1),
    records.Status(1, records.StatusCode.BUSY, 26, "belegt: größer"),
]
STREAM = HELLO + STARTED + ROW + SAMPLES + LOSS + STATISTICS + STATUS


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_any_split_gives_the_same_records(cuts):
    edges = [0, *sorted(cuts), len(STREAM)]
    reader = records.RecordReader()
    found = [
        record
        for start, end in itertools.pairwise(edges)
        for record in reader.feed(STREAM[start:end])
    ]

    assert found == EXPECTED


@given(st.binary(max_size=300))
def test_foreign_bytes_never_escape_as_another_error(data):
    with contextlib.suppress(SourceError):
        list(records.RecordReader().feed(data))


@given(st.integers(0, len(STREAM) - 1), st.integers(0, 255))
def test_a_flipped_byte_never_escapes_as_another_error(position, value):
    data = bytearray(STREAM)
    data[position] = value
    with contextlib.suppress(SourceError):
        list(records.RecordReader().feed(bytes(data)))


def test_another_version_says_what_to_do():
    with pytest.raises(SourceError, match="version 1") as caught:
        list(records.RecordReader().feed(frame(1, 0, b"", version=1)))
    assert "reinstall" in caught.value.remedy


@pytest.mark.parametrize(
    "data",
    [
        frame(1, 0, b"short"),
        frame(2, 0, b"\0" * 32 + struct.pack("<II", 1, 1)),
        frame(3, 0, struct.pack("<qqqdqqIHH", 0, 0, 0, 0.0, 0, 0, 0, 3, 0)),
        frame(6, 0, struct.pack("<IHH", 3, 1, 0) + COLUMNS),
        frame(5, 0, struct.pack("<Ii", 99, 0)),
        frame(17, 0, b""),
        frame(1, 0, b"", magic=1),
    ],
)
def test_a_broken_record_is_refused(data):
    with pytest.raises(SourceError):
        list(records.RecordReader().feed(data))
