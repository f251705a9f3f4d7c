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


def is_emulated(machine: int, code: bytes) -> bool | None:
    """Whether the kernel emulates the first instruction of ``code`` under a uprobe.

    ``machine`` is an ELF file's e_machine. None where it is not known for that machine.
    """
    if machine != X86_64:
        return None
    if code.startswith(NOPS):
        return True
    first, second = (*code[:2], 0, 0)[:2]
    if first == REX_B:
        return second in PUSH
    if first == TWO_BYTES:
        return second in NEAR_CONDITIONAL_JUMPS
    return first in PUSH or first in BRANCHES
