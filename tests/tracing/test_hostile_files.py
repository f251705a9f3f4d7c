"""Damaged, foreign and hostile files: a clear error or a right answer, and nothing else."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gnomon._errors import TracingError
from gnomon.tracing.btf import Btf
from gnomon.tracing.core_records import CoreKind, CoreRecord
from gnomon.tracing.core_values import answer
from gnomon.tracing.elf import EXECUTABLE_SECTION, Elf
from gnomon.tracing.loader import _relocated, load, program_type
from gnomon.tracing.object_file import ObjectFile, read_object
from gnomon.tracing.relocations import Code, relocate_core
from tests.tracing.kernel import needs_kernel, open_descriptors
from tests.tracing.types import Types

SEEDS = range(10)
MUTATIONS_PER_SEED = 400
EXTREMES = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, 1 << 40)


def mutated(original, chance):
    """A copy that is cut off, or has bytes, numbers or whole pieces changed."""
    data = bytearray(original)
    kind = chance.integers(4)
    if kind == 0:
        return bytes(data[: chance.integers(len(data))])
    for _ in range(chance.integers(1, 9)):
        # Half of the changes hit the headers at both ends, on which all else depends.
        edge = min(len(data) - 8, 2048)
        near = chance.integers(edge)
        at = int([chance.integers(len(data) - 8), near, len(data) - 8 - near][chance.integers(3)])
        if kind == 1:
            data[at] ^= 1 << chance.integers(8)
        elif kind == 2:
            size = int(chance.choice([2, 4, 8]))
            extreme = EXTREMES[chance.integers(len(EXTREMES))] % (1 << size * 8)
            data[at : at + size] = extreme.to_bytes(size, "little")
        else:
            other = int(chance.integers(len(data) - 8))
            data[at : at + 64] = data[other : other + len(data[at : at + 64])]
    return bytes(data)


def survives(read, original, seed):
    """How many mutations were read, and how many refused; any other error fails the test."""
    chance = np.random.default_rng(seed)
    before = open_descriptors()
    counts = {True: 0, False: 0}
    for _ in range(MUTATIONS_PER_SEED):
        try:
            read(mutated(original, chance))
        except TracingError:
            counts[False] += 1
        else:
            counts[True] += 1
    assert open_descriptors() == before
    return counts


def relocate_all(file, types):
    """Every instruction of every program, as for a kernel with those types."""
    maps = {name: SimpleNamespace(fd=100) for name in (*file.maps, *file.data)}
    for spec in file.programs.values():
        program_type(spec, types, uprobe_multi=True)
        _relocated(spec, file, maps, types)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_object_is_refused_or_read(seed, relocations_path, kernel_types):
    original = relocations_path.read_bytes()

    counts = survives(
        lambda data: relocate_all(ObjectFile(data, "damaged.bpf.o"), kernel_types), original, seed
    )
    assert min(counts.values()) > 0


@needs_kernel
def test_damaged_programs_are_stopped_by_the_verifier_and_leave_nothing(
    relocations_path, kernel_types
):
    """The code alone is damaged: a map of a random size could take all memory."""
    chance = np.random.default_rng(0)
    original = relocations_path.read_bytes()
    sections = ObjectFile(original, "original")._sections
    before = open_descriptors()
    refused = 0
    for _ in range(100):
        data = bytearray(original)
        for section in sections:
            if section.flags & EXECUTABLE_SECTION and section.size_bytes:
                at = section.offset + int(chance.integers(section.size_bytes))
                data[at] ^= 1 << chance.integers(8)
        try:
            load(ObjectFile(bytes(data), "damaged.bpf.o"), kernel=kernel_types).close()
        except TracingError:
            refused += 1

    assert refused > 50
    assert open_descriptors() == before


@pytest.mark.parametrize("seed", SEEDS)
def test_damaged_types_of_a_kernel_are_refused_or_read(seed, relocations_path):
    file = read_object(relocations_path)
    with relocations_path.open("rb") as opened:
        elf = Elf(opened, "types")
        original = elf.data(elf.section(".BTF"))

    def read(data):
        types = Btf(data, "a damaged kernel")
        for spec in file.programs.values():
            code = Code(spec.code, spec.name)
            for record in spec.core:
                relocate_core(code, record, file.btf, types)

    counts = survives(read, original, seed)
    assert min(counts.values()) > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_library_is_refused_or_read(seed, library, tmp_path):
    path = tmp_path / "libdamaged.so"

    def read(data):
        path.write_bytes(data)
        with path.open("rb") as file:
            elf = Elf(file, path.name)
            for function in elf.functions():
                elf.first_bytes(function)

    counts = survives(read, library[0].read_bytes(), seed)
    assert min(counts.values()) > 0


def nested(levels):
    """(record, its types, a kernel) that asks for a field not found in so many nested structs."""
    ours = Types()
    wanted = ours.struct("page", 8, ("sought", ours.integer(), 0))
    theirs = Types()
    for level in range(1, levels + 1):
        inside = level + 1 if level < levels else 1
        theirs.struct("page" if level == 1 else "", 8, ("", inside, 0), ("", inside, 0))
    return CoreRecord(0, wanted, "0:0", CoreKind.FIELD_EXISTS), ours.btf(), theirs.btf()


def test_types_that_hold_others_many_times_over_are_searched_once():
    """Without a memory of what was searched, the search would double at every level."""
    assert answer(*nested(30)).kernel.number == 0


def test_types_nested_without_end_are_refused():
    with pytest.raises(TracingError, match="nested without end"):
        answer(*nested(5000))


@pytest.mark.parametrize(
    ("foreign", "said"),
    [
        (Path(sys.executable), "it is for machine|64-bit"),
        (Path(__file__), "not a 64-bit little-endian ELF file"),
        (Path("/dev/null"), "header should be 64 bytes"),
        (Path("/no/such/file"), "No such file"),
        (Path("/"), "Is a directory"),
    ],
)
def test_a_foreign_file_is_no_object(foreign, said):
    with pytest.raises(TracingError, match=said):
        read_object(foreign)
