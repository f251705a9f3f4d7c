"""The library that the driver loads into programs, and what their environment must say for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gnomon._errors import SourceError
from gnomon.sources import _kernels_control, _nvml_session, _pm_helper, _pm_library
from gnomon.sources._native_files import find_native

NAME = "libgnomon_inject.so"
VARIABLE = "GNOMON_INJECT_LIBRARY"
CUDA_VARIABLE = "CUDA_INJECTION64_PATH"
NVTX_VARIABLE = "NVTX_INJECTION64_PATH"


def find(environment: Mapping[str, str]) -> Path:
    """Return the library's path; GNOMON_INJECT_LIBRARY comes first.

    Raises SourceError where it was not built.
    """
    return find_native(NAME, VARIABLE, environment, os.R_OK)


def environment_of(
    directory: Path,
    environment: Mapping[str, str],
    *,
    with_ranges: bool = False,
    driver_cuda: int | None = None,
) -> dict[str, str]:
    """Return the variables with which a program's kernels can be recorded.

    ``directory`` is of `_kernels_control.make_directory`, ``environment`` the program's own.
    A program that has loaded a libcupti itself (PyTorch does) uses that one, else the one that is
    named here, if any fits ``driver_cuda`` (asked of NVML by default). ``with_ranges``: NVTX loads
    that one, too, at the program's first range, before any window.

    Raises SourceError where the library was not built, or another tool is to be injected.
    """
    library = find(environment)
    if (other := environment.get(CUDA_VARIABLE)) and Path(other) != library:
        raise SourceError(
            f"{CUDA_VARIABLE} is set to {other}: another tool is to be loaded into the program",
            "unset it, or end that tool; the driver loads one only",
        )
    variables = {CUDA_VARIABLE: str(library)}
    variables[_kernels_control.DIRECTORY_VARIABLE] = str(directory)
    cupti = _cupti(environment, driver_cuda)
    if cupti is not None:
        variables[_kernels_control.LIBRARY_VARIABLE] = str(cupti)
        if with_ranges:
            variables.setdefault(NVTX_VARIABLE, environment.get(NVTX_VARIABLE, str(cupti)))
    return variables


def _cupti(environment: Mapping[str, str], driver_cuda: int | None) -> Path | None:
    """Return the best libcupti for programs that have none; None where there is none that fits."""
    try:
        helper = _pm_helper.find(environment)
        library = _pm_library.choose(
            _pm_library.candidates(environment),
            _driver_cuda() if driver_cuda is None else driver_cuda,
            lambda path: _pm_library.ask_version(helper, path),
        )
    except SourceError:
        return None
    return library.path.absolute()


def _driver_cuda() -> int:
    """Return the driver's CUDA version, 13000 for 13.0. Raises SourceError without a driver."""
    session = _nvml_session.SESSION
    session.acquire()
    try:
        with session.reading():
            return int(_nvml_session.binding().nvmlSystemGetCudaDriverVersion_v2())
    finally:
        session.release()
