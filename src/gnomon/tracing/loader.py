"""From an object file to programs that run in the kernel, and everything closed again after.

    with load(read_object(path)) as tracer:
        tracer.attach_tracepoint("on_switch")
        tracer.attach_uprobes("on_entry", library, offsets, cookies, pid=pid)

All that is in the kernel hangs on descriptors of this process: when it ends, by whatever means,
probes, programs and maps are gone.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, Self

from gnomon._errors import TracingError
from gnomon.tracing import bpf_syscall
from gnomon.tracing.bpf_syscall import ProgramType
from gnomon.tracing.btf import Btf, Kind, read_kernel_btf
from gnomon.tracing.maps import Map, create_data_map, create_map
from gnomon.tracing.object_file import (
    CONSTANTS,
    DataReference,
    MapReference,
    ObjectFile,
    ProgramSpec,
)
from gnomon.tracing.relocations import (
    Code,
    relocate_core,
    relocate_data,
    relocate_kernel_function,
    relocate_map,
)

# enum bpf_prog_type
KPROBE, TRACING, SYSCALL = 2, 26, 31
# BPF_F_SLEEPABLE: programs of type syscall are refused without.
SLEEPABLE = 1 << 4
ENTRY, RETURN = "uprobe", "uretprobe"


class Program(NamedTuple):
    """A program in the kernel, and what it was made of."""

    spec: ProgramSpec
    fd: int


class Link:
    """A program attached; `close` detaches it."""

    def __init__(self, *fds: int) -> None:
        self._fds = fds

    def close(self) -> None:
        """Detach; a second time does nothing."""
        fds, self._fds = self._fds, ()
        for fd in fds:
            os.close(fd)


class LoadedObject:
    """Maps and programs in the kernel. Use in a ``with`` statement, or call `close`."""

    def __init__(
        self, maps: Mapping[str, Map], programs: Mapping[str, Program], owned: ExitStack
    ) -> None:
        self.maps = maps
        self.programs = programs
        self._owned = owned

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Detach every link and close every map and program; a second time does nothing."""
        self._owned.close()

    def attach_tracepoint(self, name: str) -> Link:
        """Attach a program of a section tp_btf/... to its tracepoint."""
        return self._own(Link(bpf_syscall.raw_tracepoint_open(self._program(name).fd, name)))

    def attach_uprobes(
        self, name: str, path: Path, offsets: Sequence[int], cookies: Sequence[int], pid: int = 0
    ) -> Link:
        """Attach a program at many places of a file at once (Linux 6.6).

        ``offsets`` are bytes in the file; the program reads ``cookies`` with
        bpf_get_attach_cookie. ``pid`` 0 is every process; before Linux 6.10 any other is that one
        thread alone. Whether it runs at entry or at return is the program's section.
        """
        program = self._program(name)
        flags = bpf_syscall.UPROBE_MULTI_RETURN if program.spec.section == RETURN else 0
        return self._own(
            Link(bpf_syscall.link_uprobe_multi(program.fd, str(path), offsets, cookies, pid, flags))
        )

    def attach_uprobe(self, name: str, path: Path, offset: int, cookie: int, pid: int = 0) -> Link:
        """Attach a program at one place, as kernels before 6.6 do (0.1 s each to detach).

        The object has to be loaded with ``uprobe_multi`` False.
        """
        program = self._program(name)
        on_return = program.spec.section == RETURN
        event = bpf_syscall.perf_event_uprobe(str(path), offset, pid, on_return=on_return)
        try:
            link = bpf_syscall.link_perf_event(program.fd, event, cookie, str(path))
        except TracingError:
            os.close(event)
            raise
        return self._own(Link(link, event))

    def iterate(self, name: str) -> bytes:
        """Run a program of a section iter/... over all there is; what it wrote."""
        return bpf_syscall.iterate(self._program(name).fd, name)

    def run(self, name: str, context: bytes = b"") -> tuple[int, bytes]:
        """Run a program of the section syscall; (what it returned, its context afterwards)."""
        return bpf_syscall.prog_test_run(self._program(name).fd, name, context)

    def _own(self, link: Link) -> Link:
        self._owned.callback(link.close)
        return link

    def _program(self, name: str) -> Program:
        if name not in self.programs:
            loaded = ", ".join(self.programs) or "none"
            raise TracingError(f"no program {name} is loaded (loaded: {loaded})")
        return self.programs[name]


def load(
    file: ObjectFile,
    *,
    programs: Collection[str] | None = None,
    shared: Mapping[str, Map] | None = None,
    kernel: Btf | None = None,
    uprobe_multi: bool = True,
) -> LoadedObject:
    """Bring an object into the kernel; all of its programs, or those named.

    ``shared`` are maps of another object to use in place of own ones of that name. ``kernel`` are
    the kernel's types, read where they are not given. Raises TracingError (RefusedError where the
    kernel refuses) and leaves nothing behind then.
    """
    unknown = sorted(set(programs or ()) - set(file.programs))
    if unknown:
        raise TracingError(f"{file.name} has no program {', '.join(unknown)}")
    kernel = kernel or read_kernel_btf()
    chosen = [spec for name, spec in file.programs.items() if programs is None or name in programs]
    # What cannot be loaded is found out before anything is in the kernel.
    kinds = {spec.name: program_type(spec, kernel, uprobe_multi=uprobe_multi) for spec in chosen}
    with ExitStack() as owned:
        maps = _make_maps(file, shared or {}, owned.callback)
        loaded = {}
        for spec in chosen:
            code = _relocated(spec, file, maps, kernel)
            fd = bpf_syscall.prog_load(spec.name, code, kinds[spec.name], file.license)
            owned.callback(os.close, fd)
            loaded[spec.name] = Program(spec, fd)
        return LoadedObject(maps, loaded, owned.pop_all())


def program_type(spec: ProgramSpec, kernel: Btf, *, uprobe_multi: bool) -> ProgramType:
    """What a program is, by its section. Raises TracingError where this kernel lacks its place."""
    base, _, target = spec.section.partition("/")
    if spec.section in {ENTRY, RETURN}:
        attach_type = bpf_syscall.UPROBE_MULTI if uprobe_multi else 0
        return ProgramType(KPROBE, attach_type)
    if base == "tp_btf":
        found = _kernel_type(kernel, Kind.TYPEDEF, f"btf_trace_{target}", "tracepoint", target)
        return ProgramType(TRACING, bpf_syscall.TRACE_RAW_TP, found)
    if base == "iter":
        found = _kernel_type(kernel, Kind.FUNCTION, f"bpf_iter_{target}", "iterator", target)
        return ProgramType(TRACING, bpf_syscall.TRACE_ITER, found)
    if base == "syscall":
        return ProgramType(SYSCALL, flags=SLEEPABLE)
    raise TracingError(f"cannot load {spec.name}: programs of section {spec.section} are not known")


def _kernel_type(kernel: Btf, kind: Kind, name: str, what: str, target: str) -> int:
    found = kernel.find(kind, name)
    if not found:
        raise TracingError(f"this kernel has no {what} {target}", "use a newer kernel")
    return found[0]


def _make_maps(
    file: ObjectFile, shared: Mapping[str, Map], own: Callable[..., object]
) -> dict[str, Map]:
    maps = {}
    for name, spec in file.maps.items():
        if name in shared:
            maps[name] = _fitting(shared[name], name, file)
        else:
            maps[name] = create_map(spec)
            own(os.close, maps[name].fd)
    for section, contents in file.data.items():
        is_constant = section.startswith(CONSTANTS)
        maps[section] = create_data_map(section, bytes(contents), is_constant=is_constant)
        own(os.close, maps[section].fd)
    return maps


def _fitting(given: Map, name: str, file: ObjectFile) -> Map:
    theirs, ours = given.spec, file.maps[name]
    fits = (theirs.kind, theirs.key_bytes, theirs.value_bytes) == (
        *(ours.kind, ours.key_bytes, ours.value_bytes),
    )
    if not fits:
        raise TracingError(f"map {name} of {file.name} is not like the one it should share")
    return given


def _relocated(spec: ProgramSpec, file: ObjectFile, maps: Mapping[str, Map], kernel: Btf) -> bytes:
    """A program's instructions for this kernel and these maps."""
    code = Code(spec.code, spec.name)
    for record in spec.core:
        relocate_core(code, record, file.btf, kernel)
    for reference in spec.references:
        if isinstance(reference, MapReference):
            relocate_map(code, reference.at, maps[reference.name].fd)
        elif isinstance(reference, DataReference):
            fd = maps[reference.section].fd
            relocate_data(code, reference.at, fd, reference.offset_bytes)
        else:
            relocate_kernel_function(
                code, reference.at, reference.name, kernel, reference.weak_number
            )
    return bytes(code)
