"""A progress bar on long work, where somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TextIO


def lines_of(file: TextIO, size_bytes: int, label: str) -> Iterator[str]:
    """Yield the lines of a file, with a progress bar on stderr if that is a terminal."""
    return _with_bar(file, size_bytes, label) if sys.stderr.isatty() else iter(file)


def _with_bar(lines: Iterable[str], size_bytes: int, label: str) -> Iterator[str]:
    from rich.console import Console  # noqa: PLC0415  only where it is shown
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=size_bytes)
        for line in lines:
            yield line
            # Characters, not bytes: the files are ASCII but for a name here and there.
            progress.advance(task, len(line))
