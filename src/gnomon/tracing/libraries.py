"""The libraries of a process that are probed, and where in each: files, and offsets in them.

A library is the file that is mapped, told by device and inode, whatever its name leads to by now:
it may be deleted, replaced, or lie in a mount namespace of its own. It is opened once and stays
open, so that everything is done to that very file.
"""

import os
import re
from collections import abc
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from gnomon._errors import TracingError
from gnomon.enums import CallLayer
from gnomon.tracing.elf import DYNSYM, SYMTAB, Elf, Function
from gnomon.tracing.entry_points import entry_offset, is_emulated
from gnomon.tracing.mappings import Mapping, open_mapped, parse_mappings
from gnomon.tracing.operations import OPERATIONS, numbers
from gnomon.tracing.processes import Process

# The end of a line of /proc/PID/maps; some wheels put a hash into the name. It begins with letters
# because that is what makes it fast.
NAMES = re.compile(rb"/lib(?:cuda|cudart[^/\n]*|nccl[^/\n]*)\.so[^/\n]*$", re.MULTILINE)
CHUNK_BYTES = 1 << 16
# CUDA reserves addresses for the memory of all GPUs: who has fewer has not called it.
LEAST_CUDA_BYTES = 1 << 30
DELETED = " (deleted)"
# What every program has that has the CUDA runtime linked into it.
RUNTIME_LAUNCH = "cudaLaunchKernel"
# A driver has it; another file that lacks it cannot show the launches.
DRIVER_LAUNCH = "cuLaunchKernel"
# Where each probe costs a descriptor and 0.1 s to remove: what matters most, in one form each.
FEW = frozenset(
    {
        *("cuLaunchKernel", "cuLaunchKernelEx", "cuGraphLaunch", "cuStreamSynchronize"),
        *("cuCtxSynchronize", "cuEventSynchronize", "cuMemcpyAsync", "cuMemcpyHtoDAsync_v2"),
        *("cuMemcpyDtoHAsync_v2", "cuMemcpyDtoDAsync_v2", "cuMemcpy", "cuMemcpyHtoD_v2"),
        *("cuMemcpyDtoH_v2", "cuMemAlloc_v2", "cuMemFree_v2", "cuMemAllocAsync"),
        *("cudaLaunchKernel", "cudaLaunchKernelExC", "cudaGraphLaunch", "cudaStreamSynchronize"),
        *("cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy", "cudaMemcpyAsync"),
        *("cudaMalloc", "cudaFree", "cudaMallocAsync", "cudaHostAlloc"),
        *("ncclAllReduce", "ncclAllGather", "ncclReduceScatter", "ncclBroadcast", "ncclSend"),
        *("ncclRecv", "ncclGroupStart", "ncclGroupEnd", "ncclCommInitRank", "ncclCommSplit"),
        "ncclCommInitRankConfig",
    }
)

Key = tuple[str, int]
"""What tells a file from any other: its device as in /proc/PID/maps ("fe:01"), its inode."""


class Group(NamedTuple):
    """Functions that are probed, or not, together."""

    layer: CallLayer
    is_launch: bool


class Points(NamedTuple):
    """Where to probe, in bytes of the file, and which operation is there."""

    offsets: tuple[int, ...]
    cookies: tuple[int, ...]


class Library(NamedTuple):
    """An open library. ``stepped`` are functions that are dear to probe, ``skipped`` too dear."""

    file: BinaryIO
    name: str
    points: abc.Mapping[Group, Points]
    stepped: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def path(self) -> str:
        """A path that leads to this file as long as it is open here."""
        return path_of(self.file)

    @property
    def covers_launches(self) -> bool:
        """Whether every launch passes here: it is a driver whose launches can all be probed."""
        launches = self.points.get(Group(CallLayer.CUDA_DRIVER, is_launch=True))
        has_launch = launches is not None and numbers()[DRIVER_LAUNCH] in launches.cookies
        return has_launch and not any(name.startswith("cu") for name in self.skipped)


def path_of(file: BinaryIO) -> str:
    """A path that leads to an open file, whatever its name leads to by now."""
    return f"/proc/self/fd/{file.fileno()}"


def key_of(status: os.stat_result) -> Key:
    """The key of a file by its stat(2)."""
    device = status.st_dev
    return f"{os.major(device):02x}:{os.minor(device):02x}", status.st_ino


def mapped(pid: int, proc: str = "/proc") -> list[Mapping]:
    """The CUDA and NCCL libraries that a process maps, each file once. Raises OSError.

    Of a map of hundreds of lines only the few that matter are parsed.
    """
    text = _read(f"{proc}/{pid}/maps")
    begins = [
        (text.rfind(b"\n", 0, match.start()) + 1, match.end()) for match in NAMES.finditer(text)
    ]
    pieces = parse_mappings(b"\n".join(text[begin:end] for begin, end in begins))
    return list({file_key(piece): piece for piece in pieces if piece.is_executable}.values())


def file_key(mapping: Mapping) -> Key:
    """What tells the file of a mapping."""
    return mapping.device, mapping.inode


def program(pid: int, proc: str = "/proc") -> Mapping:
    """The program that a process runs, at no address. Raises OSError."""
    link = Path(f"{proc}/{pid}/exe")
    device, inode = key_of(link.stat())
    return Mapping(0, 0, 0, device, inode, str(link.readlink()), is_executable=True)


def open_library(pid: int, file: Mapping, *, few: bool, proc: str = "/proc") -> Library:
    """Open what a process maps and find its functions, or the FEW. Raises TracingError."""
    opened = _open(pid, file, proc)
    try:
        return read_library(opened, file.path.removesuffix(DELETED), few=few)
    except TracingError:
        opened.close()
        raise


def read_library(file: BinaryIO, name: str, *, few: bool) -> Library:
    """A library from its open file, which it keeps. Raises TracingError."""
    elf = Elf(file, name)
    wanted = numbers().keys() & FEW if few else numbers().keys()
    places: dict[int, Function] = {}
    # One function under two names, or in both tables of symbols, is probed once.
    for function in elf.functions(wanted):
        places.setdefault(function.file_offset, function)
    points: dict[Group, list[tuple[int, int]]] = {}
    stepped: list[str] = []
    skipped: list[str] = []
    for function in places.values():
        cookie = numbers()[function.name]
        operation = OPERATIONS[cookie]
        code = elf.first_bytes(function)
        inside = entry_offset(elf.machine, code)
        if is_emulated(elf.machine, code[inside:]) is False:
            (skipped if operation.is_launch else stepped).append(function.name)
            if operation.is_launch:
                continue
        group = Group(operation.layer, operation.is_launch)
        points.setdefault(group, []).append((function.file_offset + inside, cookie))
    return Library(
        file,
        name,
        {group: Points(*zip(*rows, strict=True)) for group, rows in points.items()},
        tuple(stepped),
        tuple(skipped),
    )


def holds_runtime(pid: int, proc: str = "/proc") -> bool:
    """Whether a program has the CUDA runtime linked into it and still names its functions."""
    try:
        with Path(f"{proc}/{pid}/exe").open("rb") as file:
            elf = Elf(file, f"the program of process {pid}")
            tables = (section for section in elf.sections if section.kind in {DYNSYM, SYMTAB})
            # Most programs do not even name it, and those that import it have it elsewhere.
            mark = f"{RUNTIME_LAUNCH}\0".encode()
            is_named = any(mark in elf.data(elf.linked(table)) for table in tables)
            return is_named and any(elf.functions({RUNTIME_LAUNCH}))
    except (OSError, TracingError):
        return False


def same_file(library: Library, file: BinaryIO) -> bool:
    """Whether both are one file below, as two containers see one of their common image.

    They then differ in device and perhaps inode, but a probe in one would be a probe in both.
    """
    return _below(library.file) == _below(file)


def inodes_of(processes: Iterable[Process], proc: str = "/proc") -> set[int] | None:
    """The inodes of what processes run and map; None where one cannot be known.

    Inodes alone: containers of one image may see its files on devices of their own.
    """
    found = set()
    for process in processes:
        try:
            found.add(program(process.pid, proc).inode)
            found.update(mapping.inode for mapping in mapped(process.pid, proc))
        except PermissionError:
            if process.size_bytes >= LEAST_CUDA_BYTES:
                return None
        except OSError:
            continue
    return found


def _open(pid: int, file: Mapping, proc: str) -> BinaryIO:
    try:
        return open_mapped(pid, file) if file.end else Path(f"{proc}/{pid}/exe").open("rb")
    except OSError as error:
        raise TracingError(
            f"cannot open {file.path}, which process {pid} has in its memory: {error}",
            "trace as root, or with CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE, or start the "
            "process again",
        ) from error


def _below(file: BinaryIO) -> tuple[int, int, int, int]:
    status = os.fstat(file.fileno())
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        chunks = []
        while chunk := os.read(descriptor, CHUNK_BYTES):
            chunks.append(chunk)
        return b"".join(chunks)
    finally:
        os.close(descriptor)
