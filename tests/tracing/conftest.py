"""Fixtures of the tracer's tests."""

import ctypes
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from gnomon.tracing.btf import read_kernel_btf
from gnomon.tracing.object_file import read_object
from tests.standins import cudart
from tests.tracing.following import Caller
from tests.tracing.kernel import compile_object

LIBRARY = """
__asm__(".globl probed\\n.type probed,@function\\nprobed:\\n"
        "push %rbp\\nmov %rsp,%rbp\\nlea 1(%rdi),%eax\\npop %rbp\\nret\\n.size probed,.-probed\\n"
        ".globl other\\n.type other,@function\\nother:\\n"
        "push %r15\\nxor %eax,%eax\\npop %r15\\nret\\n.size other,.-other\\n");
"""


@pytest.fixture(scope="session")
def kernel_types():
    """The running kernel's types."""
    return read_kernel_btf()


@pytest.fixture(scope="session")
def relocations_path(tmp_path_factory):
    return compile_object("relocations", tmp_path_factory.mktemp("objects"))


@pytest.fixture(scope="session")
def events_path(tmp_path_factory):
    return compile_object("events", tmp_path_factory.mktemp("objects"))


@pytest.fixture(scope="session")
def refused_path(tmp_path_factory):
    return compile_object("refused", tmp_path_factory.mktemp("objects"))


@pytest.fixture
def events(events_path):
    """A fresh object of countable calls and floods of events."""
    return read_object(events_path)


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """(path, ctypes handle) of a library with the functions `probed` and `other`."""
    if os.uname().machine != "x86_64":
        pytest.skip("the library to probe is written for x86-64")
    folder = tmp_path_factory.mktemp("library")
    source, made = folder / "probed.c", folder / "libprobed.so"
    source.write_text(LIBRARY)
    # So that addresses and offsets in the file are not the same.
    elsewhere = "-Wl,-Ttext-segment=0x400000"
    command = ["gcc", "-shared", "-fPIC", elsewhere, source, "-o", made]
    subprocess.run(command, check=True, timeout=60)
    return made, ctypes.CDLL(str(made))


@pytest.fixture(scope="session")
def built():
    """The compiled stand-ins of the driver and the runtime, for every user to read.

    Not below pytest's own folder, which every other run closes to other users again.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield cudart.build(Path(folder))


@pytest.fixture
def start():
    """A function that starts a process that obeys, with libraries loaded."""
    callers = []

    def started(*command, under=(), load=()):
        callers.append(Caller(*command, under=under))
        for path in load:
            callers[-1].order("load", path)
        return callers[-1]

    yield started
    for caller in callers:
        caller.close()
