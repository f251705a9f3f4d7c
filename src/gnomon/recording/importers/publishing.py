"""A recording that appears whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gnomon._errors import RecordingError
from gnomon.recording import _files


@contextmanager
def published(directory: Path) -> Iterator[Path]:
    """Yield a directory to write in, which becomes ``directory`` when all went well.

    Otherwise nothing is left of it. Raises RecordingError where ``directory`` is in use or
    cannot be made.
    """
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise RecordingError(f"{directory} is not empty; choose a new directory")
        made = [parent for parent in directory.absolute().parents if not parent.exists()]
        _files.make_directory(directory.absolute().parent)
        hidden = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise RecordingError(f"cannot make {directory}: {error.strerror}") from error
    try:
        yield hidden
        hidden.chmod(0o755)  # mkdtemp keeps others out; a recording does not
        _files.give_to_sudo_user(hidden)
        try:
            hidden.replace(directory)  # also over an empty directory
            _files.sync_directory(directory.absolute().parent)
        except OSError as error:
            raise RecordingError(f"cannot make {directory}: {error.strerror}") from error
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        for parent in made:
            if not any(parent.iterdir()):
                parent.rmdir()
        raise
