"""Names of the kernel's functions, modules included, from /proc/kallsyms."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

KALLSYMS = Path("/proc/kallsyms")
TEXT_KINDS = b"tTwW"
ADDRESS_DIGITS = 16
# Where a line has its kind: after the address and a space. The name follows after one more.
KIND_COLUMN, NAME_COLUMN = 17, 19
# No function is longer; what lies further behind one is in a gap between modules.
LONGEST_FUNCTION_BYTES = 1 << 20
SHOW_ADDRESSES = (
    "run as root, or with CAP_SYSLOG and kernel.kptr_restrict at 1 or 0, to see kernel functions"
)


class KernelSymbol(NamedTuple):
    """A function of the kernel; ``module`` is None for the kernel proper."""

    name: str
    module: str | None


class KernelSymbols:
    """The kernel's functions as they are now; make it anew to see modules loaded since.

    ``obstacle`` says why there are none and what would help; it is empty where there are some.
    """

    def __init__(self, path: Path = KALLSYMS) -> None:
        self.obstacle = ""
        try:
            self._text = path.read_bytes()
        except OSError as error:
            self._text = b""
            self.obstacle = f"cannot read {path}: {error.strerror}; {SHOW_ADDRESSES}"
        lines = _line_starts(self._text)
        addresses = _addresses(self._text, lines)
        if len(lines) and not addresses.any():
            self.obstacle = f"{path} hides the addresses; {SHOW_ADDRESSES}"
            lines, addresses = lines[:0], addresses[:0]
        order = np.argsort(addresses, kind="stable")
        self._addresses, self._lines = addresses[order], lines[order]

    def find(self, address: int) -> KernelSymbol | None:
        """The function that ``address`` lies in; None where it is not known, or none of code."""
        # Several names of one address stand in the order of the file: the first is taken.
        place = int(np.searchsorted(self._addresses, np.uint64(address), side="right")) - 1
        if place < 0:
            return None
        begin = self._addresses[place]
        place = int(np.searchsorted(self._addresses, begin))
        start = int(self._lines[place])
        is_text = self._text[start + KIND_COLUMN : start + KIND_COLUMN + 1] in TEXT_KINDS
        if not is_text or address - int(begin) >= LONGEST_FUNCTION_BYTES:
            return None
        line = self._text[start + NAME_COLUMN : self._text.find(b"\n", start)]
        name, _, module = line.decode(errors="replace").partition("\t")
        return KernelSymbol(name, module.strip("[]") or None)

    def name(self, address: int) -> str | None:
        """The name of that function, or None."""
        found = self.find(address)
        return found.name if found else None


def _line_starts(text: bytes) -> "npt.NDArray[np.int64]":
    """Where each line that is long enough begins."""
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n"))
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    return starts[ends - starts > NAME_COLUMN]


def _addresses(text: bytes, lines: "npt.NDArray[np.int64]") -> "npt.NDArray[np.uint64]":
    """The number that each line begins with."""
    digits = np.frombuffer(text, np.uint8)
    values = np.zeros(256, np.uint64)
    for value, digit in enumerate(b"0123456789abcdef"):
        values[digit] = value
    addresses = np.zeros(len(lines), np.uint64)
    for column in range(ADDRESS_DIGITS):
        addresses = addresses << np.uint64(4) | values[digits[lines + column]]
    return addresses
