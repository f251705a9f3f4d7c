"""A trace as a user asks for it; what is in it is tested where it is made."""

import json

import pytest


def test_a_trace_is_written_and_told(gnomon, h200_recording, tmp_path):
    path = tmp_path / "run.pftrace"
    done = gnomon("export", h200_recording, "--perfetto", path)

    assert done.returncode == 0
    assert done.stdout.startswith(f"{path}: ")
    assert " phases" in done.stdout
    assert list(tmp_path.glob("*run.pftrace*")) == [path]


def test_json_counts_what_was_written(gnomon, h200_recording, tmp_path):
    path = tmp_path / "run.pftrace"
    asked = ["--perfetto", path, "--no-findings", "--gpu", 0, "--to", "10s", "--json"]
    document = json.loads(gnomon("export", h200_recording, *asked).stdout)

    assert document["bytes"] == path.stat().st_size
    assert document["written"]["counter values"] > 0
    assert "findings" not in document["written"]


@pytest.mark.parametrize(
    ("asked", "status", "told"),
    [
        (["--gpu", "7"], 2, "--gpu 7: no GPU of this name"),
        (["--from", "9000s"], 2, "the recording has nothing"),
        (["--perfetto", "/nowhere/run.pftrace"], 1, "/nowhere/run.pftrace: No such file"),
    ],
)
def test_what_cannot_be_done_is_said(gnomon, h200_recording, tmp_path, asked, status, told):
    done = gnomon("export", h200_recording, "--perfetto", tmp_path / "run.pftrace", *asked)

    assert done.returncode == status
    assert told in done.stderr
    assert not list(tmp_path.glob("*run.pftrace*"))


def test_without_the_package_the_user_is_told_what_to_install(
    gnomon, h200_recording, tmp_path, monkeypatch
):
    monkeypatch.setitem(__import__("sys").modules, "perfetto.protos.perfetto.trace", None)
    done = gnomon("export", h200_recording, "--perfetto", tmp_path / "run.pftrace")

    assert done.returncode == 1
    assert "pip install 'gnomon[perfetto]'" in done.stderr
    assert not list(tmp_path.glob("*run.pftrace*"))
