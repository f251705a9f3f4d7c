"""The committed objects and layouts are what their sources say."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gnomon.tracing import layouts, operations
from gnomon.tracing.btf import Kind
from gnomon.tracing.object_file import read_object
from gnomon.tracing.slots import bucket_edges_ns

ROOT = Path(__file__).parents[3]
OBJECTS = ROOT / "src/gnomon/data/bpf"
COMPILER = OBJECTS / "compiler.txt"
PATHS = sorted(OBJECTS.glob("*.bpf.o"))


def needs_the_same_compiler():
    if not (shutil.which("clang") and shutil.which("llvm-strip") and shutil.which("make")):
        pytest.skip("needs clang, llvm-strip and make")
    version = subprocess.run(["clang", "--version"], capture_output=True, text=True, check=True)
    if version.stdout.splitlines()[0] != COMPILER.read_text().strip():
        pytest.skip(f"the objects were compiled by {COMPILER.read_text().strip()}")


def make(folder, *arguments):
    # Elsewhere: what a path leaves in the bytes must not depend on where the tree lies.
    shutil.copytree(ROOT / "bpf", folder / "elsewhere/bpf", dirs_exist_ok=True)
    command = ["make", "-C", folder / "elsewhere/bpf", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run(command, check=True, timeout=120, stdout=subprocess.DEVNULL, env=environment)


def test_the_same_compiler_makes_the_same_objects(tmp_path):
    needs_the_same_compiler()
    made = tmp_path / "made"
    make(tmp_path, f"OUT={made}")

    assert sorted(path.name for path in made.glob("*.bpf.o")) == [path.name for path in PATHS]
    for path in PATHS:
        assert (made / path.name).read_bytes() == path.read_bytes(), f"{path.name}: make -C bpf"


def test_the_python_layouts_are_made_of_the_header(tmp_path):
    needs_the_same_compiler()
    made = tmp_path / "layouts.py"
    make(tmp_path, "layouts", f"LAYOUTS={made}", f"PYTHON={sys.executable}")

    assert made.read_text() == Path(layouts.__file__).read_text(), "make -C bpf layouts"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_offsets_in_every_object_are_those_of_numpy(path):
    file = read_object(path)
    dtypes = {
        name.lower(): dtype for name, dtype in vars(layouts).items() if isinstance(dtype, np.dtype)
    }
    compared = 0
    for name, dtype in dtypes.items():
        for type_id in file.btf.find(Kind.STRUCT, name):
            members = [one for one in file.btf.members(type_id) if one.name != "record"]
            offsets = {one.name: one.offset_bits // 8 for one in members}

            assert file.btf.size_bytes(type_id) == dtype.itemsize
            assert offsets.items() <= {key: dtype.fields[key][1] for key in dtype.names}.items()
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_objects_are_small_free_to_use_and_carry_no_path(path):
    file = read_object(path)
    contents = path.read_bytes()

    assert file.license == b"Dual BSD/GPL"
    assert len(contents) < 100_000
    assert b".debug_info" not in contents
    assert b"/home" not in contents
    assert str(ROOT).encode() not in contents


def test_operations_fit_into_the_programs_table_and_have_names_of_their_own():
    names = [operation.name for operation in operations.OPERATIONS]

    assert len(names) <= layouts.OPERATIONS
    assert len(set(names)) == len(names)
    assert len(operations.description()) == layouts.OPERATIONS * layouts.OPERATION.itemsize


def test_all_forms_of_a_function_are_one_operation():
    numbers = operations.numbers()

    assert numbers["cudaLaunchKernel"] == numbers["__cudaLaunchKernel_ptsz"]
    assert numbers["cuMemcpyHtoD_v2"] == numbers["cuMemcpyHtoD_v2_ptds"]
    assert "cuMemcpyHtoD" not in numbers  # its first version had addresses of 32 bits
    assert operations.direction(-1) is operations.direction(5) is None


def test_buckets_are_a_quarter_of_an_octave_and_leave_no_gap():
    edges_ns = bucket_edges_ns()
    from_4_ns = edges_ns[edges_ns >= 4][4:]

    assert np.all(np.diff(edges_ns) >= 0)
    assert np.all(np.diff(from_4_ns) <= 0.25 * from_4_ns[:-1])
    assert edges_ns[0] == 0
    assert edges_ns[-1] == 2**40
