"""The CUDA and NCCL libraries that a command will probably map, found before it runs.

A guess costs nothing where it is wrong: a library that nobody maps is not called, and one that was
not guessed is found as soon as it is mapped.
"""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from gnomon.tracing.libraries import NAMES, key_of

# The first line of a script names its interpreter.
SHEBANG, SHEBANG_BYTES = b"#!", 256
LOADER_CACHE = Path("/etc/ld.so.cache")
# What the loader looks through without being told.
SYSTEM_FOLDERS = ("/lib64", "/usr/lib64", "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu")
# Below an environment's root: where wheels of CUDA 12, of CUDA 13 and of PyTorch put libraries.
PACKAGES = ("lib/python3*/site-packages", "lib64/python3*/site-packages")
IN_PACKAGES = ("nvidia/*/lib/lib*.so*", "torch/lib/lib*.so*")
# A folder that is not what it seems to be must not hold up the command.
MOST_FILES = 10_000


def likely_libraries(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    cache: Path = LOADER_CACHE,
) -> list[Path]:
    """Existing libraries, each file once.

    Those in LD_LIBRARY_PATH of the ``environment`` (None: ours), in the loader's cache, in its
    folders, and in the packages of the Python that ``command`` runs. Never raises.
    """
    environment = os.environ if environment is None else environment
    found: dict[tuple[str, int], Path] = {}
    for path in _candidates(command, environment, cache):
        try:
            found.setdefault(key_of(path.stat()), path)
        except OSError:
            continue
    return list(found.values())


def _candidates(
    command: Sequence[str], environment: Mapping[str, str], cache: Path
) -> Iterator[Path]:
    folders = [folder for folder in environment.get("LD_LIBRARY_PATH", "").split(":") if folder]
    for folder in (*folders, *SYSTEM_FOLDERS):
        yield from _named(Path(folder), "lib*.so*")
    yield from _in_cache(cache)
    root = _environment_of(command, environment)
    if root is not None:
        for packages in PACKAGES:
            for inside in IN_PACKAGES:
                yield from _named(root, f"{packages}/{inside}")


def _named(folder: Path, pattern: str) -> Iterator[Path]:
    try:
        for path in islice(folder.glob(pattern), MOST_FILES):
            if NAMES.search(os.fsencode(path)):
                yield path
    except OSError:
        return


def _in_cache(cache: Path) -> Iterator[Path]:
    """Paths in ld.so.cache: its strings stand at its end, each with a 0 behind it."""
    try:
        strings = cache.read_bytes().split(b"\0")
    except OSError:
        return
    for string in strings:
        if string.startswith(b"/") and NAMES.search(string):
            yield Path(os.fsdecode(string))


def _environment_of(command: Sequence[str], environment: Mapping[str, str]) -> Path | None:
    """The root of the Python environment that a command runs in; None where it runs no Python."""
    program = shutil.which(command[0], path=environment.get("PATH")) if command else None
    if program is None:
        return None
    interpreter = _interpreter(Path(program), environment)
    # As it is called: what a virtual environment's link leads to is another environment.
    return interpreter.parent.parent if interpreter.name.startswith("python") else None


def _interpreter(program: Path, environment: Mapping[str, str]) -> Path:
    """What runs a script by its first line; the program itself where it is none."""
    try:
        with program.open("rb") as file:
            line = file.read(SHEBANG_BYTES).partition(b"\n")[0]
    except OSError:
        return program
    words = os.fsdecode(line[len(SHEBANG) :]).split()
    if not line.startswith(SHEBANG) or not words:
        return program
    named = words[1] if Path(words[0]).name == "env" and len(words) > 1 else words[0]
    return Path(shutil.which(named, path=environment.get("PATH")) or named)
