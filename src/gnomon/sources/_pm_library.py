"""Finds the libcupti that fits the driver.

A libcupti newer than the driver's CUDA crashes inside the driver (seen: 13.3 on a driver for
13.0), so versions are read first and the highest that is not newer is taken. The version comes
from the library itself, asked in a process of its own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gnomon._errors import SourceError

# cuptiGetVersion of CUDA 12.6, whose headers gnomon-pm is built with, is the first with PM
# sampling; versions are spelled as cuDriverGetVersion does: 12060 is 12.6.
OLDEST_CUDA = 12060
ASK_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Library:
    """A libcupti and the CUDA version it belongs to (13000 is 13.0)."""

    path: Path
    cuda: int


def spell(cuda: int) -> str:
    """Spell a CUDA version number for people: 12060 is "12.6"."""
    return f"{cuda // 1000}.{cuda % 1000 // 10}"


def candidates(
    environment: Mapping[str, str], *, root: Path = Path("/"), path: Iterable[str] | None = None
) -> list[Path]:
    """Return every libcupti.so.N found, each once, with libnvperf_host.so beside it.

    Looked at: Python environments (ours, the active one, that of `python3` on PATH, the
    system's), CUDA_HOME and CUDA_PATH, /usr/local/cuda*, LD_LIBRARY_PATH and the linker's cache.
    """
    found: dict[Path, Path] = {}
    for directory in _directories(environment, root, sys.path if path is None else path):
        for library in sorted(directory.glob("libcupti.so.*")):
            if (directory / "libnvperf_host.so").exists():
                found.setdefault(library.resolve(), library)
    return list(found.values())


def choose(libraries: Iterable[Path], driver_cuda: int, cuda_of: Callable[[Path], int]) -> Library:
    """Return the highest version that is not newer than the driver's CUDA.

    Raises SourceError with what to install where there is none.
    """
    versions = [Library(path, cuda_of(path)) for path in libraries]
    fitting = [each for each in versions if OLDEST_CUDA <= each.cuda <= driver_cuda]
    if fitting:
        return max(fitting, key=lambda each: each.cuda)
    if driver_cuda < OLDEST_CUDA:
        raise SourceError(
            f"the driver's CUDA {spell(driver_cuda)} has no PM sampling",
            "a driver for CUDA 12.6 (560) or newer has it",
        )
    known = ", ".join(f"{each.path} ({spell(each.cuda)})" for each in versions if each.cuda)
    reason = f"no libcupti for CUDA {spell(OLDEST_CUDA)} to {spell(driver_cuda)} was found"
    raise SourceError(reason + (f"; there is {known}" if known else ""), install(driver_cuda))


def install(driver_cuda: int) -> str:
    """Return the command that brings a libcupti the driver accepts."""
    major, minor = driver_cuda // 1000, driver_cuda % 1000 // 10
    # Since CUDA 13 the package has no suffix.
    name = f"nvidia-cuda-cupti-cu{major}" if major < 13 else "nvidia-cuda-cupti"
    return f'pip install "{name}<={major}.{minor}.999"'


def ask_version(helper: Path, library: Path) -> int:
    """Return the CUDA version of a libcupti, 0 where it cannot be loaded."""
    try:
        answer = subprocess.run(
            [helper, "--cuda-version-of", library],
            capture_output=True,
            timeout=ASK_TIMEOUT_S,
            check=True,
            text=True,
        )
        return int(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def _directories(
    environment: Mapping[str, str], root: Path, python_path: Iterable[str]
) -> Iterator[Path]:
    for entry in python_path:
        yield from sorted(Path(entry or ".").glob("nvidia/*/lib"))
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if prefix := environment.get(variable):
            yield from _in_python(Path(prefix))
            yield Path(prefix) / "lib"
    if python := shutil.which("python3", path=environment.get("PATH", "")):
        yield from _in_python(Path(python).parent.parent)
    yield from _in_python(root / "usr")
    yield from _in_python(root / "usr/local")
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if prefix := environment.get(variable):
            yield from _in_toolkit(Path(prefix))
    for toolkit in sorted((root / "usr/local").glob("cuda*"), reverse=True):
        yield from _in_toolkit(toolkit)
    for entry in environment.get("LD_LIBRARY_PATH", "").split(":"):
        if entry:
            yield Path(entry)
    yield from _in_linker_cache()


def _in_python(prefix: Path) -> Iterator[Path]:
    for packages in ("site-packages", "dist-packages"):
        yield from sorted(prefix.glob(f"lib/python3*/{packages}/nvidia/*/lib"))


def _in_toolkit(prefix: Path) -> Iterator[Path]:
    yield prefix / "extras/CUPTI/lib64"
    yield prefix / "lib64"
    yield prefix / "lib"


def _in_linker_cache() -> Iterator[Path]:
    ldconfig = shutil.which("ldconfig") or "/sbin/ldconfig"
    try:
        answer = subprocess.run([ldconfig, "-p"], capture_output=True, check=True, text=True)
    except (OSError, subprocess.SubprocessError):
        return
    for match in re.finditer(r"libcupti\.so\.\S+ .*=> (\S+)", answer.stdout):
        yield Path(match[1]).parent
