"""What CO-RE records come to in kernels made by hand; libbpf on the running one: test_loader."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon._errors import TracingError
from gnomon.tracing.btf import Kind
from gnomon.tracing.core_records import CoreKind, CoreRecord
from gnomon.tracing.core_values import Value, answer
from tests.tracing.types import Types

WORD_BITS = 64


def program(build):
    """(types, number of the type that ``build`` makes last)."""
    types = Types()
    type_id = build(types)
    return types.btf("program"), type_id


def kernel(build):
    types = Types()
    build(types)
    return types.btf("kernel")


def ask(kind, access, ours, theirs):
    btf, type_id = program(ours)
    return answer(CoreRecord(0, type_id, access, kind), btf, kernel(theirs))


def pair(types, name="pair", *, second="b", size_bytes=4, signed=False, first_bits=32):
    """struct NAME { a; SECOND; } with members of ``size_bytes``."""
    number = types.integer("number", size_bytes, signed=signed)
    return types.struct(name, 16, ("a", number, 0), (second, number, first_bits))


def test_a_field_is_where_the_kernel_has_it():
    found = ask(CoreKind.FIELD_OFFSET, "0:1", pair, lambda types: pair(types, first_bits=96))

    assert found.compiled == Value(4, 4, may_resize=True)
    assert found.kernel == Value(12, 4, may_resize=True)


def test_a_field_is_found_inside_of_members_without_a_name():
    def nested(types):
        number = types.integer()
        inner = types.struct("", 8, ("x", number, 0), ("b", number, 32))
        outer = types.struct("", 8, ("", inner, 0), kind=Kind.UNION)
        return types.struct("pair", 24, ("a", number, 0), ("", outer, 128))

    assert ask(CoreKind.FIELD_OFFSET, "0:1", pair, nested).kernel.number == 16 + 4
    assert ask(CoreKind.FIELD_OFFSET, "0:1:0:1", nested, pair).kernel.number == 4


@pytest.mark.parametrize(
    ("theirs", "exists"),
    [
        (pair, 1),
        (lambda types: pair(types, second="c"), 0),
        (lambda types: pair(types, name="other"), 0),
        (lambda types: types.struct("pair", 8, ("b", types.pointer(0), 0)), 0),
        (lambda types: types.struct("pair", 8, ("b", types.struct("x", 8), 0)), 0),
    ],
)
def test_what_the_kernel_lacks_is_said_to_be_missing(theirs, exists):
    assert ask(CoreKind.FIELD_EXISTS, "0:1", pair, theirs).kernel == Value(exists)
    assert (ask(CoreKind.FIELD_OFFSET, "0:1", pair, theirs).kernel is None) == (not exists)


def test_what_follows_three_underscores_is_no_part_of_a_name():
    found = ask(CoreKind.FIELD_EXISTS, "0:1", lambda types: pair(types, "pair___old"), pair)

    assert found.kernel == Value(1)


def test_several_types_of_a_name_have_to_agree():
    def twice(types, other=128):
        pair(types, first_bits=64)
        pair(types, first_bits=other)

    assert (
        ask(CoreKind.FIELD_OFFSET, "0:1", pair, lambda types: twice(types, 64)).kernel.number == 8
    )
    with pytest.raises(TracingError, match="several types pair that differ in 0:1"):
        ask(CoreKind.FIELD_OFFSET, "0:1", pair, twice)


@pytest.mark.parametrize(("access", "expected"), [("0:0:3", 12), ("2:0:1", 2 * 40 + 4), ("0:0", 0)])
def test_elements_of_arrays_are_counted_in_the_kernels_sizes(access, expected):
    def row(types, length, element_bytes):
        array = types.array(types.integer(size_bytes=element_bytes), length)
        return types.struct("row", length * element_bytes, ("cells", array, 0))

    found = ask(
        CoreKind.FIELD_OFFSET,
        access,
        lambda types: row(types, 4, 8),
        lambda types: row(types, 10, 4),
    )

    assert found.kernel.number == expected


@pytest.mark.parametrize(("length", "exists"), [(3, 0), (5, 1), (0, 1)])
def test_an_element_beyond_a_shorter_array_is_missing_but_an_open_one_goes_on(length, exists):
    def row(types, length=8):
        return types.struct("row", 32, ("cells", types.array(types.integer(), length), 0))

    found = ask(CoreKind.FIELD_EXISTS, "0:0:4", row, lambda types: row(types, length))

    assert found.kernel == Value(exists)


@given(
    size_bytes=st.sampled_from([1, 2, 4, 8]),
    begin_bits=st.integers(0, 63),
    bits=st.integers(1, 63),
    memory=st.binary(min_size=24, max_size=24),
)
def test_shifts_bring_out_the_bits_of_a_bit_field(size_bytes, begin_bits, bits, memory):
    bits = min(bits, size_bytes * 8)
    # As compilers lay bit fields out: one does not reach over the edge of its type.
    begin_bits -= begin_bits % (size_bytes * 8) and (
        max(0, begin_bits % (size_bytes * 8) + bits - size_bytes * 8)
    )

    def flags(types):
        number = types.integer("number", size_bytes)
        return types.struct("flags", 24, ("one", number, begin_bits, bits))

    kinds = ("FIELD_OFFSET", "FIELD_SIZE", "FIELD_LEFT_SHIFT", "FIELD_RIGHT_SHIFT")
    offset, size, left, right = (
        ask(CoreKind[kind], "0:0", flags, flags).kernel.number for kind in kinds
    )
    loaded = int.from_bytes(memory[offset : offset + size], "little")
    shifted = (loaded << left) % (1 << WORD_BITS) >> right

    assert shifted == int.from_bytes(memory, "little") >> begin_bits & (1 << bits) - 1


def test_a_bit_field_that_no_register_holds_is_refused():
    def flags(types):
        return types.struct("flags", 24, ("one", types.integer(size_bytes=8), 60, 20))

    with pytest.raises(TracingError, match="more than 64 bits"):
        ask(CoreKind.FIELD_OFFSET, "0:0", flags, flags)


@pytest.mark.parametrize("signed", [True, False])
def test_a_fields_sign_is_the_kernels(signed):
    found = ask(CoreKind.FIELD_SIGNED, "0:1", pair, lambda types: pair(types, signed=signed))

    assert found.kernel == Value(int(signed))


def test_types_are_asked_for_by_name_and_shape():
    def other_shape(types):
        types.enumeration("pair", [("A", 1)])
        types.struct("pair", 99, kind=Kind.UNION)

    def wider(types):
        types.integer("first")
        pair(types, size_bytes=8)

    assert ask(CoreKind.TYPE_SIZE, "0", pair, wider).kernel == Value(16)
    assert ask(CoreKind.TYPE_ID_TARGET, "0", pair, wider).kernel == Value(3)
    assert ask(CoreKind.TYPE_ID_LOCAL, "0", pair, other_shape).kernel == Value(2)
    assert ask(CoreKind.TYPE_EXISTS, "0", pair, wider).kernel == Value(1)
    assert ask(CoreKind.TYPE_EXISTS, "0", pair, other_shape).kernel == Value(0)
    assert ask(CoreKind.TYPE_SIZE, "0", pair, other_shape).kernel is None


def test_enumerators_have_the_kernels_values():
    def ours(types):
        return types.enumeration("level", [("LOW", 0), ("HIGH", 1), ("GONE", 2)])

    def theirs(types):
        types.enumeration_64("level", [("HIGH", 1 << 40), ("LOW", 7)])

    assert ask(CoreKind.ENUMERATOR_VALUE, "1", ours, theirs).kernel == Value(1 << 40)
    assert ask(CoreKind.ENUMERATOR_VALUE, "2", ours, theirs).kernel is None
    exist = [ask(CoreKind.ENUMERATOR_EXISTS, str(number), ours, theirs) for number in range(3)]
    assert [one.kernel.number for one in exist] == [1, 1, 0]


@pytest.mark.parametrize("access", ["0:9", "0:0:0", "", "x", "0:-1", ":".join("0" * 99)])
def test_an_access_that_leads_nowhere_is_refused(access):
    with pytest.raises(TracingError, match="program"):
        ask(CoreKind.FIELD_OFFSET, access, pair, pair)


def test_a_type_without_a_name_cannot_be_looked_up():
    with pytest.raises(TracingError, match="has no name"):
        ask(CoreKind.FIELD_OFFSET, "0:1", lambda types: pair(types, ""), pair)
