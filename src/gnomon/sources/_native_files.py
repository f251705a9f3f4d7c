"""What was built beside the Python package, where a compiler was there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from gnomon._errors import SourceError


def find_native(name: str, variable: str, environment: Mapping[str, str], access: int) -> Path:
    """Return the absolute path of a program or library of ours that ``os.access`` grants.

    What the environment names by ``variable`` comes first; an editable install keeps these files
    apart from the sources, where only the installed file list knows them. Raises SourceError where
    it was not built.
    """
    if named := environment.get(variable):
        paths = [Path(named)]
    else:
        paths = [Path(__file__).parents[1] / "_native" / name, *_installed(name)]
    for path in paths:
        if path.is_file() and os.access(path, access):
            return path.absolute()
    raise SourceError(
        f"{name} is not part of this installation",
        "install a C++17 compiler (g++), then in a clone of gnomon: "
        "pip install --force-reinstall --no-deps .",
    )


def _installed(name: str) -> list[Path]:
    try:
        files = metadata.files("gnomon") or []
    except metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())) for file in files if file.name == name]
