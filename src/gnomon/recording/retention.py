"""Keeps a recording within its bounds, and takes in what dead writers left open."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from gnomon import tables
from gnomon._errors import RecordingError
from gnomon.recording import layout
from gnomon.recording._closed import ClosedSegment
from gnomon.recording._convert import convert
from gnomon.recording._open_segment import adopt


@dataclass(frozen=True, slots=True)
class Retention:
    """Bounds on closed segments; None means no bound."""

    max_bytes: int | None = None
    max_age_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What one pass did: files removed, oldest first, and bytes left in closed segments."""

    removed: tuple[Path, ...]
    recovered: tuple[Path, ...]
    closed_bytes: int


@dataclass(frozen=True, slots=True)
class _Closed:
    path: Path
    date: str
    size_bytes: int
    modified_ns: int


def apply(root: Path, retention: Retention, now_ns: int) -> Kept:
    """Convert abandoned open segments, then delete the oldest closed ones beyond the bounds.

    An open segment of a living writer is never touched. What cannot be deleted is left and
    tried again by the next pass.
    """
    recovered = tuple(recover(root))
    closed = sorted(_closed(root), key=lambda one: (one.date, one.modified_ns))
    total = sum(one.size_bytes for one in closed)
    removed = []
    for one in closed:
        too_old = (
            retention.max_age_ns is not None and one.modified_ns < now_ns - retention.max_age_ns
        )
        too_much = retention.max_bytes is not None and total > retention.max_bytes
        if not (too_old or too_much):
            continue
        with contextlib.suppress(OSError):
            one.path.unlink()
            removed.append(one.path)
            total -= one.size_bytes
            _remove_empty(one.path.parent, root)
    return Kept(tuple(removed), recovered, total)


def recover(root: Path) -> list[Path]:
    """Turn open segments whose writer is dead into Parquet; returns the new files.

    One that cannot be converted stays as it is: readers take what is whole of it.
    """
    done = []
    for table in tables.TABLES:
        for segment, suffixes in layout.segments(root, table).items():
            opened = segment.path(root, layout.OPEN_SUFFIX)
            if layout.OPEN_SUFFIX not in suffixes:
                continue
            with contextlib.suppress(OSError, RecordingError), adopt(opened) as is_ours:
                if not is_ours:
                    continue
                closed = segment.path(root, layout.CLOSED_SUFFIX)
                if layout.CLOSED_SUFFIX in suffixes and _is_whole(closed):
                    opened.unlink()  # its writer died between publishing and removing
                elif convert(root, segment):
                    done.append(closed)
    return done


def _is_whole(closed: Path) -> bool:
    try:
        ClosedSegment(closed)
    except (OSError, ValueError):
        return False
    return True


def _closed(root: Path) -> list[_Closed]:
    found = []
    for table in tables.TABLES:
        for segment, suffixes in layout.segments(root, table).items():
            if layout.CLOSED_SUFFIX not in suffixes:
                continue
            path = segment.path(root, layout.CLOSED_SUFFIX)
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                found.append(_Closed(path, segment.date, status.st_size, status.st_mtime_ns))
    return found


def _remove_empty(directory: Path, root: Path) -> None:
    """Remove the day's directories when their last segment is gone."""
    while directory != root:
        try:
            directory.rmdir()
        except OSError:
            return
        directory = directory.parent
