"""Why the kernel said no, and what to do about it: from an errno to words for users."""

import errno
import os
import resource
from pathlib import Path
from typing import NamedTuple

from gnomon._errors import RefusedError

# Bits of CapEff, include/uapi/linux/capability.h.
CAPABILITY_BITS = {"CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}
KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")
# Before 5.11 maps and programs were charged to RLIMIT_MEMLOCK.
MEMLOCK_GONE = (5, 11)
# The oldest on which the programs have been shown to load and to count right.
OLDEST = (6, 1)
UPROBE_MULTI_SINCE = (6, 6)
LINK_UPROBES = "attach uprobes"
# Not in Python's errno: include/linux/errno.h, what a probe point that cannot be probed answers.
ENOTSUPP = 524
LOG_LINES = 12


class Surroundings(NamedTuple):
    """What decides whether this process may use bpf(2).

    ``capabilities`` is CapEff, ``lockdown`` the mode in force ("" where there is none),
    ``is_filtered`` whether seccomp filters this process, ``kernel`` (major, minor).
    """

    capabilities: int
    lockdown: str
    is_filtered: bool
    memlock_limit_bytes: int
    kernel: tuple[int, int]


def look_around() -> Surroundings:
    """Read what this process may do. Never raises: what cannot be read counts as absent."""
    status = _fields(_text(Path("/proc/self/status")))
    lockdown = _text(Path("/sys/kernel/security/lockdown"))
    return Surroundings(
        capabilities=int(status.get("CapEff", "0"), 16),
        lockdown=lockdown.partition("[")[2].partition("]")[0],
        is_filtered=status.get("Seccomp", "0") == "2",
        memlock_limit_bytes=resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
        kernel=kernel_version(os.uname().release),
    )


def kernel_version(release: str) -> tuple[int, int]:
    """(major, minor) of a release such as "6.18.4-cloud"; (0, 0) where it has another form."""
    major, _, rest = release.partition(".")
    digits = rest[: next((at for at, sign in enumerate(rest) if not sign.isdigit()), len(rest))]
    return (int(major), int(digits)) if major.isdigit() and digits else (0, 0)


def missing_capabilities(capabilities: int, kernel: tuple[int, int]) -> list[str]:
    """Names of the capabilities that tracing needs and ``capabilities`` (CapEff) lacks.

    A uprobe as a perf event, which is all that Linux has before 6.6, takes CAP_SYS_ADMIN since
    the fix of CVE-2025-38466 (6.1.146 and its like).
    """
    if _has(capabilities, "CAP_SYS_ADMIN"):
        return []
    if kernel < UPROBE_MULTI_SINCE:
        return ["CAP_SYS_ADMIN"]
    return [name for name in ("CAP_BPF", "CAP_PERFMON") if not _has(capabilities, name)]


def refused(operation: str, subject: str, number: int, log: str = "") -> RefusedError:
    """The error for ``operation`` on ``subject`` that failed with errno ``number``.

    ``log`` is the verifier's, of which the last lines are shown.
    """
    reason = f"cannot {operation} {subject}: {_describe(number)}"
    if not log:
        return RefusedError(reason, number, remedy(operation, number, look_around()))
    reason += "\n" + "\n".join(f"  {line}" for line in log.splitlines()[-LOG_LINES:])
    return RefusedError(reason, number, f"report this text, with Linux {os.uname().release}")


def remedy(operation: str, number: int, here: Surroundings) -> str:
    """What the user can do about errno ``number``, or "" where nothing is known to help."""
    if number in {errno.EPERM, errno.EACCES}:
        return _permission_remedy(here)
    if number == errno.ENOMEM:
        return _memory_remedy(here)
    if number in {errno.EINVAL, errno.E2BIG} and operation == LINK_UPROBES:
        needed = ".".join(map(str, UPROBE_MULTI_SINCE))
        if here.kernel < UPROBE_MULTI_SINCE:
            return f"use Linux {needed} or newer: this one cannot attach many uprobes at once"
    return _REMEDIES.get(number, "")


_REMEDIES = {
    errno.ENOSYS: "run outside of the sandbox: this kernel or sandbox (gVisor?) has no bpf(2)",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise fs.file-max: the machine is out of open files",
    errno.ESRCH: "the process has ended; name one that runs",
    errno.ENOENT: "the file or kernel object is gone; start the trace again",
    errno.EBADF: "name a regular file: a probe needs a library or program on disk",
    ENOTSUPP: "leave this function out: its first instruction cannot be probed",
}


def _permission_remedy(here: Surroundings) -> str:
    missing = missing_capabilities(here.capabilities, here.kernel)
    if missing:
        named = " and ".join(missing)
        return f"run as root, or with {named} (in a container: --cap-add for each)"
    if here.lockdown == "confidentiality":
        return "boot without lockdown=confidentiality: it forbids to read kernel memory"
    if here.kernel < MEMLOCK_GONE:
        return _memory_remedy(here)
    if here.is_filtered:
        return "allow bpf and perf_event_open in the seccomp filter of this container or service"
    return "ask who runs this machine: a security module (SELinux, AppArmor) forbids it"


def _memory_remedy(here: Surroundings) -> str:
    if here.kernel < MEMLOCK_GONE and here.memlock_limit_bytes != resource.RLIM_INFINITY:
        limit = here.memlock_limit_bytes
        return f"raise the limit of locked memory (ulimit -l unlimited): it is {limit} bytes"
    return "free memory, or ask for smaller buffers"


def _has(capabilities: int, name: str) -> bool:
    return bool(capabilities >> CAPABILITY_BITS[name] & 1)


def _describe(number: int) -> str:
    if number == ENOTSUPP:
        return "not supported (ENOTSUPP)"
    return f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"


def _fields(text: str) -> dict[str, str]:
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in lines}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
