"""Compile gnomon-pm and the stand-ins for libcuda and libcupti; ``script.h`` has the language."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
NATIVE = Path(__file__).parents[3] / "native"
SCRIPT = "GNOMON_CUPTI_SCRIPT"
LOG = "GNOMON_CUPTI_LOG"


@dataclass(frozen=True)
class Built:
    """The real helper, and a folder that holds the stand-in libraries."""

    helper: Path
    libraries: Path


def cuda_includes() -> list[str]:
    """Return compiler flags for the CUDA headers; skips the test where there are none."""
    finder = NATIVE / "find_cuda_includes.py"
    answer = subprocess.run([sys.executable, finder], capture_output=True, text=True, check=True)
    places = [Path(place) for place in answer.stdout.split(";") if place]
    for home in filter(None, (os.environ.get("CUDA_HOME"), "/usr/local/cuda")):
        places += [Path(home) / "include", Path(home) / "extras/CUPTI/include"]
    for header in ("cuda.h", "cupti_pmsampling.h"):
        if not any((place / header).exists() for place in places):
            pytest.skip(f"{header} is not here: install nvidia-cuda-{{cupti,runtime}}-cu12")
    return [flag for place in places for flag in ("-isystem", str(place))]


def build(folder: Path, optimisation: str = "-O0") -> Built:
    """Compile into ``folder`` (some seconds). Skips the test without g++ or headers."""
    if shutil.which("g++") is None:
        pytest.skip("gnomon-pm and its stand-ins need g++")
    includes = cuda_includes()
    strict = ["-std=c++17", optimisation, "-Wall", "-Wextra", "-Werror", *includes]
    helper = folder / "gnomon-pm"
    sources = [str(path) for path in sorted((NATIVE / "gnomon_pm").glob("*.cpp"))]
    commands = [
        ["g++", *strict, *sources, "-ldl", "-o", str(helper)],
        ["g++", *strict, "-shared", "-fPIC", f"{HERE}/cuda.cpp", "-o", f"{folder}/libcuda.so.1"],
        library_command(folder / "libcupti.so.13", 130001, strict),
    ]
    # Both cores: this is what the tests of gnomon-pm mostly wait for.
    running = [subprocess.Popen(command) for command in commands]
    assert [process.wait() for process in running] == [0] * len(commands)
    for name in ("libnvperf_host.so", "libnvperf_target.so"):
        shutil.copy(folder / "libcuda.so.1", folder / name)
    return Built(helper, folder)


def library_command(library: Path, version: int, strict: list[str]) -> list[str]:
    """Return the command that compiles a libcupti whose cuptiGetVersion is ``version``."""
    source = f"{HERE}/cupti.cpp"
    define = f"-DGNOMON_STANDIN_VERSION={version}"
    return ["g++", *strict, "-shared", "-fPIC", define, source, "-o", str(library)]
