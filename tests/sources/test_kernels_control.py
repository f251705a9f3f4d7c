"""The recorder's directory in shared memory, and the environment of programs."""

import os
from pathlib import Path

import pytest

from gnomon._errors import SourceError
from gnomon.sources import _kernels_control as control
from gnomon.sources import _kernels_injection as injection


def test_the_directory_is_for_its_user_alone(tmp_path):
    directory = control.make_directory(1, root=tmp_path)

    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "control").stat().st_mode & 0o777 == 0o600


def test_under_sudo_it_belongs_to_the_caller(tmp_path, monkeypatch):
    if os.getuid() != 0:
        pytest.skip("to give files away needs root")
    monkeypatch.setenv("SUDO_UID", "65534")
    monkeypatch.setenv("SUDO_GID", "65534")
    directory = control.make_directory(1, root=tmp_path)

    assert {path.stat().st_uid for path in (directory, directory / "control")} == {65534}


def test_those_of_dead_recorders_are_removed_and_those_of_living_ones_kept(tmp_path):
    dead = tmp_path / f"{control.PREFIX}999999999-1-1"
    other = tmp_path / "gnomon-kernels-something-of-somebody"
    for folder in (dead, other):
        folder.mkdir()
        (folder / "control").touch()
    mine = control.make_directory(1, root=tmp_path)
    second = control.make_directory(1, root=tmp_path)

    assert [path.exists() for path in (dead, other, mine, second)] == [False, True, True, True]


def test_shared_memory_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(SourceError, match="cannot write to shared memory") as caught:
        control.make_directory(1, root=tmp_path / "nowhere")
    assert "--shm-size" in caught.value.remedy


def test_a_directory_that_is_gone_cannot_be_opened(tmp_path):
    directory = control.make_directory(1, root=tmp_path)
    control.remove_directory(directory)

    with pytest.raises(SourceError, match="cannot be opened"):
        control.Control(directory)


@pytest.fixture
def library(tmp_path):
    path = tmp_path / "inject.so"
    path.touch()
    return path


def test_a_program_is_told_of_the_library_and_the_directory(library):
    told = injection.environment_of(Path("/d"), {injection.VARIABLE: str(library)}, driver_cuda=1)

    assert told == {"CUDA_INJECTION64_PATH": str(library), "GNOMON_KERNELS_DIR": "/d"}


def test_another_tool_that_is_to_be_injected_keeps_its_place(library):
    environment = {injection.VARIABLE: str(library), "CUDA_INJECTION64_PATH": "/opt/nsys.so"}

    with pytest.raises(SourceError, match=r"is set to /opt/nsys\.so") as caught:
        injection.environment_of(Path("/d"), environment)
    assert "unset it" in caught.value.remedy


def test_a_library_that_was_not_built_is_told(tmp_path):
    with pytest.raises(SourceError, match="is not part of this installation") as caught:
        injection.find({injection.VARIABLE: str(tmp_path / "none.so")})
    assert "compiler" in caught.value.remedy


@pytest.mark.parametrize("with_ranges", [False, True])
def test_nvtx_loads_cupti_only_where_ranges_are_wanted(library, monkeypatch, with_ranges):
    monkeypatch.setattr(injection, "_cupti", lambda *_: Path("/lib/libcupti.so.13"))
    environment = {injection.VARIABLE: str(library)}
    told = injection.environment_of(Path("/d"), environment, with_ranges=with_ranges)

    assert told["GNOMON_LIBCUPTI"] == "/lib/libcupti.so.13"
    assert told.get("NVTX_INJECTION64_PATH") == ("/lib/libcupti.so.13" if with_ranges else None)
