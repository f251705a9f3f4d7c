"""Parsers of Linux's /proc files: text in, numbers out, no file is opened here.

Formats: proc(5), Documentation/filesystems/proc.rst, Documentation/accounting/psi.rst and
Documentation/scheduler/sched-stats.rst of the kernel. A parser raises ``ValueError`` on text
that is not the file it expects; newer kernels that append fields or lines do not disturb it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

SECTOR_BYTES = 512
"""Sectors in /proc/diskstats are always of this size, whatever the device's own."""
MEMORY_FIELDS = frozenset({"MemTotal", "MemAvailable", "SwapTotal", "SwapFree"})


class CpuTimes(NamedTuple):
    """Clock ticks since boot of one CPU, or of all. Guest time lies inside ``user``/``nice``."""

    used: int
    idle: int
    iowait: int
    steal: int


@dataclass(frozen=True, slots=True)
class Stat:
    """/proc/stat."""

    all_cpus: CpuTimes
    cpus: Mapping[str, CpuTimes]
    context_switches: int | None
    runnable_tasks: int | None


@dataclass(frozen=True, slots=True)
class TaskStat:
    """/proc/PID/stat or /proc/PID/task/TID/stat; times in clock ticks; state Z is a zombie."""

    name: str
    state: str
    cpu_ticks: int
    threads: int
    start_ticks: int


class SchedStat(NamedTuple):
    """/proc/PID/task/TID/schedstat: time on a CPU, and time ready but without one.

    ``wait_ns`` None: a kernel without these statistics does not tell.
    """

    run_ns: int
    wait_ns: int | None


def parse_stat(text: str) -> Stat:
    """Parse /proc/stat. Idle, iowait and steal are not "used"."""
    cpus: dict[str, CpuTimes] = {}
    counters: dict[str, int] = {}
    for line in text.splitlines():
        key, _, rest = line.partition(" ")
        if key.startswith("cpu"):
            cpus[key] = _cpu_times(rest)
        elif key in {"ctxt", "procs_running"}:
            counters[key] = int(rest)
    if "cpu" not in cpus:
        raise ValueError("no line 'cpu' in /proc/stat")
    return Stat(cpus.pop("cpu"), cpus, counters.get("ctxt"), counters.get("procs_running"))


def _cpu_times(fields: str) -> CpuTimes:
    # user nice system idle iowait irq softirq steal [guest guest_nice]
    ticks = fields.split(maxsplit=8)
    if len(ticks) < 8:
        raise ValueError(f"a CPU line of /proc/stat has {len(ticks)} fields, expected at least 8")
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, ticks[:8])
    return CpuTimes(user + nice + system + irq + softirq, idle, iowait, steal)


def parse_loadavg(text: str) -> float:
    """Return the load average over one minute."""
    fields = text.split()
    if len(fields) < 3:
        raise ValueError(f"unexpected content in /proc/loadavg: {text[:80]!r}")
    return float(fields[0])


def parse_pressure(text: str) -> int:
    """Return the microseconds since boot in which some task was stalled (PSI "some" total)."""
    for line in text.splitlines():
        kind, *pairs = line.split()
        if kind == "some":
            for pair in pairs:
                key, _, value = pair.partition("=")
                if key == "total":
                    return int(value)
    raise ValueError("no 'some ... total=' in the pressure file")


def parse_meminfo(text: str) -> dict[str, int]:
    """Return ``MEMORY_FIELDS``, those that are there, in bytes."""
    fields: dict[str, int] = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        if key not in MEMORY_FIELDS:
            continue
        parts = rest.split()
        if len(parts) == 2 and parts[1] == "kB":
            fields[key] = int(parts[0]) * 1024
    if "MemTotal" not in fields:
        raise ValueError("no 'MemTotal' in /proc/meminfo")
    return fields


def parse_diskstats(text: str) -> dict[str, tuple[int, int]]:
    """Return (bytes read, bytes written) since boot of each block device and partition."""
    devices: dict[str, tuple[int, int]] = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 10:
            raise ValueError(f"a line of /proc/diskstats has {len(fields)} fields: {line[:80]!r}")
        devices[fields[2]] = (int(fields[5]) * SECTOR_BYTES, int(fields[9]) * SECTOR_BYTES)
    return devices


def parse_net_dev(text: str) -> dict[str, tuple[int, int]]:
    """Return (bytes received, bytes sent) of each interface, the loopback left out."""
    interfaces: dict[str, tuple[int, int]] = {}
    for line in text.splitlines()[2:]:
        name, colon, rest = line.partition(":")
        fields = rest.split()
        if not colon or len(fields) < 9:
            raise ValueError(f"unexpected line in /proc/net/dev: {line[:80]!r}")
        if name.strip() != "lo":
            interfaces[name.strip()] = (int(fields[0]), int(fields[8]))
    return interfaces


def parse_task_stat(text: str) -> TaskStat:
    """Parse a process's or thread's stat line; its name may hold spaces and parentheses."""
    head, closing, tail = text.rpartition(")")
    _, opening, name = head.partition("(")
    fields = tail.split()  # fields[0] is the state, field 3 of proc(5)
    if not opening or not closing or len(fields) < 20:
        raise ValueError(f"unexpected stat line: {text[:80]!r}")
    return TaskStat(
        name=name,
        state=fields[0],
        cpu_ticks=int(fields[11]) + int(fields[12]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
    )


def parse_schedstat(text: str) -> SchedStat:
    """Parse "run_ns wait_ns timeslices"."""
    fields = text.split()
    if len(fields) < 2:
        raise ValueError(f"unexpected schedstat line: {text[:80]!r}")
    return SchedStat(int(fields[0]), int(fields[1]))


def parse_statm(text: str, page_bytes: int) -> int:
    """Return the resident bytes."""
    fields = text.split()
    if len(fields) < 2:
        raise ValueError(f"unexpected statm line: {text[:80]!r}")
    return int(fields[1]) * page_bytes


def parse_io(text: str) -> tuple[int, int]:
    """Return (bytes read from storage, bytes written to storage) since the process started."""
    fields = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    try:
        return int(fields["read_bytes"]), int(fields["write_bytes"])
    except KeyError as error:
        raise ValueError(f"no {error} in the io file") from error
