"""Instructions made fit for this kernel: CO-RE values, maps, global data and kernel functions.

An instruction has 8 bytes: opcode, registers, a 16-bit offset, a 32-bit immediate; a load of 64
bits takes two. Encoding: Documentation/bpf/standardization/instruction-set.rst.
"""

import struct
from typing import NamedTuple

from gnomon._errors import TracingError
from gnomon.tracing.btf import Btf, Kind
from gnomon.tracing.core_records import CoreRecord
from gnomon.tracing.core_values import Answer, answer

INSTRUCTION_BYTES = 8
_INSTRUCTION = struct.Struct("<BBhi")
LOAD_64, CALL = 0x18, 0x85
CLASS_BITS, SOURCE_IS_REGISTER, SIZE_BITS = 0x07, 0x08, 0x18
CLASSES_OF_MEMORY = {1, 2, 3}  # BPF_LDX, BPF_ST, BPF_STX
CLASSES_OF_ARITHMETIC = {4, 7}  # BPF_ALU, BPF_ALU64
SIZE_CODES = {4: 0x00, 2: 0x08, 1: 0x10, 8: 0x18}
# What src_reg says about the immediate of a load of 64 bits, or of a call.
MAP_FD, MAP_VALUE, KERNEL_TYPE = 1, 2, 3
KERNEL_CALL = 2
# No helper has these numbers, so that the verifier refuses the program if it can get there. They
# are libbpf's, for which people search when a verifier log shows them.
NO_SUCH_FIELD, NO_SUCH_FUNCTION = 195896080, 2002000000
LARGEST_OFFSET = 0x7FFF
UINT32 = 0xFFFFFFFF


class Instruction(NamedTuple):
    """One instruction, taken apart."""

    opcode: int
    registers: int
    offset: int
    immediate: int


class Code:
    """The instructions of one program, while they are adapted. ``name`` is for messages."""

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        self._data = bytearray(data)

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    def read(self, at: int) -> Instruction:
        """The instruction at byte ``at``."""
        if at % INSTRUCTION_BYTES or not 0 <= at <= len(self._data) - INSTRUCTION_BYTES:
            raise self.broken(f"no instruction at byte {at} of {len(self._data)}")
        return Instruction(*_INSTRUCTION.unpack_from(self._data, at))

    def write(self, at: int, instruction: Instruction) -> None:
        """Replace the instruction at byte ``at``; the immediate may be given without sign."""
        immediate = (instruction.immediate & UINT32 ^ 1 << 31) - (1 << 31)
        _INSTRUCTION.pack_into(self._data, at, *instruction[:3], immediate)

    def load_64(self, at: int, source: int, low: int, high: int) -> None:
        """Fill a load of 64 bits: ``source`` says what the two immediates mean."""
        first, second = self.read(at), self.read(at + INSTRUCTION_BYTES)
        if first.opcode != LOAD_64 or second.opcode:
            raise self.broken(f"the instruction at byte {at} is no load of 64 bits")
        registers = first.registers & 0x0F | source << 4
        self.write(at, first._replace(registers=registers, immediate=low))
        self.write(at + INSTRUCTION_BYTES, second._replace(immediate=high))

    def broken(self, what: str) -> TracingError:
        """The error for code that contradicts what is asked of it."""
        return TracingError(f"cannot relocate {self.name}: {what}")


def relocate_core(code: Code, record: CoreRecord, program: Btf, kernel: Btf) -> None:
    """Adapt the instruction that ``record`` names to this kernel's types.

    What the kernel lacks becomes a call that the verifier refuses, unless the program asks first
    whether it exists: then the verifier drops it as unreachable.
    """
    at = record.at
    found = answer(record, program, kernel)
    instruction = code.read(at)
    if found.kernel is None or _reads_wrongly(instruction, found):
        _poison(code, at, instruction)
        return
    held = _held(code, at, instruction)
    if found.is_certain and held != found.compiled.number & _mask(instruction):
        raise code.broken(f"byte {at} holds {held}, its types say {found.compiled.number}")
    number = found.kernel.number
    kind = instruction.opcode & CLASS_BITS
    if instruction.opcode == LOAD_64:
        code.load_64(at, 0, number, number >> 32)
    elif kind in CLASSES_OF_ARITHMETIC:
        if not -(1 << 31) <= number <= UINT32:
            raise code.broken(f"{number} does not fit into the instruction at byte {at}")
        code.write(at, instruction._replace(immediate=number))
    else:
        if number > LARGEST_OFFSET:
            raise code.broken(f"offset {number} does not fit into the instruction at byte {at}")
        code.write(at, _resized(code, instruction, found)._replace(offset=number))


def _reads_wrongly(instruction: Instruction, found: Answer) -> bool:
    """Whether a load or store would move another number of bytes, and with it another value."""
    if instruction.opcode & CLASS_BITS not in CLASSES_OF_MEMORY or found.kernel is None:
        return False
    is_same = found.compiled.access_bytes == found.kernel.access_bytes
    return not (is_same or (found.compiled.may_resize and found.kernel.may_resize))


def _resized(code: Code, instruction: Instruction, found: Answer) -> Instruction:
    """The load or store with the size of the kernel's field."""
    if found.kernel is None or found.compiled.access_bytes == found.kernel.access_bytes:
        return instruction
    size_bytes = found.kernel.access_bytes
    if size_bytes not in SIZE_CODES:
        raise code.broken(f"a field of {size_bytes} bytes is no load")
    opcode = instruction.opcode & ~SIZE_BITS | SIZE_CODES[size_bytes]
    return instruction._replace(opcode=opcode)


def _held(code: Code, at: int, instruction: Instruction) -> int:
    """The number that the compiler put where ours will stand."""
    kind = instruction.opcode & CLASS_BITS
    if instruction.opcode == LOAD_64:
        following = code.read(at + INSTRUCTION_BYTES)
        return instruction.immediate & UINT32 | (following.immediate & UINT32) << 32
    if kind in CLASSES_OF_ARITHMETIC and not instruction.opcode & SOURCE_IS_REGISTER:
        return instruction.immediate & UINT32
    if kind in CLASSES_OF_MEMORY:
        return instruction.offset
    raise code.broken(f"the instruction {instruction.opcode:#x} at byte {at} holds no number")


def _mask(instruction: Instruction) -> int:
    return (1 << 64) - 1 if instruction.opcode == LOAD_64 else UINT32


def _poison(code: Code, at: int, instruction: Instruction) -> None:
    refused = Instruction(CALL, 0, 0, NO_SUCH_FIELD)
    code.write(at, refused)
    if instruction.opcode == LOAD_64:
        code.read(at + INSTRUCTION_BYTES)
        code.write(at + INSTRUCTION_BYTES, refused)


def relocate_map(code: Code, at: int, map_fd: int) -> None:
    """Let the load at byte ``at`` load the address of a map."""
    code.load_64(at, MAP_FD, map_fd, 0)


def relocate_data(code: Code, at: int, map_fd: int, offset_bytes: int) -> None:
    """Let the load at byte ``at`` load an address in global data, which a map of one entry holds.

    What the compiler left in the immediate is added to ``offset_bytes``, where the symbol lies.
    """
    code.load_64(at, MAP_VALUE, map_fd, offset_bytes + code.read(at).immediate)


def relocate_kernel_function(
    code: Code, at: int, name: str, kernel: Btf, weak_number: int | None
) -> None:
    """Let the call at byte ``at`` call a function of the kernel, or the load there ask for it.

    A weak one may be missing: a load gives 0 then, and a call is refused where it can be reached.
    ``weak_number`` tells those apart in the verifier's log, and is None for others, for which
    TracingError is raised.
    """
    found = kernel.find(Kind.FUNCTION, name)
    if not found and weak_number is None:
        raise TracingError(
            f"cannot load {code.name}: this kernel has no function {name}",
            "use a newer kernel",
        )
    instruction = code.read(at)
    if instruction.opcode == LOAD_64:
        code.load_64(at, KERNEL_TYPE if found else 0, found[0] if found else 0, 0)
    elif instruction.opcode == CALL and found:
        registers = instruction.registers & 0x0F | KERNEL_CALL << 4
        code.write(at, Instruction(CALL, registers, 0, found[0]))
    elif instruction.opcode == CALL:
        code.write(at, Instruction(CALL, 0, 0, NO_SUCH_FUNCTION + (weak_number or 0)))
    else:
        raise code.broken(f"{name} is neither called nor asked for at byte {at}")
