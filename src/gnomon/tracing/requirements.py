"""What tracing needs of this machine, and whether it is there: for users, before anything fails."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gnomon.tracing.refusals import (
    KERNEL_BTF,
    OLDEST,
    UPROBE_MULTI_SINCE,
    Surroundings,
    look_around,
    missing_capabilities,
)

MACHINE = "x86_64"
# Bits of CapEff, include/uapi/linux/capability.h.
CAP_SYS_PTRACE, CAP_SYS_ADMIN, CAP_SYSLOG = 19, 21, 34
# What is not seen without a family of programs, and since when there are the tracepoints it needs.
LACK = {
    "interrupts": "whether an interrupt woke a thread",
    "scheduler": "time off the CPU",
    "nccl": "collectives",
    "block": "block requests",
    "faults": "page faults",
    "network": "bytes over sockets",
}
SINCE = {"block": (6, 5), "network": (6, 3)}
SETPRIV = (
    "setpriv --reuid $USER --init-groups --inh-caps +bpf,+perfmon --ambient-caps +bpf,+perfmon"
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing; without a ``is_needed`` one nothing can be traced, others cost a part of it."""

    name: str
    value: str
    ok: bool
    remedy: str = ""
    is_needed: bool = True


def requirements(
    here: Surroundings | None = None,
    *,
    btf: Path = KERNEL_BTF,
    machine: str = platform.machine(),
    user_id: int | None = None,
) -> list[Requirement]:
    """Return all, needed ones first. Never raises, and leaves nothing behind."""
    here = look_around() if here is None else here
    user_id = os.geteuid() if user_id is None else user_id
    return [
        _machine(machine),
        _kernel(here),
        _btf(btf),
        _capabilities(here),
        _lockdown(here),
        _seccomp(here),
        _other_users(here, user_id),
        _kernel_symbols(here),
        *_lacking(here),
    ]


def since(family: str) -> str:
    """What helps where a kernel lacks what a family of programs needs; "" where that is unknown."""
    return f"use Linux {_number(SINCE[family])} or newer" if family in SINCE else ""


def obstacle(found: list[Requirement]) -> Requirement | None:
    """The first thing without which nothing can be traced."""
    return next((one for one in found if one.is_needed and not one.ok), None)


def _machine(machine: str) -> Requirement:
    return Requirement(
        "processor", machine, machine == MACHINE, f"trace on {MACHINE}: others are not known yet"
    )


def _kernel(here: Surroundings) -> Requirement:
    oldest = _number(OLDEST)
    return Requirement(
        "kernel",
        f"Linux {_number(here.kernel)}, {oldest} is needed",
        here.kernel >= OLDEST,
        f"use Linux {_number(UPROBE_MULTI_SINCE)} or newer ({oldest} at least): the verifiers and "
        "tracepoints of older ones are not those that the programs were made for",
    )


def _btf(path: Path) -> Requirement:
    is_there = path.exists()
    return Requirement(
        "kernel types (BTF)",
        f"{path}" if is_there else f"{path} is missing",
        is_there,
        "use a kernel with CONFIG_DEBUG_INFO_BTF, as those of all large distributions are",
    )


def _capabilities(here: Surroundings) -> Requirement:
    missing = missing_capabilities(here.capabilities, here.kernel)
    is_old = here.kernel < UPROBE_MULTI_SINCE
    enough = "CAP_SYS_ADMIN is there" if is_old else "CAP_BPF and CAP_PERFMON are enough"
    alone = (
        f"run as root: before Linux {_number(UPROBE_MULTI_SINCE)} uprobes take CAP_SYS_ADMIN"
        if is_old
        else f"run as root, or with these alone: sudo {SETPRIV} gnomon ... "
        "(in a container: --cap-add BPF --cap-add PERFMON)"
    )
    value = f"without {' and '.join(missing)}" if missing else enough
    return Requirement("privileges", value, not missing, alone)


def _lockdown(here: Surroundings) -> Requirement:
    return Requirement(
        "lockdown",
        here.lockdown or "none",
        here.lockdown != "confidentiality",
        "boot without lockdown=confidentiality: it forbids to read kernel memory",
    )


def _seccomp(here: Surroundings) -> Requirement:
    return Requirement(
        "seccomp",
        "filters this process: bpf may be refused" if here.is_filtered else "does not filter us",
        not here.is_filtered,
        "allow bpf and perf_event_open in the filter of this container or service",
        is_needed=False,
    )


def _other_users(here: Surroundings, user_id: int) -> Requirement:
    may = user_id == 0 or _has(here, CAP_SYS_PTRACE)
    return Requirement(
        "others' processes",
        "can be traced" if may else "cannot be traced without CAP_SYS_PTRACE",
        may,
        "add +sys_ptrace to the capabilities; one's own processes need no more",
        is_needed=False,
    )


def _kernel_symbols(here: Surroundings) -> Requirement:
    may = _has(here, CAP_SYSLOG) or _has(here, CAP_SYS_ADMIN)
    return Requirement(
        "kernel symbols",
        "can be read" if may else "hidden without CAP_SYSLOG: kernel stacks are bare addresses",
        may,
        "add +syslog to the capabilities, or set kernel.kptr_restrict to 0",
        is_needed=False,
    )


def _number(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


def _lacking(here: Surroundings) -> Iterator[Requirement]:
    """What an old kernel does not show; nothing where it cannot be used anyhow."""
    if here.kernel < OLDEST:
        return
    if here.kernel < UPROBE_MULTI_SINCE:
        what = "launches, synchronisations, copies, allocations and collectives alone are traced"
        remedy = f"use Linux {_number(UPROBE_MULTI_SINCE)} or newer"
        yield Requirement("functions", f"probed one by one: {what}", False, remedy, False)
    for family, version in SINCE.items():
        if here.kernel < version:
            value = "not seen by this kernel"
            yield Requirement(LACK[family], value, False, since(family), False)


def _has(here: Surroundings, bit: int) -> bool:
    return bool(here.capabilities >> bit & 1)
