"""Which files of a process are probed, and where in them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon._errors import TracingError
from gnomon.enums import CallLayer
from gnomon.tracing import libraries, operations
from gnomon.tracing.libraries import (
    FEW,
    Group,
    file_key,
    holds_runtime,
    inodes_of,
    key_of,
    mapped,
    open_library,
    program,
    read_library,
    same_file,
)
from gnomon.tracing.mappings import parse_mappings
from gnomon.tracing.processes import read_process
from tests.standins import cudart

LAUNCHES = Group(CallLayer.CUDA_DRIVER, is_launch=True)
REST = Group(CallLayer.CUDA_DRIVER, is_launch=False)
# As on a machine with PyTorch of pip, and some that only look alike.
MAPS = """\
55d0c0a00000-55d0c0a01000 r--p 00000000 08:01 100                        /usr/bin/python3.12
7f0000000000-7f0000100000 r--p 00000000 08:01 201                        /usr/lib/libcuda.so.580.65
7f0000100000-7f0000200000 r-xp 00100000 08:01 201                        /usr/lib/libcuda.so.580.65
7f0000200000-7f0000300000 r-xp 00000000 08:01 202                        /v/libcudart-d0da41.so.11.0
7f0000300000-7f0000400000 r-xp 00000000 00:2b 203                        /v/libnccl.so.2 (deleted)
7f0000400000-7f0000500000 r-xp 00000000 08:01 204                        /v/libcudadebugger.so.1
7f0000500000-7f0000600000 r-xp 00000000 08:01 205                        /v/libcuda.so/other.so
7f0000600000-7f0000700000 rwxp 00000000 00:00 0
7f0000700000-7f0000800000 r-xp 00000000 08:01 206                        /with space/libcudart.so.13
7f0000800000-7f0000900000 r-xp 00200000 08:01 201                        /usr/lib/libcuda.so.580.65
7f0000900000-7f0000a00000 r--p 00000000 08:01 207                        /v/libcudart.so.12
7ffff7fc0000-7ffff7fc2000 r-xp 00000000 00:00 0                          [vdso]
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    return cudart.build(tmp_path_factory.mktemp("libraries"))


def compiled(folder, source, *options):
    made, text = folder / "libcuda.so.1", folder / "source.c"
    text.write_text(source)
    command = ["gcc", "-O1", "-shared", "-fPIC", *options, text, "-o", made]
    subprocess.run(command, check=True, timeout=60)
    return made


@pytest.fixture
def read():
    opened = []

    def read(path, *, few=False):
        opened.append(path.open("rb"))
        return read_library(opened[-1], str(path), few=few)

    yield read
    for file in opened:
        file.close()


def test_libraries_are_told_by_the_names_of_their_executable_parts(tmp_path):
    (tmp_path / "7").mkdir()
    (tmp_path / "7/maps").write_text(MAPS)
    found = mapped(7, str(tmp_path))

    assert {file_key(mapping): mapping.path for mapping in found} == {
        ("08:01", 201): "/usr/lib/libcuda.so.580.65",
        ("08:01", 202): "/v/libcudart-d0da41.so.11.0",
        ("00:2b", 203): "/v/libnccl.so.2 (deleted)",
        ("08:01", 206): "/with space/libcudart.so.13",
    }


@given(st.lists(st.sampled_from(MAPS.splitlines()), unique=True))
def test_what_is_found_is_what_parsing_every_line_finds(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("proc") / "7"
    folder.mkdir()
    text = "".join(f"{line}\n" for line in lines)
    (folder / "maps").write_text(text)
    wanted = {("08:01", 201), ("08:01", 202), ("00:2b", 203), ("08:01", 206)}
    every = {file_key(piece) for piece in parse_mappings(text.encode()) if piece.is_executable}

    assert {file_key(piece) for piece in mapped(7, str(folder.parent))} == every & wanted


def test_the_functions_of_a_library_are_those_that_nm_lists_each_once(read, built):
    command = ["nm", "-D", "--defined-only", built.driver]
    listed = subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout
    addresses = {
        int(address, 16)
        for address, _, name in (line.split() for line in listed.splitlines())
        if name in operations.numbers()
    }
    library = read(built.driver)
    places = [offset for points in library.points.values() for offset in points.offsets]

    # Text lies in the file where it lies in memory, in a library of so few sections.
    assert len(places) == len(set(places)) == len(addresses)
    assert library.covers_launches
    assert library.stepped == library.skipped == ()
    launches = {operations.OPERATIONS[number].name for number in library.points[LAUNCHES].cookies}
    assert launches == {
        *("cuLaunchKernel", "cuLaunchKernelEx", "cuLaunchCooperativeKernel", "cuGraphLaunch"),
    }


def test_an_alias_is_probed_once(read, tmp_path):
    source = """
        int cuMemcpy(int a) { return a; }
        int cuMemcpy_ptds(int) __attribute__((alias("cuMemcpy")));
    """
    assert len(read(compiled(tmp_path, source)).points[REST].offsets) == 1


def test_a_few_functions_are_one_form_of_what_matters_and_few_in_every_layer(read, built):
    names = [operations.OPERATIONS[operations.numbers()[symbol]].name for symbol in FEW]

    assert len(set(names)) == len(FEW)
    for path, prefix in ((built.driver, "cu"), (built.runtime, "cuda")):
        points = read(path, few=True).points.values()
        found = [operations.OPERATIONS[number].name for one in points for number in one.cookies]
        assert len(found) == len(set(found)) <= 16
        assert all(name.startswith(prefix) for name in found)


def test_a_dear_launch_is_skipped_and_then_the_driver_does_not_cover(read, tmp_path):
    source = "int cuLaunchKernel(int a) { return a + 1; } int cuMemcpy(int a) { return a; }"
    library = read(compiled(tmp_path, source, "-fomit-frame-pointer", "-fcf-protection=none"))

    assert library.skipped == ("cuLaunchKernel",)
    assert library.stepped == ("cuMemcpy",)
    assert set(library.points) == {REST}
    assert not library.covers_launches


def test_a_marked_function_is_probed_behind_its_mark(read, tmp_path):
    source = "int cuLaunchKernel(int a) { return a + 1; }"
    path = compiled(tmp_path, source, "-O0", "-fcf-protection=full")
    library = read(path)
    (offset,) = library.points[LAUNCHES].offsets

    assert path.read_bytes()[offset - 4 : offset + 1] == bytes.fromhex("f30f1efa55")
    assert library.covers_launches


def test_a_file_without_the_launch_function_does_not_cover(read, tmp_path):
    assert not read(compiled(tmp_path, "int cuGraphLaunch(int a) { return a; }")).covers_launches


def test_what_is_no_library_says_which_file(tmp_path):
    path = tmp_path / "libcuda.so.1"
    path.write_text("nothing of the kind" * 10)
    with path.open("rb") as file, pytest.raises(TracingError, match=str(path)):
        read_library(file, str(path), few=False)


def test_a_copy_is_another_file_and_a_link_is_the_same(read, built, tmp_path):
    library = read(built.runtime)
    shutil.copy2(built.runtime, tmp_path / "copy")
    (tmp_path / "link").symlink_to(built.runtime)
    with (tmp_path / "copy").open("rb") as copy, (tmp_path / "link").open("rb") as link:
        assert not same_file(library, copy)
        assert same_file(library, link)


def test_our_own_program_is_found_and_has_no_runtime():
    ours = program(os.getpid())

    assert file_key(ours) == key_of(Path("/proc/self/exe").stat())
    assert Path(ours.path).samefile("/proc/self/exe")
    assert not holds_runtime(os.getpid())
    with open_library(os.getpid(), ours, few=False).file as file:
        assert key_of(os.fstat(file.fileno())) == file_key(ours)
    assert ours.inode in inodes_of([read_process(os.getpid())])


def test_a_process_that_may_not_be_looked_into_counts_if_it_may_use_cuda(monkeypatch):
    def forbid(pid, proc):
        raise PermissionError

    monkeypatch.setattr(libraries, "program", forbid)
    ours = read_process(os.getpid())

    assert inodes_of([ours._replace(size_bytes=1 << 34)]) is None
    assert inodes_of([ours._replace(size_bytes=1 << 28)]) == set()
