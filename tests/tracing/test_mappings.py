"""What a process has mapped, and opening it."""

import mmap
import os
import subprocess

import pytest

from gnomon._errors import TracingError
from gnomon.tracing.mappings import Mapping, open_mapped, parse_mappings, read_mappings

TEXT = (
    b"55d0c0000000-55d0c0001000 r--p 00000000 fe:00 1234    /usr/bin/a program\n"
    b"7f0000000000-7f0000002000 r-xp 00001000 00:2b 77      /tmp/gone (deleted)\n"
    b"7f0000002000-7f0000003000 rw-p 00000000 00:00 0 \n"
    b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0    [vsyscall]\n"
)


def test_lines_are_read_with_spaces_and_without_names():
    assert parse_mappings(TEXT) == [
        Mapping(0x55D0C0000000, 0x55D0C0001000, 0, "fe:00", 1234, "/usr/bin/a program", False),
        Mapping(0x7F0000000000, 0x7F0000002000, 4096, "00:2b", 77, "/tmp/gone (deleted)", True),
        Mapping(0x7F0000002000, 0x7F0000003000, 0, "00:00", 0, "", False),
        Mapping(2**64 - 0xA00000, 2**64 - 0x9FF000, 0, "00:00", 0, "[vsyscall]", True),
    ]


@pytest.fixture
def mapped(tmp_path):
    """(path, its mapping) of a file that this process has mapped."""
    path = tmp_path / "mapped"
    path.write_bytes(b"as it was" + bytes(5000))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        yield path, next(one for one in read_mappings(os.getpid()) if one.path == str(path))


def test_a_mapped_file_is_opened(mapped):
    with open_mapped(os.getpid(), mapped[1]) as file:
        assert file.read(9) == b"as it was"


@pytest.mark.parametrize("replace", [os.mkfifo, os.mkdir, lambda path: path.write_text("other")])
def test_another_file_in_its_place_is_never_taken_for_it(mapped, replace):
    path, mapping = mapped
    path.unlink()
    replace(path)
    # So that it cannot be reached but by its name.
    elsewhere = mapping._replace(begin=mapping.begin + 4096)
    with pytest.raises(FileNotFoundError, match="no longer the file that was mapped"):
        open_mapped(os.getpid(), elsewhere)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to reach a file without a name")
def test_a_deleted_file_is_opened_all_the_same(mapped):
    mapped[0].unlink()
    with open_mapped(os.getpid(), mapped[1]) as file:
        assert file.read(9) == b"as it was"


def test_an_ended_process_is_named():
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(TracingError, match=f"memory map of process {process.pid}"):
        read_mappings(process.pid)
