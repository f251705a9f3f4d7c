"""Who may sample a GPU's counters here, and who may be doing so already."""

from __future__ import annotations

from pathlib import Path

from gnomon.proc import identity

CAP_SYS_ADMIN = 21  # linux/capability.h
# Programs that take the counters of a GPU for themselves, by the names the kernel shows.
_SAMPLERS = frozenset(
    ("dcgm-exporter", "dcgmi", "dcgmproftester", "gnomon-pm", "ncu", "nsys", "nv-hostengine")
)
# What every user of the counters maps into its memory, beside libcupti.
_PROFILER = "libnvperf_target.so"
LONGEST_COMMAND = 80


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
    """Return "name (pid N: command)" of programs that may hold a GPU's counters.

    They are those known to, and those that have loaded NVIDIA's profiler, as far as we may look.
    ``own_pid``: our own helper, left out.
    """
    found: list[str] = []
    for comm in sorted(proc.glob("[0-9]*/comm")):
        folder, pid = comm.parent, int(comm.parent.name)
        name = "".join(_lines(comm)[:1])
        if pid == own_pid:
            continue
        if name in _SAMPLERS:
            found.append(_told(name, folder))
        elif any(_PROFILER in line for line in _lines(folder / "maps")):
            found.append(f"{_told(name, folder)}, which has loaded a profiler")
    return found


def _told(name: str, folder: Path) -> str:
    """Say who a process is; of a helper of gnomon, whom it works for."""
    whose = folder
    if name == "gnomon-pm":
        parents = [line.split()[1] for line in _lines(folder / "status") if line[:5] == "PPid:"]
        whose = folder.parent / "".join(parents[:1])
    command = "".join(_lines(whose / "cmdline")).replace("\0", " ").strip()
    helping = f" for pid {whose.name}" if whose != folder and command else ""
    colon = f": {command[:LONGEST_COMMAND]}" if command else ""
    return f"{name} (pid {folder.name}{helping}{colon})"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []
