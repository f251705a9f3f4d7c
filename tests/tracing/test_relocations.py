"""Instructions after relocation, byte by byte."""

import struct

import pytest

from gnomon._errors import TracingError
from gnomon.tracing.core_records import CoreKind, CoreRecord
from gnomon.tracing.core_values import FLAVOUR, answer
from gnomon.tracing.object_file import read_object
from gnomon.tracing.relocations import (
    Code,
    relocate_core,
    relocate_data,
    relocate_kernel_function,
    relocate_map,
)
from tests.tracing.types import Types

# Opcodes of the instruction set: dw and w loads, mov and add of an immediate, lddw, call.
LOAD_DW, LOAD_W, LOAD_B, STORE_W, MOVE, LOAD_64, CALL = 0x79, 0x61, 0x71, 0x63, 0xB7, 0x18, 0x85


def code(*instructions):
    return Code(b"".join(struct.pack("<BBhi", *one) for one in instructions), "program")


def shown(made):
    data = bytes(made)
    return [struct.unpack_from("<BBhi", data, at) for at in range(0, len(data), 8)]


def one_field(size_bytes, offset_bits, *, signed=False, name="thing"):
    types = Types()
    number = types.integer("number", size_bytes, signed=signed)
    type_id = types.struct(name, 64, ("field", number, offset_bits))
    return types.btf(), type_id


def relocate(made, theirs, size_bytes=8, kind=CoreKind.FIELD_OFFSET):
    program, type_id = one_field(size_bytes, 64)
    relocate_core(made, CoreRecord(0, type_id, "0:0", kind), program, theirs[0])
    return shown(made)


@pytest.mark.parametrize(
    ("size_bytes", "opcode"), [(8, LOAD_DW), (4, LOAD_W), (1, LOAD_B), (2, 0x69)]
)
def test_a_load_gets_the_kernels_offset_and_size(size_bytes, opcode):
    loaded = relocate(code((LOAD_DW, 0x21, 8, 0)), one_field(size_bytes, 160))

    assert loaded == [(opcode, 0x21, 20, 0)]


def test_arithmetic_gets_the_offset_as_its_immediate():
    assert relocate(code((MOVE, 1, 0, 8)), one_field(8, 160)) == [(MOVE, 1, 0, 20)]


def test_a_load_of_a_signed_field_of_another_size_is_refused_where_it_can_be_reached():
    loaded = relocate(code((LOAD_DW, 0x21, 8, 0)), one_field(4, 160, signed=True))

    assert loaded == [(CALL, 0, 0, 195896080)]


def test_a_missing_field_poisons_both_halves_of_a_wide_load():
    wide = code((LOAD_64, 1, 0, 8), (0, 0, 0, 0))

    assert relocate(wide, one_field(8, 0, name="other")) == [(CALL, 0, 0, 195896080)] * 2


def test_a_wide_load_takes_64_bits():
    types = Types()
    level = types.enumeration_64("level", [("HIGH", 0xFFFF_FFFF_8000_0001)])
    made = code((LOAD_64, 1, 0, -0x7FFFFFFF), (0, 0, 0, -1))
    theirs = Types()
    theirs.enumeration_64("level", [("HIGH", 0x1234_5678_9ABC_DEF0)])
    record = CoreRecord(0, level, "0", CoreKind.ENUMERATOR_VALUE)
    relocate_core(made, record, types.btf(), theirs.btf())

    low, high = (one[3] & 0xFFFFFFFF for one in shown(made))
    assert (low, high) == (0x9ABC_DEF0, 0x1234_5678)


@pytest.mark.parametrize(
    ("instruction", "offset_bits", "said"),
    [
        ((LOAD_DW, 0x21, 12, 0), 160, "byte 0 holds 12, its types say 8"),
        ((MOVE, 1, 0, 7), 160, "byte 0 holds 7, its types say 8"),
        ((LOAD_DW, 0x21, 8, 0), 8 << 18, "offset 262144 does not fit"),
        ((0xBF, 0x21, 0, 8), 160, "holds no number"),
        ((0x05, 0, 8, 0), 160, "holds no number"),
        ((LOAD_64, 1, 0, 8), 160, "no instruction at byte 8 of 8"),
    ],
)
def test_an_instruction_that_contradicts_its_record_is_refused(instruction, offset_bits, said):
    with pytest.raises(TracingError, match=f"cannot relocate program: .*{said}"):
        relocate(code(instruction), one_field(8, offset_bits))


def test_for_the_kernel_that_it_was_compiled_for_a_program_stays_as_it_is(relocations_path):
    file = read_object(relocations_path)
    for spec in file.programs.values():
        made = Code(spec.code, spec.name)
        # A type in a second form lacks, by intention, what the first has; and compilers lay bit
        # fields out in other words than their types have.
        core = [
            record
            for record in spec.core
            if FLAVOUR not in file.btf.type_name(record.type_id)
            and answer(record, file.btf, file.btf).is_certain
        ]
        for record in core:
            relocate_core(made, record, file.btf, file.btf)

        assert core
        assert bytes(made) == spec.code


def test_maps_and_global_data_become_descriptors():
    made = code((LOAD_64, 1, 0, 0), (0, 0, 0, 0), (LOAD_64, 2, 0, 4), (0, 0, 0, 0))
    relocate_map(made, 0, 30)
    relocate_data(made, 16, 31, 100)

    expected = [(LOAD_64, 0x11, 0, 30), (0, 0, 0, 0), (LOAD_64, 0x22, 0, 31), (0, 0, 0, 104)]
    assert shown(made) == expected


def test_an_instruction_that_is_no_wide_load_cannot_refer_to_a_map():
    with pytest.raises(TracingError, match="no load of 64 bits"):
        relocate_map(code((MOVE, 1, 0, 0), (0, 0, 0, 0)), 0, 30)


def test_a_function_that_has_to_be_there_and_is_not_is_named():
    btf, _ = one_field(4, 0)
    with pytest.raises(TracingError, match="this kernel has no function bpf_new"):
        relocate_kernel_function(code((CALL, 0x20, 0, -1)), 0, "bpf_new", btf, None)


def test_a_weak_function_is_neither_called_nor_asked_for_by_other_instructions():
    btf, _ = one_field(4, 0)
    with pytest.raises(TracingError, match="neither called nor asked for"):
        relocate_kernel_function(code((MOVE, 0, 0, 0)), 0, "bpf_new", btf, 3)
