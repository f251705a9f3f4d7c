"""Who may sample a GPU's counters here, and who may be doing so already."""

from __future__ import annotations

from pathlib import Path

from gnomon.proc import identity

CAP_SYS_ADMIN = 21  # linux/capability.h
# Programs that take the counters of a GPU for themselves, by the names the kernel shows.
_SAMPLERS = frozenset(
    ("dcgm-exporter", "dcgmi", "dcgmproftester", "gnomon-pm", "ncu", "nsys", "nv-hostengine")
)


def refused(proc: Path = identity.PROC) -> bool:
    """Return whether the driver keeps counters for administrators, and we are none."""
    return admin_only(proc) and not has_sys_admin(proc)


def admin_only(proc: Path = identity.PROC) -> bool:
    """Return the driver's RmProfilingAdminOnly; False where it does not say."""
    for line in _lines(proc / "driver/nvidia/params"):
        key, _, value = line.partition(":")
        if key.strip() == "RmProfilingAdminOnly":
            return value.strip() == "1"
    return False


def has_sys_admin(proc: Path = identity.PROC) -> bool:
    """Return whether this process's effective capabilities hold CAP_SYS_ADMIN."""
    for line in _lines(proc / "self/status"):
        key, _, value = line.partition(":")
        if key == "CapEff":
            return bool(int(value, 16) >> CAP_SYS_ADMIN & 1)
    return False


def other_samplers(own_pid: int, proc: Path = identity.PROC) -> list[str]:
    """Return "name (pid N)" of running programs known to sample counters, but for ``own_pid``."""
    found: list[str] = []
    for comm in sorted(proc.glob("[0-9]*/comm")):
        pid = int(comm.parent.name)
        name = "".join(_lines(comm)[:1])
        if name in _SAMPLERS and pid != own_pid:
            found.append(f"{name} (pid {pid})")
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
