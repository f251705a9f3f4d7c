"""Which container and pod a process runs in, from the text of /proc/PID/cgroup.

Paths differ by runtime and cgroup driver, but a container is named by 64 hexadecimal digits
and a Kubernetes pod by its uid:

- docker:      /docker/<id>                       /system.slice/docker-<id>.scope
- containerd:  /kubepods/burstable/pod<uid>/<id>  ...-pod<uid>.slice/cri-containerd-<id>.scope
               .../kubepods-pod<uid>.slice:cri-containerd:<id>
- CRI-O:       .../kubepods-pod<uid>.slice/crio-<id>.scope
- podman:      /machine.slice/libpod-<id>.scope/container
"""

from __future__ import annotations

import re

# The monitor of a container (conmon) has a cgroup of its own beside it: not in the container.
_CONTAINER = re.compile(r"(?<![0-9a-f])(conmon-)?([0-9a-f]{64})(?![0-9a-f])")
# systemd writes the uid's dashes as underscores; a static pod's uid is 32 digits without any.
_POD = re.compile(
    r"(?:/|kubepods-(?:[a-z]+-)?)pod"
    r"([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?![0-9a-f])"
)


def parse_cgroup(text: str) -> tuple[str | None, str | None]:
    """Return (container id, pod uid) of cgroup v1 or v2 text; None where there is none.

    Nested containers: the innermost one is the process's own.
    """
    container: str | None = None
    pod: str | None = None
    for line in text.splitlines():
        path = line.split(":", 2)[-1]
        ids = [digits for monitor, digits in _CONTAINER.findall(path) if not monitor]
        pods = _POD.findall(path)
        container = container or (ids[-1] if ids else None)
        pod = pod or (pods[-1].replace("_", "-") if pods else None)
    return container, pod
