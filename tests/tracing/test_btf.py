"""BTF: types made by hand, and the kernel's with libbpf as the oracle."""

import ctypes

import pytest

from gnomon._errors import TracingError
from gnomon.tracing.btf import Btf, Kind, Member, read_kernel_btf
from tests.tracing.kernel import needs_kernel
from tests.tracing.types import Types

NEWER_KIND = 40


def test_members_are_read_with_their_bits():
    types = Types()
    number = types.integer("unsigned int")
    plain = types.struct("plain", 8, ("a", number, 0), ("b", number, 32))
    packed = types.struct("packed", 4, ("low", number, 0, 3), ("high", number, 3, 29))
    btf = types.btf()

    assert btf.members(plain) == [Member("a", number, 0, 0), Member("b", number, 32, 0)]
    assert btf.members(packed) == [Member("low", number, 0, 3), Member("high", number, 3, 29)]


def test_sizes_see_through_names_qualifiers_and_arrays():
    types = Types()
    number = types.integer(size_bytes=2)
    grid = types.array(types.array(number, 5), 7)
    named = types.add(Kind.TYPEDEF, "grid_t", types.add(Kind.CONST, third=grid))
    pointer = types.pointer(named)
    nothing = types.add(Kind.FORWARD, "unknown")
    btf = types.btf()

    assert btf.size_bytes(named) == 2 * 5 * 7
    assert btf.size_bytes(pointer) == 8
    assert btf.underlying(named) == grid
    with pytest.raises(TracingError, match="has no size"):
        btf.size_bytes(nothing)


def test_enumerators_keep_their_sign_and_all_64_bits():
    types = Types()
    narrow = types.enumeration("narrow", [("MINUS", 0xFFFFFFFF), ("ONE", 1)], signed=True)
    unsigned = types.enumeration("unsigned", [("MOST", 0xFFFFFFFF)])
    wide = types.enumeration_64("wide", [("BIG", 1 << 40), ("MINUS", (1 << 64) - 1)], signed=True)
    btf = types.btf()

    assert btf.enumerators(narrow) == [("MINUS", -1), ("ONE", 1)]
    assert btf.enumerators(unsigned) == [("MOST", 0xFFFFFFFF)]
    assert btf.enumerators(wide) == [("BIG", 1 << 40), ("MINUS", -1)]


def test_every_type_of_a_name_is_found():
    types = Types()
    number = types.integer()
    first = types.struct("twice", 4, ("a", number, 0))
    types.struct("twice", 4, ("a", number, 0), kind=Kind.UNION)
    second = types.struct("twice", 8, ("a", number, 32))
    btf = types.btf()

    assert btf.find(Kind.STRUCT, "twice") == [first, second]
    assert btf.find(Kind.STRUCT, "wice") == btf.find(Kind.STRUCT, "") == []


def test_a_kind_that_is_not_known_is_stepped_over_where_the_layout_says_how_long_it_is():
    types = Types()
    types.add(NEWER_KIND, "new", 1, [1, 2, 3, 4, 5], count=2)
    number = types.integer("after")
    layout = [(0, 0)] * NEWER_KIND + [(4, 8)]

    assert Btf(types.data(layout), "newer").find(Kind.INT, "after") == [number]
    with pytest.raises(TracingError, match="type 1 is of kind 40"):
        types.btf()


def test_as_many_members_as_linux_7_2_allows_are_read():
    types = Types()
    number = types.integer()
    many = types.struct("many", 4, *(("m", number, 0) for _ in range(70_000)))

    assert len(types.btf().members(many)) == 70_000


@pytest.mark.parametrize("kind", [Kind.TYPEDEF, Kind.CONST])
def test_types_that_refer_to_themselves_are_refused(kind):
    types = Types()
    itself = types.add(kind, "itself", 1)
    with pytest.raises(TracingError, match="refers to itself"):
        types.btf().size_bytes(itself)


def test_an_array_that_holds_itself_is_refused():
    types = Types()
    itself = types.array(1, 2)
    with pytest.raises(TracingError, match="holds itself"):
        types.btf().size_bytes(itself)


def test_a_kernel_without_types_is_told_with_what_to_do(tmp_path):
    with pytest.raises(TracingError, match="cannot read the types of this kernel") as caught:
        read_kernel_btf(tmp_path / "vmlinux")

    assert "CONFIG_DEBUG_INFO_BTF" in caught.value.remedy


@needs_kernel
def test_the_kernels_types_are_those_that_libbpf_reads(kernel_types):
    try:
        library = ctypes.CDLL("libbpf.so.1")
    except OSError:
        pytest.skip("needs libbpf 1")
    library.btf__load_vmlinux_btf.restype = ctypes.c_void_p
    library.btf__resolve_size.restype = ctypes.c_int64
    handle = ctypes.c_void_p(library.btf__load_vmlinux_btf())
    sized = [(Kind.STRUCT, "task_struct"), (Kind.UNION, "bpf_attr"), (Kind.TYPEDEF, "atomic_t")]
    try:
        assert library.btf__type_cnt(handle) == len(kernel_types) + 1
        for kind, name in [
            *sized,
            (Kind.TYPEDEF, "btf_trace_sched_switch"),
            (Kind.FUNCTION, "schedule"),
        ]:
            found = library.btf__find_by_name_kind(handle, name.encode(), int(kind))
            assert kernel_types.find(kind, name)[0] == found
        for kind, name in sized:
            type_id = kernel_types.find(kind, name)[0]
            assert kernel_types.size_bytes(type_id) == library.btf__resolve_size(handle, type_id)
    finally:
        library.btf__free(handle)
