"""What a uprobe costs at a function's entry, by the instruction that stands there.

The kernel emulates some instructions; any other is run out of line under a single step, which cost
22 us instead of 0.5 us a call on a virtual machine (Linux 6.18, nested virtualisation).
Source: arch/x86/kernel/uprobes.c, branch_setup_xol_ops and push_setup_xol_ops.
"""

from gnomon.tracing.elf import X86_64

PUSH = range(0x50, 0x58)
# The prefix that reaches r8 to r15; no other is emulated before push.
REX_B = 0x41
# jmp rel8, jmp rel32, call rel32, and the short conditional jumps.
BRANCHES = frozenset({0xEB, 0xE9, 0xE8, *range(0x70, 0x80)})
TWO_BYTES = 0x0F
NEAR_CONDITIONAL_JUMPS = range(0x80, 0x90)
# The nops that compilers and the kernel use, by length (Intel SDM volume 2, NOP).
NOPS = tuple(
    bytes.fromhex(code)
    for code in (
        *("90", "6690", "0f1f00", "0f1f4000", "0f1f440000", "660f1f440000"),
        *("0f1f8000000000", "0f1f840000000000"),
    )
)
# Marks where an indirect call may land (Intel SDM volume 2): it changes no register.
ENDBR64 = bytes.fromhex("f30f1efa")


def entry_offset(machine: int, code: bytes) -> int:
    """How far into a function of this ``code`` its entry is best probed, in bytes.

    Arguments, and the return address on top of the stack, still have to be where the caller left
    them, and every call has to pass there once. So of all instructions only endbr64 is stepped
    over, and only to a push: that begins a frame, and nothing jumps back to it.
    """
    is_marked = machine == X86_64 and code.startswith(ENDBR64)
    return len(ENDBR64) if is_marked and _is_push(code[len(ENDBR64) :]) else 0


def is_emulated(machine: int, code: bytes) -> bool | None:
    """Whether the kernel emulates the first instruction of ``code`` under a uprobe.

    ``machine`` is an ELF file's e_machine. None where it is not known for that machine.
    """
    if machine != X86_64:
        return None
    if code.startswith(NOPS):
        return True
    if _is_push(code):
        return True
    first, second = (*code[:2], 0, 0)[:2]
    if first == TWO_BYTES:
        return second in NEAR_CONDITIONAL_JUMPS
    return first in BRANCHES


def _is_push(code: bytes) -> bool:
    first, second = (*code[:2], 0, 0)[:2]
    return second in PUSH if first == REX_B else first in PUSH
