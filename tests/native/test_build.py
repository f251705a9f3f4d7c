"""The native build: what is missing is left out by name, and nothing else fails."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def configure(tmp_path):
    """Return a function that configures, builds and installs; returns what was said and made."""
    if shutil.which("cmake") is None or shutil.which("ninja") is None:
        pytest.skip("the native build needs cmake and ninja")
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(ROOT / "CMakeLists.txt", source)
    shutil.copytree(ROOT / "native", source / "native")

    def run(*options, **environment):
        build, prefix = tmp_path / "build", tmp_path / "prefix"
        environment = {"PATH": os.environ["PATH"], "CUDA_HOME": "/nonexistent", **environment}
        commands = (
            ["cmake", "-S", source, "-B", build, "-G", "Ninja", *options],
            ["cmake", "--build", build],
            ["cmake", "--install", build, "--prefix", prefix],
        )
        said = ""
        for command in commands:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
            said += done.stdout + done.stderr
            assert done.returncode == 0, said
        return said, [path for path in prefix.rglob("*") if path.is_file()]

    return run


def test_without_a_compiler(configure):
    said, made = configure(CXX="/nonexistent")

    assert "gnomon-pm is left out: no C++ compiler was found" in said
    assert made == []


def test_without_cupti_headers(configure, tmp_path):
    said, made = configure(f"-DGNOMON_CUDA_INCLUDES={tmp_path}")

    assert "gnomon-pm is left out: no CUPTI headers" in said
    assert made == []


def test_with_both_the_helper_lands_beside_the_package(configure):
    from tests.standins import cupti

    if shutil.which("g++") is None:
        pytest.skip("this test needs g++")
    places = ";".join(cupti.cuda_includes()[1::2])
    said, made = configure(f"-DGNOMON_CUDA_INCLUDES={places}", "-DCMAKE_BUILD_TYPE=Debug")

    assert "gnomon-pm is built with the headers in" in said
    made = {path.name: path for path in made if path.parts[-3:-1] == ("gnomon", "_native")}
    assert set(made) == {"gnomon-pm", "libgnomon_inject.so"}
    helper = made["gnomon-pm"]
    assert os.access(helper, os.X_OK)
    usage = subprocess.run([helper], capture_output=True, text=True, check=False)
    assert usage.returncode == 2
    assert "--libcupti" in usage.stderr
