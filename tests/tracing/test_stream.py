"""Batches through a pipe, however they are cut."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon import tables
from gnomon._errors import TracingError
from gnomon.tracing import stream
from gnomon.tracing.stream import StreamReader, StreamWriter

ROWS = [{"ts_ns": at, "duration_ns": 0, "table": "off_cpu", "rows": at} for at in range(50)]


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, StreamWriter(write)
    os.close(read)
    os.close(write)


def test_what_goes_in_comes_out_however_it_is_cut(pipe):
    read, writer = pipe
    writer.say({"lacking": []})
    writer.batch("losses", tables.batch("losses", ROWS))
    assert writer.flush()
    sent = os.read(read, 1 << 20)

    @given(st.integers(1, len(sent)))
    def cut(size):
        reader = StreamReader()
        pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
        (_, document), (table, batch) = [one for piece in pieces for one in reader.feed(piece)]
        assert document == {"lacking": []}
        assert table == "losses"
        assert batch.equals(tables.batch("losses", ROWS))

    cut()


def test_a_reader_that_does_not_read_costs_rows_that_are_counted(pipe, monkeypatch):
    _, writer = pipe
    monkeypatch.setattr(stream, "MOST_WAITING_BYTES", 100_000)
    batch = tables.batch("losses", ROWS)
    for _ in range(200):
        writer.batch("losses", batch)

    assert not writer.flush()  # the pipe is full, and nothing blocks
    lost = writer.take_lost()["losses"]
    assert 0 < lost < 200 * len(ROWS)
    assert lost % len(ROWS) == 0
    assert writer.take_lost() == {}


def test_the_end_of_the_reader_is_an_error():
    read, write = os.pipe()
    writer = StreamWriter(write)
    os.close(read)
    writer.say({})
    with pytest.raises(BrokenPipeError):
        writer.flush()
    os.close(write)


@pytest.mark.parametrize("data", [b"\xff" * 64, b"\x04\0\0\0\0\0\0\0what"])
def test_bytes_of_another_kind_are_refused(data):
    with pytest.raises(TracingError):
        list(StreamReader().feed(data))
