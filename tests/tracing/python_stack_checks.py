"""Stacks read from outside, held to what the interpreter itself says of them.

``python -m tests.tracing.python_stack_checks [READS]`` runs all checks without pytest, on the
interpreters in GNOMON_PYTHONS (commands, separated by colons) or those found on PATH.
"""
# ruff: noqa: T201  it is a program too

import ast
import contextlib
import functools
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from gnomon.tracing.python_stacks import MOST_FRAMES, PythonReader

TARGET = Path(__file__).with_name("python_target.py")
FILE = "target.py"
MINORS = range(9, 16)
DEADLINE_S = 30
LONGEST_FUNCTION, LONGEST_FILE = 200, 1000


@functools.cache
def interpreters():
    """{version: command} of the Pythons to be tried."""
    named = os.environ.get("GNOMON_PYTHONS")
    commands = named.split(":") if named else [sys.executable, *map(_on_path, MINORS)]
    found = {}
    for command in filter(None, commands):
        words = shlex.split(command)
        ask = [*words, "-c", "import sys; print(*sys.version_info[:2], sep='.')"]
        done = subprocess.run(ask, check=False, capture_output=True, text=True, timeout=60)
        if done.returncode == 0:
            found.setdefault(done.stdout.strip(), words)
    return found


def _on_path(minor):
    return shutil.which(f"python3.{minor}")


@contextlib.contextmanager
def target(command, mode):
    """(process, its first line) of a target; ``command`` may lead into another root."""
    source = f"exec(compile({TARGET.read_text()!r}, {FILE!r}, 'exec'))"
    pipe = subprocess.PIPE
    started = subprocess.Popen([*command, "-c", source, mode], stdin=pipe, stdout=pipe, text=True)
    with started:
        try:
            yield started, json.loads(started.stdout.readline())
        finally:
            started.kill()


def check_waiting(command, mode="wait"):
    """Every waiting thread's stack is as the interpreter tells it; how many threads."""
    with target(command, mode) as (started, truth):
        pid = started.pid if mode == "wait" else _child(started.pid)
        reader = PythonReader(pid)
        for tid, stack in truth.items():
            expected = [
                (_cut(name, LONGEST_FUNCTION), _cut(file, LONGEST_FILE), line)
                for name, file, line in stack[:MOST_FRAMES]
            ]
            for _ in range(3):
                assert list(map(tuple, reader.stack(int(tid)) or ())) == expected
        assert reader.stack(1 << 22) is None
        return len(truth)


def check_wild(command, reads):
    """No stack of a thread that never rests has a frame, or a call, that is not in its source.

    Returns (stacks read, of them different ones).
    """
    found, stacks = 0, set()
    with target(command, "wild") as (started, _):
        reader = PythonReader(started.pid)
        for _ in range(reads):
            stack = reader.stack(started.pid)
            found += stack is not None
            stacks.add(stack)
    stacks.discard(None)
    source = Source(TARGET.read_text())
    assert [stack for stack in stacks if not source.can_have(stack)] == []
    return found, len(stacks)


class Source:
    """What stacks the wild mode of the target can have, as its text says."""

    def __init__(self, text):
        self._lines = text.splitlines()
        named = [one for one in ast.walk(ast.parse(text)) if hasattr(one, "name")]
        self._bodies = {one.name: range(one.lineno, one.end_lineno + 1) for one in named}
        self._bodies["<module>"] = self._bodies["<listcomp>"] = range(1, len(self._lines) + 1)

    def can_have(self, stack):
        """Whether every frame is where its function is, and is called by the line below it."""
        if not stack:
            return False
        *own, last = stack
        return (
            last.file == "<string>"
            and [one.function for one in own[-2:]] == ["wild", "<module>"]
            and all(one.file == FILE and self._is_inside(one) for one in own)
            and all(map(self._is_call, own[:-2], own[1:-1]))
        )

    def _is_inside(self, frame):
        return frame.line is None or frame.line in self._bodies[_bare(frame)]

    def _is_call(self, inner, outer):
        called = {"<listcomp>": "[", "__init__": "WildThing"}.get(_bare(inner), _bare(inner))
        return called in self._lines[outer.line - 1]


def _bare(frame):
    return frame.function.rpartition(".")[2]


def _cut(name, longest):
    kept = "".join(sign for sign in name[:longest] if sign.isprintable())
    return kept if len(name) <= longest else f"{kept}…"


def _child(pid):
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def main():
    reads = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    for version, command in interpreters().items():
        begin = time.monotonic()
        print(version, shlex.join(command), end=": ", flush=True)
        print(f"{check_waiting(command)} waiting threads, {check_waiting(command, 'fork')} forked")
        found, different = check_wild(command, reads)
        took_s = time.monotonic() - begin
        print(f"  {found} of {reads} wild reads gave stacks, {different} kinds, in {took_s:.0f} s")


if __name__ == "__main__":
    main()
