"""Facts about this machine that decide what can be measured; for ``gnomon doctor``.

Each check reads one thing and never raises: what cannot be read is itself a fact.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gnomon import __version__

LOW_DISK_BYTES = 2 << 30
CAP_SYS_ADMIN = 21  # linux/capability.h
GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvidia0")


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: ``ok`` is False where it keeps something from being measured or stored."""

    name: str
    value: str
    ok: bool = True
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def facts(state_directory: Path, root: Path = Path("/")) -> list[Fact]:
    """Return all facts; ``root`` is where /proc, /sys and /dev are (a test has its own)."""
    found: list[Fact] = [
        Fact("gnomon", f"{__version__}, Python {platform.python_version()}"),
        Fact("kernel", f"{platform.system()} {platform.release()} {platform.machine()}"),
    ]
    for check in (_driver, _profiling_policy, _devices, _privileges, _cgroup, _pressure):
        found.extend(check(root))
    found.append(_disk(state_directory))
    return found


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _driver(root: Path) -> Iterator[Fact]:
    text = _read(root / "proc/driver/nvidia/version")
    if text is None:
        yield Fact(
            "NVIDIA driver",
            "not loaded",
            ok=False,
            remedy="install the NVIDIA driver, or run on a GPU machine; "
            "in a container, start it with --gpus all",
        )
        return
    version = re.search(r"\b\d{3,}\.\d+(?:\.\d+)?\b", text)
    yield Fact("NVIDIA driver", version[0] if version else text.splitlines()[0])


def _profiling_policy(root: Path) -> Iterator[Fact]:
    text = _read(root / "proc/driver/nvidia/params")
    found = re.search(r"^RmProfilingAdminOnly:\s*(\d+)", text or "", re.MULTILINE)
    if found is None:
        return
    if found[1] == "0":
        yield Fact("hardware profiling", "open to all users (RmProfilingAdminOnly 0)")
    elif _has_capability(root, CAP_SYS_ADMIN):
        yield Fact("hardware profiling", "administrators only, and we are one")
    else:
        yield Fact(
            "hardware profiling",
            "administrators only (RmProfilingAdminOnly 1)",
            ok=False,
            remedy="give gnomon-pm CAP_SYS_ADMIN, or set the nvidia module's option "
            "NVreg_RestrictProfilingToAdminUsers=0 and reload it",
        )


def _has_capability(root: Path, number: int) -> bool:
    found = re.search(
        r"^CapEff:\s*([0-9a-f]+)", _read(root / "proc/self/status") or "", re.MULTILINE
    )
    return found is not None and bool(int(found[1], 16) >> number & 1)


def _devices(root: Path) -> Iterator[Fact]:
    for name in GPU_DEVICES:
        path = root / name.lstrip("/")
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            yield Fact(
                name,
                "there, but not for this user",
                ok=False,
                remedy=f"let this user read and write {name} (its group, or a udev rule)",
            )


def _privileges(root: Path) -> Iterator[Fact]:
    admin = _has_capability(root, CAP_SYS_ADMIN)
    yield Fact("user", f"uid {os.geteuid()}, {'with' if admin else 'without'} CAP_SYS_ADMIN")


def _cgroup(root: Path) -> Iterator[Fact]:
    text = (_read(root / "proc/self/cgroup") or "").strip()
    unified = [line[3:] for line in text.splitlines() if line.startswith("0::")]
    version = "v2" if unified and len(text.splitlines()) == 1 else "v1 or mixed"
    if not text:
        return
    quota = _cpu_quota(root, unified[0]) if unified else None
    limit = "" if quota is None else f", at most {quota:g} CPUs"
    yield Fact("cgroup", f"{version}{limit}")


def _cpu_quota(root: Path, path: str) -> float | None:
    text = _read(root / "sys/fs/cgroup" / path.lstrip("/") / "cpu.max") or ""
    found = re.match(r"(\d+) (\d+)", text)
    return int(found[1]) / int(found[2]) if found else None


def _pressure(root: Path) -> Iterator[Fact]:
    if _read(root / "proc/pressure/cpu") is not None:
        yield Fact("pressure (PSI)", "available")
    else:
        yield Fact(
            "pressure (PSI)",
            "not available: no run-queue, memory and I/O pressure",
            ok=False,
            remedy="boot a kernel with CONFIG_PSI, and psi=1 on its command line",
        )


def _disk(directory: Path) -> Fact:
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    writable = os.access(existing, os.W_OK)
    free = shutil.disk_usage(existing).free
    value = f"{directory}: {free / 1e9:.1f} GB free"
    if not writable:
        return Fact(
            "state directory",
            f"{value}, not writable",
            ok=False,
            remedy=f"make {existing} writable, or set XDG_STATE_HOME",
        )
    remedy = "" if free >= LOW_DISK_BYTES else f"free some space on the file system of {existing}"
    return Fact("state directory", value, ok=not remedy, remedy=remedy)
