"""Libraries that a command will map, guessed from where the loader and Python look."""

import pytest

from gnomon.tracing.beforehand import likely_libraries


@pytest.fixture
def environment(tmp_path):
    """A Python environment with CUDA's wheels, below tmp_path/venv."""
    packages = tmp_path / "venv/lib/python3.12/site-packages"
    for place in (
        "nvidia/cuda_runtime/lib/libcudart.so.12",
        "nvidia/cu13/lib/libcudart.so.13",
        "nvidia/nccl/lib/libnccl.so.2",
        "nvidia/cublas/lib/libcublas.so.12",
        "torch/lib/libcudart-d0da41ae.so.11.0",
    ):
        path = packages / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    programs = tmp_path / "venv/bin"
    programs.mkdir()
    for name, text in {
        "python3.12": "",
        "trainer": f"#!{programs}/python3.12\n",
        "by_env": "#!/usr/bin/env python3.12\n",
        "shell": "#!/bin/sh\n",
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return {"PATH": str(programs)}


def names(command, environment, tmp_path):
    """Found below tmp_path: the machine may have some of its own."""
    found = likely_libraries(command, environment, tmp_path / "ld.so.cache")
    return sorted(path.name for path in found if path.is_relative_to(tmp_path))


WHEELS = ["libcudart-d0da41ae.so.11.0", "libcudart.so.12", "libcudart.so.13", "libnccl.so.2"]


@pytest.mark.parametrize("program", ["python3.12", "trainer", "by_env"])
def test_wheels_are_found_by_the_interpreter_of_the_command(program, environment, tmp_path):
    assert names([program, "train.py"], environment, tmp_path) == WHEELS


@pytest.mark.parametrize("command", [["shell"], ["no_such_program"], []])
def test_other_commands_have_no_wheels(command, environment, tmp_path):
    assert names(command, environment, tmp_path) == []


def test_folders_and_the_cache_of_the_loader_are_searched_and_a_file_comes_once(tmp_path):
    folder = tmp_path / "cuda"
    folder.mkdir()
    (folder / "libcuda.so.580").write_bytes(b"")
    (folder / "libcuda.so.1").symlink_to("libcuda.so.580")
    (folder / "libcudadebugger.so.1").write_bytes(b"")
    (tmp_path / "libnccl.so.2").write_bytes(b"")
    strings = [f"{tmp_path}/libnccl.so.2", f"{tmp_path}/gone/libcudart.so.9", "libcuda.so.1"]
    cache = b"glibc-ld.so.cache1.1\x01\x02" + b"\0".join(map(str.encode, ["", *strings, ""]))
    (tmp_path / "ld.so.cache").write_bytes(cache)
    found = names(["true"], {"LD_LIBRARY_PATH": f"{folder}::/does/not/exist"}, tmp_path)

    assert len(found) == 2
    assert found[0].startswith("libcuda.so.")
    assert found[1] == "libnccl.so.2"
