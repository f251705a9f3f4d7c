"""Names for the addresses of stacks, of the kernel and of processes."""

from gnomon.tracing.kernel_symbols import KernelSymbols
from gnomon.tracing.native_symbols import NativeSymbols
from gnomon.tracing.stack_book import Named, Namer


def kernel_namer() -> Namer:
    """Read the kernel's symbols, now: later it would hold up records."""
    symbols = KernelSymbols()

    def name(_pid: int, address: int) -> Named:
        found = symbols.find(address)
        return Named(None, None) if found is None else Named(found.name, found.module)

    return name


def native_namer() -> Namer:
    """Names of functions in the files that a process maps."""
    symbols = NativeSymbols()

    def name(pid: int, address: int) -> Named:
        found = symbols.frame(pid, address)
        return Named(None, None) if found is None else Named(found.symbol, found.module)

    return name
