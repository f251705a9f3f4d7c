"""The libraries that are open, each file once, whoever maps it."""

from collections.abc import Collection
from pathlib import Path

from gnomon._errors import TracingError
from gnomon.enums import Severity
from gnomon.tracing.libraries import (
    Key,
    Library,
    file_key,
    key_of,
    open_library,
    read_library,
    same_file,
)
from gnomon.tracing.mappings import Mapping
from gnomon.tracing.notices import Notice, Notices
from gnomon.tracing.processes import read_process


class Shelf:
    """Opens libraries, tells what is odd about them, and closes those that nobody needs."""

    def __init__(self, notices: Notices, *, few: bool) -> None:
        self._notices, self._few = notices, few
        self._libraries: dict[Key, Library | None] = {}
        # A file may have two keys: as two containers see one of their common image.
        self._names: dict[Key, Key] = {}

    def __getitem__(self, key: Key) -> Library | None:
        """The library of that key; None where it cannot be read, or has nothing to probe."""
        return self._libraries[key]

    def take(self, pid: int, mapping: Mapping) -> tuple[Key, bool]:
        """(key of a file that a process maps, whether it is new here)."""
        key = file_key(mapping)
        if key in self._names:
            return self._names[key], False
        try:
            library = open_library(pid, mapping, few=self._few)
        except TracingError as error:
            # A process that ends while it is looked at is no news.
            if read_process(pid) is not None:
                said = Notice(Severity.WARNING, error.reason, "unreadable", mapping.path)
                self._notices.tell(said._replace(remedy=error.remedy))
                return self._put(key, None)
            return key, False
        return self._put(key, library)

    def put_file(self, path: Path) -> Key | None:
        """The key of a library by its path; None where it cannot be opened."""
        try:
            file = path.open("rb")
        except OSError:
            return None
        try:
            library = read_library(file, str(path), few=self._few)
        except TracingError:
            file.close()
            return None
        return self._put(key_of(path.stat()), library)[0]

    def __contains__(self, key: Key) -> bool:
        return key in self._libraries

    def keep_only(self, used: Collection[Key]) -> None:
        """Close the others."""
        for key in self._libraries.keys() - used:
            library = self._libraries.pop(key)
            if library is not None:
                library.file.close()
            self._names = {name: to for name, to in self._names.items() if to != key}

    def _put(self, key: Key, library: Library | None) -> tuple[Key, bool]:
        if library is not None:
            for other_key, other in self._libraries.items():
                if other is not None and same_file(other, library.file):
                    library.file.close()
                    self._names[key] = other_key
                    return other_key, False
            self._tell_of(library)
        self._libraries[key] = library
        self._names[key] = key
        return key, True

    def _tell_of(self, library: Library) -> None:
        name = Path(library.name).name
        if library.stepped:
            self._notices.tell(
                Notice(
                    Severity.INFO,
                    f"{', '.join(library.stepped)} of {name}: the kernel single-steps the first "
                    "instruction, so each call costs some 20 us more on a virtual machine, a few "
                    "on a bare one; the others cost below 1 us",
                    "single_stepped",
                    library.name,
                )
            )
        if library.skipped:
            self._notices.tell(
                Notice(
                    Severity.WARNING,
                    f"{', '.join(library.skipped)} of {name} not traced here: the kernel would "
                    "single-step the first instruction, some 20 us a launch on a virtual machine",
                    "skipped",
                    library.name,
                )
            )
