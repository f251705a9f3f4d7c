"""What one CO-RE record comes to on this kernel: offsets, sizes, shifts, type ids, enumerators.

A name is matched without what follows three underscores, so that a program may describe one type
in several forms. Semantics: the comments of bpf_core_relo_kind in include/uapi/linux/bpf.h and
Documentation/bpf/llvm_reloc.rst; libbpf's results are what tests compare with.
"""

from typing import NamedTuple

from gnomon._errors import TracingError
from gnomon.tracing.btf import COMPOSITE, ENUMERATION, LONGEST_CHAIN, Btf, Kind
from gnomon.tracing.core_records import CoreKind, CoreRecord

FLAVOUR = "___"
REGISTER_BITS = 64
REGISTER_BYTES = 8
# As many as libbpf follows; no program that a compiler made has more.
ACCESS_STEPS = 64
FIELD_KINDS = frozenset(
    {
        *(CoreKind.FIELD_OFFSET, CoreKind.FIELD_SIZE, CoreKind.FIELD_EXISTS),
        *(CoreKind.FIELD_SIGNED, CoreKind.FIELD_LEFT_SHIFT, CoreKind.FIELD_RIGHT_SHIFT),
    }
)
EXISTENCE = frozenset({CoreKind.FIELD_EXISTS, CoreKind.TYPE_EXISTS, CoreKind.ENUMERATOR_EXISTS})


class Value(NamedTuple):
    """What an instruction needs.

    ``access_bytes`` is how many bytes a load or store of the field moves, None where that is not
    asked; ``may_resize`` says whether another size reads the same value (pointers, unsigned).
    """

    number: int
    access_bytes: int | None = None
    may_resize: bool = False


class Answer(NamedTuple):
    """A record's value in the program as compiled, and in this kernel; None: it is not there.

    ``is_certain`` is False where the compiler may lay bits out otherwise, so that its own number
    cannot be compared with ours.
    """

    compiled: Value
    kernel: Value | None
    is_certain: bool


class _Step(NamedTuple):
    """One step from a type to a field: to a member by ``name``, or to an element by ``index``."""

    name: str
    element: int
    type_id: int


class _Field(NamedTuple):
    """Where a path of steps ended. An element of an array is no named field."""

    type_id: int
    offset_bits: int
    bitfield_bits: int
    is_named: bool


def answer(record: CoreRecord, program: Btf, kernel: Btf) -> Answer:
    """What ``record`` comes to. ``program`` are the types that it was compiled with.

    Raises TracingError where the record makes no sense, or several types of the kernel bear the
    name and disagree.
    """
    if record.kind == CoreKind.TYPE_ID_LOCAL:
        value = Value(record.type_id)
        return Answer(value, value, is_certain=False)
    if record.kind in FIELD_KINDS:
        return _field_answer(record, program, kernel)
    if record.kind in {CoreKind.ENUMERATOR_EXISTS, CoreKind.ENUMERATOR_VALUE}:
        return _enumerator_answer(record, program, kernel)
    return _type_answer(record, program, kernel)


def _candidates(type_id: int, program: Btf, kernel: Btf) -> list[int]:
    """Types of the kernel that bear the name of a type of the program."""
    name = program.type_name(type_id).partition(FLAVOUR)[0]
    if not name:
        raise TracingError(f"cannot relocate {program.name}: type {type_id} has no name to look up")
    kind = program.kind(type_id)
    kinds = ENUMERATION if kind in ENUMERATION else {kind}
    return [found for wanted in sorted(kinds) for found in kernel.find(wanted, name)]


def _agreed(values: list[Value], record: CoreRecord, program: Btf) -> Value | None:
    """The value that all candidates give; for a question of existence 0 where there is none."""
    if not values:
        return Value(0) if record.kind in EXISTENCE else None
    if len({value.number for value in values}) > 1:
        raise TracingError(
            f"cannot relocate {program.name}: this kernel has several types "
            f"{program.type_name(record.type_id)} that differ in {record.access}"
        )
    return values[0]


def _type_answer(record: CoreRecord, program: Btf, kernel: Btf) -> Answer:
    def value(btf: Btf, type_id: int) -> Value:
        if record.kind == CoreKind.TYPE_SIZE:
            return Value(btf.size_bytes(type_id))
        return Value(type_id if record.kind == CoreKind.TYPE_ID_TARGET else 1)

    shape = _shape(program, record.type_id)
    values = [
        value(kernel, type_id)
        for type_id in _candidates(record.type_id, program, kernel)
        if _shape(kernel, type_id) == shape
    ]
    certain = record.kind != CoreKind.TYPE_ID_TARGET
    compiled = value(program, record.type_id)
    return Answer(compiled, _agreed(values, record, program), is_certain=certain)


def _shape(btf: Btf, type_id: int) -> int:
    kind = btf.kind(btf.underlying(type_id))
    return Kind.ENUM if kind == Kind.ENUM64 else kind


def _enumerator_answer(record: CoreRecord, program: Btf, kernel: Btf) -> Answer:
    known = program.enumerators(program.underlying(record.type_id))
    index = _numbers(record, program)[0]
    if index >= len(known):
        raise _senseless(record, program)
    name, number = known[index]
    exists = record.kind == CoreKind.ENUMERATOR_EXISTS
    wanted = name.partition(FLAVOUR)[0]
    values = [
        Value(1 if exists else found)
        for type_id in _candidates(record.type_id, program, kernel)
        for candidate, found in kernel.enumerators(kernel.underlying(type_id))
        if candidate.partition(FLAVOUR)[0] == wanted
    ]
    compiled = Value(1 if exists else number)
    return Answer(compiled, _agreed(values, record, program), is_certain=True)


def _field_answer(record: CoreRecord, program: Btf, kernel: Btf) -> Answer:
    steps, field = _program_path(record, program)
    candidates = _candidates(record.type_id, program, kernel)
    fields = [_kernel_field(kernel, type_id, steps, program) for type_id in candidates]
    values = [_value(kernel, found, record.kind) for found in fields if found is not None]
    is_certain = record.kind != CoreKind.FIELD_LEFT_SHIFT and not field.bitfield_bits
    return Answer(
        _value(program, field, record.kind),
        _agreed(values, record, program),
        is_certain=is_certain,
    )


def _program_path(record: CoreRecord, program: Btf) -> tuple[list[_Step], _Field]:
    """The steps that ``record`` takes through the program's own types, and where they end.

    The first number steps over whole values, as an index of a pointer does. Members without a name
    are not steps: names are sought through them.
    """
    numbers = _numbers(record, program)
    type_id = program.underlying(record.type_id)
    steps = [_Step("", numbers[0], type_id)]
    offset_bits, bitfield_bits, is_named = numbers[0] * program.size_bytes(type_id) * 8, 0, False
    for number in numbers[1:]:
        if program.kind(type_id) in COMPOSITE:
            members = program.members(type_id)
            if number >= len(members):
                raise _senseless(record, program)
            member = members[number]
            offset_bits, bitfield_bits = offset_bits + member.offset_bits, member.bitfield_bits
            type_id, is_named = program.underlying(member.type_id), bool(member.name)
            if member.name:
                steps.append(_Step(member.name, 0, type_id))
        else:
            type_id = program.underlying(program.array(type_id).element_id)
            offset_bits, bitfield_bits = offset_bits + number * program.size_bytes(type_id) * 8, 0
            is_named = False
            steps.append(_Step("", number, type_id))
    return steps, _Field(type_id, offset_bits, bitfield_bits, is_named)


def _kernel_field(kernel: Btf, type_id: int, steps: list[_Step], program: Btf) -> _Field | None:
    """Where the program's steps lead in the kernel's types; None where one is missing."""
    type_id = kernel.underlying(type_id)
    field = _Field(type_id, steps[0].element * kernel.size_bytes(type_id) * 8, 0, is_named=False)
    for step in steps[1:]:
        found = _named(kernel, field, step, set()) if step.name else _element(kernel, field, step)
        if found is None or not _are_alike(program, step.type_id, kernel, found.type_id):
            return None
        field = found
    return field


def _element(kernel: Btf, field: _Field, step: _Step) -> _Field | None:
    if kernel.kind(field.type_id) != Kind.ARRAY:
        return None
    element_id, length = kernel.array(field.type_id)
    # An array of no length stands at the end of a struct and goes on as far as memory does.
    if length and step.element >= length:
        return None
    element_id = kernel.underlying(element_id)
    offset_bits = field.offset_bits + step.element * kernel.size_bytes(element_id) * 8
    return _Field(element_id, offset_bits, 0, is_named=False)


def _named(
    kernel: Btf, field: _Field, step: _Step, seen: set[int], depth: int = 0
) -> _Field | None:
    """The member of that name, sought through members without one; ``seen`` had none."""
    if kernel.kind(field.type_id) not in COMPOSITE or field.type_id in seen:
        return None
    if depth > LONGEST_CHAIN:
        raise TracingError(f"cannot read the types of {kernel.name}: nested without end")
    seen.add(field.type_id)
    for member in kernel.members(field.type_id):
        if member.name and member.name != step.name:
            continue
        here = _Field(
            kernel.underlying(member.type_id),
            field.offset_bits + member.offset_bits,
            member.bitfield_bits,
            is_named=True,
        )
        found = here if member.name else _named(kernel, here, step, seen, depth + 1)
        if found is not None:
            return found
    return None


def _are_alike(program: Btf, ours: int, kernel: Btf, theirs: int) -> bool:
    """Whether a field may be read as the program believes: of one kind, whatever its size."""
    for _ in range(LONGEST_CHAIN):
        ours, theirs = program.underlying(ours), kernel.underlying(theirs)
        kind, other = _shape(program, ours), _shape(kernel, theirs)
        if kind in COMPOSITE and other in COMPOSITE:
            return True
        if kind != other:
            return False
        if kind in {Kind.ENUM, Kind.FORWARD}:
            name, other_name = program.type_name(ours), kernel.type_name(theirs)
            alike = name.partition(FLAVOUR)[0] == other_name.partition(FLAVOUR)[0]
            return alike or not (name and other_name)
        if kind != Kind.ARRAY:
            return kind in {Kind.INT, Kind.POINTER, Kind.FLOAT}
        ours, theirs = program.array(ours).element_id, kernel.array(theirs).element_id
    return False


def _value(btf: Btf, field: _Field, kind: CoreKind) -> Value:
    if kind == CoreKind.FIELD_EXISTS:
        return Value(1)
    if kind == CoreKind.FIELD_SIGNED:
        return Value(int(btf.is_signed(field.type_id)))
    begin_bytes, size_bytes = _storage(btf, field)
    field_bits = field.bitfield_bits or size_bytes * 8
    if kind == CoreKind.FIELD_OFFSET:
        resizable = btf.kind(field.type_id) in {Kind.INT, Kind.POINTER}
        may_resize = resizable and not btf.is_signed(field.type_id)
        return Value(begin_bytes, size_bytes, may_resize)
    if kind == CoreKind.FIELD_SIZE:
        return Value(size_bytes)
    if kind == CoreKind.FIELD_LEFT_SHIFT:
        return Value(REGISTER_BITS - (field.offset_bits + field_bits - begin_bytes * 8))
    return Value(REGISTER_BITS - field_bits)


def _storage(btf: Btf, field: _Field) -> tuple[int, int]:
    """(first byte, number of bytes) to load for a field: for a bit field the words it lies in."""
    size_bytes = btf.size_bytes(field.type_id)
    if not field.bitfield_bits:
        return field.offset_bits // 8, size_bytes
    end_bits = field.offset_bits + field.bitfield_bits
    while 0 < size_bytes <= REGISTER_BYTES:
        begin_bytes = field.offset_bits // 8 // size_bytes * size_bytes
        if end_bits <= (begin_bytes + size_bytes) * 8:
            return begin_bytes, size_bytes
        size_bytes *= 2
    raise TracingError(f"cannot relocate a bit field of {btf.name}: it spans more than 64 bits")


def _numbers(record: CoreRecord, program: Btf) -> list[int]:
    parts = record.access.split(":")
    if not all(part.isascii() and part.isdigit() for part in parts) or len(parts) > ACCESS_STEPS:
        raise _senseless(record, program)
    return [int(part) for part in parts]


def _senseless(record: CoreRecord, program: Btf) -> TracingError:
    return TracingError(
        f"cannot relocate {program.name}: type {program.type_name(record.type_id)!r} has no "
        f"{record.access!r}"
    )
