"""What /proc tells of a process that uses a GPU: names, owner, container."""

from __future__ import annotations

import pwd
from functools import cache
from pathlib import Path

from gnomon.proc import identity, procfs
from gnomon.proc.cgroups import parse_cgroup
from gnomon.proc.files import read_text

COMMAND_LINE_CHARACTERS = 4096
# Inode of the first pid namespace: PROC_PID_INIT_INO of include/linux/proc_ns.h.
FIRST_PID_NAMESPACE = "pid:[4026531836]"


def process_columns(pid: int, proc: Path = identity.PROC) -> dict[str, object]:
    """Return the columns of ``gpu_processes`` that /proc knows; empty where the pid is gone.

    Inside a container the driver may name a pid of the host, where it is another process's: a
    process is then believed only if it holds an NVIDIA device open.
    """
    base = proc / str(pid)
    try:
        stat = procfs.parse_task_stat(read_text(f"{base}/stat"))
        uid = base.stat().st_uid
    except (OSError, ValueError):
        return {}
    if not _in_first_pid_namespace(proc) and not _holds_gpu(base):
        return {}
    container, pod = parse_cgroup(_optional_text(f"{base}/cgroup"))
    return {
        "process_id": identity.process_hash(_boot_id(proc), pid, stat.start_ticks),
        "ns_pid": _ns_pid(_optional_text(f"{base}/status")),
        "name": stat.name,
        "command_line": _command_line(_optional_text(f"{base}/cmdline")),
        "user": user_name(uid),
        "container_id": container,
        "pod_uid": pod,
    }


@cache
def _boot_id(proc: Path) -> str:
    return identity.boot_id(proc)


@cache
def user_name(uid: int) -> str:
    """Return the user's name, or the number where it has none (cached: LDAP may be asked)."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _ns_pid(status: str) -> int | None:
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            numbers = line.split()[1:]
            return int(numbers[-1]) if numbers and numbers[-1].isdigit() else None
    return None


def _command_line(raw: str) -> str | None:
    text = " ".join(part for part in raw.split("\0") if part)
    return text[:COMMAND_LINE_CHARACTERS] or None


def _in_first_pid_namespace(proc: Path) -> bool:
    try:
        return str((proc / "self/ns/pid").readlink()) == FIRST_PID_NAMESPACE
    except OSError:
        return False


def _holds_gpu(base: Path) -> bool:
    try:
        links = [str(entry.readlink()) for entry in (base / "fd").iterdir()]
    except OSError:
        return False
    return any(link.startswith("/dev/nvidia") for link in links)


def _optional_text(path: str) -> str:
    try:
        return read_text(path)
    except OSError:
        return ""
