"""Rings that a program wrote badly, or not at all."""

import mmap
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.configuration import KernelsRequest
from gnomon.sources import _kernels_control as control
from gnomon.sources import _kernels_ring as ring
from gnomon.sources.kernels import KernelsSource

CAPACITY = 256
NAMES_AT = ring.HEADER_BYTES + CAPACITY * ring.RECORD_BYTES


def header(**fields):
    """A header that is in order, but for what is told."""
    told = {"magic": ring.MAGIC, "version": ring.VERSION, "pid": 1, "start_ticks": 1}
    told |= {"ring_records": CAPACITY, "names_offset": NAMES_AT, "names_bytes": 1024, "state": 3}
    row = np.zeros(1, ring.HEADER)
    for name, value in (told | fields).items():
        row[name] = value
    return row.tobytes()


def write(path, head, records=b"", names=b""):
    room = records.ljust(CAPACITY * ring.RECORD_BYTES, b"\0") + names.ljust(1024, b"\0")
    path.write_bytes(head + room)
    return path


def kernel(name=0, start_ns=10, end_ns=20):
    row = np.zeros(1, ring.KERNEL)
    row["name"], row["start_ns"], row["end_ns"] = name, start_ns, end_ns
    return struct.pack("<H", ring.Kind.KERNEL) + row.tobytes()[2:]


def test_what_is_behind_the_end_of_the_ring_comes_from_its_beginning(tmp_path):
    records = b"".join(kernel(start_ns=place) for place in range(CAPACITY))
    path = write(tmp_path / "1-1.ring", header(head=CAPACITY + 3, tail=CAPACITY - 2), records)
    read = ring.Ring(path)

    starts = [part.view(ring.KERNEL)["start_ns"].tolist() for part in read.peek()]
    assert starts == [[CAPACITY - 2, CAPACITY - 1], [0, 1, 2]]
    read.commit()
    assert read.peek() == ()
    assert read.told("tail") == CAPACITY + 3
    read.remove()
    assert not path.exists()


def test_names_come_once_in_their_order(tmp_path):
    names = b"".join(
        struct.pack("<I", len(name)) + name.ljust(-(-len(name) // 4) * 4, b"\0")
        for name in (b"a", b"four", b"")
    )
    read = ring.Ring(write(tmp_path / "r", header(names_used=len(names)), names=names))

    assert read.new_names() == []  # not mapped yet: nothing was read
    read.peek()
    assert read.new_names() == [b"a", b"four", b""]
    assert read.new_names() == []


@pytest.mark.parametrize(
    "content", [b"", b"short", bytes(8192), header(magic=7), header(version=2)]
)
def test_what_is_no_ring_is_refused(tmp_path, content):
    (tmp_path / "r").write_bytes(content)

    with pytest.raises(ValueError, match=r"ring|length|empty"):
        ring.Ring(tmp_path / "r")


@given(
    st.fixed_dictionaries(
        {
            name: st.integers(0, 2**32 - 1)
            for name in ("ring_records", "names_bytes", "state", "reason", "names_used")
        }
        | {name: st.integers(0, 2**64 - 1) for name in ("head", "tail", "names_offset", "lost")}
    ),
    st.binary(max_size=2000),
)
def test_no_content_of_a_ring_does_more_than_lose_it(tmp_path_factory, fields, records):
    root = tmp_path_factory.mktemp("damaged")
    directory = control.make_directory(1, root=root)
    write(directory / "1-1.ring", header(**fields), records, records)
    write(directory / "2-2.ring", header(head=9), records, records)
    source = KernelsSource(KernelsRequest(directory, 1.0, 10.0**9))
    source.open()
    source.read()
    source.finish()
    source.describe()
    source.close()


def test_a_record_of_an_unknown_name_or_kind_is_kept_or_left(tmp_path):
    directory = control.make_directory(1, root=tmp_path)
    unknown = struct.pack("<H", 99).ljust(ring.RECORD_BYTES, b"\0")
    write(directory / "1-1.ring", header(head=2), kernel(name=ring.NO_NAME) + unknown)
    source = KernelsSource(KernelsRequest(directory, 1.0, 10.0**9))
    source.open()
    [batch] = source.read()
    source.close()

    assert batch.table == "kernels"
    [row] = batch.arrow.to_pylist()
    assert (row["name_hash"], row["gpu_uuid"], row["duration_ns"]) == (None, None, 10)


def test_layouts_are_those_of_the_header_file():
    assert ring.HEADER.itemsize == ring.HEADER_BYTES == mmap.PAGESIZE
    assert {one.itemsize for one in (ring.KERNEL, ring.COPY, ring.WINDOW, ring.MARKER)} == {104}
    assert ring.DEVICE.itemsize == 96
    assert control.CONTROL.itemsize == 128
    assert ring.HEADER.fields["head"][1] == 128
