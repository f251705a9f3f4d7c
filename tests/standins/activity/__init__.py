"""Compile the injected library and what it meets: a driver, a libcupti, and a program to drive."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.standins.cupti import NATIVE, cuda_includes

HERE = Path(__file__).parent
INJECT = NATIVE / "gnomon_inject"
# As in native/CMakeLists.txt.
LIBRARY_FLAGS = (
    *("-fPIC", "-shared", "-fvisibility=hidden", "-fno-exceptions", "-fno-rtti"),
    *("-static-libstdc++", "-static-libgcc", "-Wl,-z,nodelete,-z,now,--no-undefined"),
)


@dataclass(frozen=True)
class Built:
    """The real library, a program, and the folder that holds the stand-in libcuda and libcupti."""

    library: Path
    player: Path
    folder: Path

    @property
    def cupti(self) -> Path:
        return self.folder / "libcupti.so.13"


def build(folder: Path, flags: tuple[str, ...] = ("-O1",)) -> Built:
    """Compile into ``folder`` (some seconds). Skips the test without g++ or headers."""
    if shutil.which("g++") is None:
        pytest.skip("the injected library and its stand-ins need g++")
    headers = [*cuda_includes(), "-idirafter", f"{INJECT}/headers"]
    strict = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", *flags, *headers]
    built = Built(folder / "libgnomon_inject.so", folder / "player", folder)
    sources = [str(path) for path in sorted(INJECT.glob("*.cpp"))]
    shared = [*strict, "-shared", "-fPIC"]
    soname = "-Wl,-soname,libcupti.so.13"
    commands = [
        [*strict, *LIBRARY_FLAGS, *sources, "-ldl", "-pthread", "-o", str(built.library)],
        [*shared, f"{HERE}/driver.cpp", "-ldl", "-o", f"{folder}/libcuda.so.1"],
        [*shared, soname, f"{HERE}/cupti.cpp", "-ldl", "-pthread", "-o", str(built.cupti)],
        [*strict, f"{HERE}/player.cpp", "-ldl", "-pthread", "-o", str(built.player)],
    ]
    running = [subprocess.Popen(command) for command in commands]
    assert [process.wait() for process in running] == [0] * len(commands)
    return built


class Player:
    """A running program that does what it is told, one line at a time."""

    def __init__(self, built: Built, variables: dict[str, str]) -> None:
        environment = {**os.environ, "LD_LIBRARY_PATH": str(built.folder), **variables}
        self.process = subprocess.Popen(
            [built.player],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            bufsize=1,
        )
        self.pid = self._answer()

    def do(self, *lines: str) -> int:
        """Have it done; returns the number that the last one answered."""
        number = 0
        for line in lines:
            self.process.stdin.write(line + "\n")
            number = self._answer()
        return number

    def end(self, line: str) -> int:
        """Tell it something that ends it; returns the exit status, below 0 for a signal."""
        self.process.stdin.write(line + "\n")
        return self.process.wait(timeout=10)

    def said(self) -> str:
        """What it wrote on stderr, once it has ended."""
        return self.process.stderr.read()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()

    def _answer(self) -> int:
        line = self.process.stdout.readline()
        assert line.startswith("ok "), (line, self.process.poll())
        return int(line[3:])
