"""Compile stand-ins for libcuda and libcudart, and the program that calls them on command.

``standin.h`` says what is real about them, ``load.c`` has the commands.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# What NVIDIA's headers need of their compiler's package, written for the build.
OWN_HEADERS = HERE.parents[2] / "native/gnomon_inject/headers"
# The real libraries are compiled so that a function begins with push %rbp.
ENTRY = ["-fno-omit-frame-pointer", "-fno-optimize-sibling-calls", "-fno-shrink-wrap"]
STRICT = ["-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Wno-unused-result"]
SHARED = ["-shared", "-fPIC", "-fcf-protection=none", *ENTRY]


@dataclass(frozen=True)
class Built:
    """Where the compiled files lie."""

    load: Path
    runtime: Path
    driver: Path


def build(folder: Path) -> Built:
    """Compile into ``folder``; skips the test without gcc."""
    if shutil.which("gcc") is None:
        pytest.skip("the CUDA stand-ins need gcc")
    built = Built(folder / "load", folder / "libcudart.so.13", folder / "libcuda.so.1")
    names = ["-Wl,-soname,libcudart.so.13", f"-Wl,--version-script={HERE}/cudart.map"]
    beside = ["-Wl,-rpath,$ORIGIN", built.driver]
    compile_library(built.driver, HERE / "cuda.c", "-Wl,-soname,libcuda.so.1")
    compile_library(built.runtime, HERE / "cudart.c", *names, *beside)
    _gcc(HERE / "load.c", "-ldl", "-lpthread", "-o", built.load)
    return built


def compile_library(library: Path, *arguments: str | Path) -> None:
    """Compile a library whose functions begin as those of the real ones."""
    _gcc(*SHARED, *arguments, "-o", library)


def build_typed_calls(folder: Path, includes: list[str]) -> Path:
    """Compile typed.c against NVIDIA's headers."""
    library = folder / "typed.so"
    headers = ["-isystem", OWN_HEADERS, *includes]
    _gcc("-shared", "-fPIC", *headers, HERE / "typed.c", "-o", library)
    return library


def _gcc(*arguments: str | Path) -> None:
    subprocess.run(["gcc", *STRICT, *map(str, arguments)], check=True)


class Load:
    """The program, running. ``command`` and ``wait`` drive it, ``quit`` brings its truth."""

    def __init__(self, built: Built, *under: str) -> None:
        """``under`` is a command that runs the program, such as ``unshare``."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([*under, built.load], **pipes)
        self.pid = int(self._answer("pid").split()[1])

    def open(self, library: Path) -> None:
        self.command(f"open {library}")
        self._answer("ok")

    def command(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def run(self, *tasks: str, name: str = "worker", processor: int = -1) -> None:
        """Do tasks one after the other in a new thread."""
        self.command(f"run {processor} {name} {' ; '.join(tasks)}")

    def wait(self) -> None:
        """Return when all threads are done."""
        self.command("wait")
        self._answer("done")

    def exec(self) -> None:
        self.command("exec")
        self._answer("pid")

    def quit(self, folder: Path) -> Truth:
        path = folder / f"truth-{self.pid}.json"
        self.command(f"quit {path}")
        assert self.process.wait(60) == 0
        self.close()
        return Truth(json.loads(path.read_text()))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def _answer(self, word: str) -> str:
        line = self.process.stdout.readline()
        assert line.startswith(word), f"the load said {line!r}, exit code {self.process.poll()}"
        return line


class Truth:
    """What the load did by its own clocks: ``all`` as load.c writes it."""

    def __init__(self, everything: dict) -> None:
        self.all = everything

    def thread(self, name: str = "worker") -> dict:
        """The only thread of that name."""
        (found,) = [thread for thread in self.all["threads"] if thread["name"] == name]
        return found

    def durations_ns(self, name: str = "worker") -> list[int]:
        """Of the calls that the thread made, in order, without those inside of calls."""
        return [
            end - begin for _, _, depth, _, begin, end in self.thread(name)["entries"] if depth == 0
        ]
