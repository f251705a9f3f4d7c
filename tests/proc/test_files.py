"""Files of /proc are read whole, however they are handed out."""

import os

import pytest

from gnomon.proc.files import CHUNK_BYTES, read_text


@pytest.mark.parametrize("length", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 1])
def test_a_file_is_read_to_its_end(tmp_path, length):
    (tmp_path / "stat").write_text("x" * length)

    assert read_text(f"{tmp_path}/stat") == "x" * length


def test_a_file_that_comes_in_pieces_is_put_together(monkeypatch, tmp_path):
    (tmp_path / "diskstats").write_text("sda 1\nsdb 2\n")
    whole = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, _size: whole(descriptor, 5))

    assert read_text(f"{tmp_path}/diskstats") == "sda 1\nsdb 2\n"


def test_names_of_any_bytes_do_no_harm(tmp_path):
    (tmp_path / "comm").write_bytes(b"caf\xe9\n")

    assert read_text(f"{tmp_path}/comm") == "caf\N{REPLACEMENT CHARACTER}\n"


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_text(f"{tmp_path}/gone")
