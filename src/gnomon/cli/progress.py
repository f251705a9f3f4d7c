"""A progress bar on long work, where somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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


@contextmanager
def shares(label: str) -> Iterator[Callable[[str, float], None]]:
    """Yield a function that is told what comes next and the share (0 to 1) that is done.

    It draws a bar on stderr if that is a terminal, and nothing where it is not.
    """
    if not sys.stderr.isatty():
        yield lambda _name, _share: None
        return
    from rich.console import Console  # noqa: PLC0415  only where it is shown
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=1.0)

        def show(name: str, share: float) -> None:
            progress.update(task, completed=share, description=f"{label}: {name}")

        yield show
