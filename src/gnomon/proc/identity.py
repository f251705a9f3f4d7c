"""Who is who: names for a host and a process that stay unique across reboots and pid reuse."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
from pathlib import Path
from typing import Any

from gnomon.proc import procfs
from gnomon.proc.files import read_text

PROC = Path("/proc")
ETC = Path("/etc")


def boot_id(proc: Path = PROC) -> str:
    """Return the kernel's random id of this boot, or "" where there is none."""
    return _text(proc / "sys/kernel/random/boot_id")


def start_ticks(pid: int, proc: Path = PROC) -> int | None:
    """Return when a process started, in clock ticks since boot; None where it is gone."""
    try:
        return procfs.parse_task_stat(read_text(f"{proc}/{pid}/stat")).start_ticks
    except (OSError, ValueError):
        return None


def process_id(pid: int, proc: Path = PROC) -> str | None:
    """Return 16 hex digits that name one life of ``pid``; None where the process is gone."""
    ticks = start_ticks(pid, proc)
    return None if ticks is None else process_hash(boot_id(proc), pid, ticks)


def process_hash(boot: str, pid: int, ticks: int) -> str:
    """Return the hash behind ``process_id``, for callers that know the parts already."""
    return hashlib.blake2b(f"{boot}:{pid}:{ticks}".encode(), digest_size=8).hexdigest()


def host_identity(proc: Path = PROC, etc: Path = ETC) -> dict[str, Any]:
    """Return what is true of this host: id, hostname, boot_id, kernel, os, cpu, memory.

    Keys: ``id``, ``hostname``, ``boot_id``, ``kernel``, ``os``, ``cpu_model``, ``cpu_count``,
    ``memory_total_bytes``. What cannot be read is None. ``id`` hashes machine id and host name:
    machine-id(5) asks not to publish the id itself, and cloned images share it.
    """
    hostname = socket.gethostname()
    machine = _text(etc / "machine-id")
    return {
        "id": hashlib.blake2b(f"gnomon:{machine}:{hostname}".encode(), digest_size=8).hexdigest(),
        "hostname": hostname,
        "boot_id": boot_id(proc) or None,
        "kernel": platform.release(),
        "os": _os_name(etc) or None,
        "cpu_model": _cpu_model(proc),
        "cpu_count": os.cpu_count(),
        "memory_total_bytes": _memory_total_bytes(proc),
    }


def _os_name(etc: Path) -> str:
    for line in _text(etc / "os-release").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip().strip("\"'")
    return ""


def _cpu_model(proc: Path) -> str | None:
    try:
        with (proc / "cpuinfo").open(errors="replace") as file:
            # The first CPU is enough: with hundreds of them the whole file takes long to make.
            first_lines = [file.readline() for _ in range(40)]
    except OSError:
        first_lines = []
    for line in first_lines:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    # Arm kernels print no model name.
    return platform.machine() or None


def _memory_total_bytes(proc: Path) -> int | None:
    try:
        return procfs.parse_meminfo(read_text(f"{proc}/meminfo"))["MemTotal"]
    except (OSError, ValueError):
        return None


def _text(path: Path) -> str:
    try:
        return read_text(str(path)).strip()
    except OSError:
        return ""
