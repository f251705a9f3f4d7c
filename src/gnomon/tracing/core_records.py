"""What a compiled program asks of the kernel that it will meet: the CO-RE records of .BTF.ext.

Layout and numbers: include/uapi/linux/bpf.h (bpf_core_relo), Documentation/bpf/llvm_reloc.rst.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

from gnomon._errors import TracingError
from gnomon.tracing.btf import MAGIC, Btf

_HEADER = struct.Struct("<HBBI")
# Where the header says that the records are; absent from headers that are shorter.
_RECORDS_AT = 24
_PAIR = struct.Struct("<II")
_RECORD = struct.Struct("<IIII")


class CoreKind(IntEnum):
    """enum bpf_core_relo_kind: which property of a field, type or enumerator is asked for."""

    FIELD_OFFSET = 0
    FIELD_SIZE = 1
    FIELD_EXISTS = 2
    FIELD_SIGNED = 3
    FIELD_LEFT_SHIFT = 4
    FIELD_RIGHT_SHIFT = 5
    TYPE_ID_LOCAL = 6
    TYPE_ID_TARGET = 7
    TYPE_EXISTS = 8
    TYPE_SIZE = 9
    ENUMERATOR_EXISTS = 10
    ENUMERATOR_VALUE = 11


class CoreRecord(NamedTuple):
    """One instruction to adapt: ``at`` is its byte in its section.

    ``access`` leads from ``type_id`` to the field, as member numbers with colons between.
    """

    at: int
    type_id: int
    access: str
    kind: CoreKind


def read_core_records(data: bytes, btf: Btf) -> dict[str, list[CoreRecord]]:
    """The records by section. ``data`` is a .BTF.ext section, ``btf`` the types beside it.

    Raises TracingError, which names the file, where the data contradict themselves.
    """
    if not data:
        return {}
    magic, _, _, header_bytes = _HEADER.unpack(_take(data, 0, _HEADER.size, btf))
    if magic != MAGIC:
        raise _broken(btf, f"they begin with {magic:#x}")
    if header_bytes < _RECORDS_AT + _PAIR.size:
        return {}
    begin, size_bytes = _PAIR.unpack(_take(data, _RECORDS_AT, _PAIR.size, btf))
    table = _take(data, header_bytes + begin, size_bytes, btf)
    found: dict[str, list[CoreRecord]] = {}
    if not table:
        return found
    record_bytes = int.from_bytes(_take(table, 0, 4, btf), "little")
    if record_bytes < _RECORD.size:
        raise _broken(btf, f"records of {record_bytes} bytes")
    at = 4
    while at < len(table):
        section, count = _PAIR.unpack(_take(table, at, _PAIR.size, btf))
        at += _PAIR.size
        records = _take(table, at, count * record_bytes, btf)
        at += len(records)
        found.setdefault(btf.string(section), []).extend(
            _record(records, begin, btf) for begin in range(0, len(records), record_bytes)
        )
    return found


def _record(records: bytes, begin: int, btf: Btf) -> CoreRecord:
    at, type_id, access, kind = _RECORD.unpack_from(records, begin)
    try:
        return CoreRecord(at, type_id, btf.string(access), CoreKind(kind))
    except ValueError:
        raise _broken(btf, f"a record of kind {kind}, which this version does not know") from None


def _take(data: bytes, at: int, size_bytes: int, btf: Btf) -> bytes:
    if at + size_bytes > len(data):
        raise _broken(btf, f"{size_bytes} bytes at {at}, beyond its {len(data)}")
    return data[at : at + size_bytes]


def _broken(btf: Btf, what: str) -> TracingError:
    return TracingError(f"cannot read the relocations of {btf.name}: {what}")
