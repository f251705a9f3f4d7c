"""Where a recording keeps what: the same on disk and on object storage.

``DIR/<table>/date=YYYY-MM-DD/host=<id>/<writer>-<seq>.{arrow,parquet}`` and
``DIR/meta/<writer>.json``. Every process run is a writer of its own, so any number of them
share a directory without a lock.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

META = "meta"
OPEN_SUFFIX = ".arrow"
CLOSED_SUFFIX = ".parquet"
DAY_NS = 86_400 * 1_000_000_000

_SEGMENT_NAME = re.compile(r"(?P<writer>[A-Za-z0-9_.]+)-(?P<sequence>\d{6,})\.(?:arrow|parquet)")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """The identity of a segment: its open (.arrow) and closed (.parquet) file share it."""

    table: str
    date: str
    host_id: str
    writer: str
    sequence: int

    def path(self, root: Path, suffix: str) -> Path:
        """Return the path of the segment's file with the given suffix."""
        name = f"{self.writer}-{self.sequence:06d}{suffix}"
        # Put together as text: readers do this for every segment at every reading.
        return Path(f"{root}/{self.table}/date={self.date}/host={self.host_id}/{name}")


def new_writer_id() -> str:
    """Return an id for one process run: sorts by start time, never repeats."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}_{os.urandom(4).hex()}"


def safe_host_id(host_id: str) -> str:
    """Return a host id that is safe in a path."""
    return _UNSAFE.sub("_", host_id) or "unknown"


def utc_date(ts_ns: int) -> str:
    """Return the UTC date (YYYY-MM-DD) of a Unix time in ns."""
    day = date.fromordinal(date(1970, 1, 1).toordinal() + ts_ns // DAY_NS)
    return day.isoformat()


def day_start_ns(day: str) -> int:
    """Return the Unix ns at which a UTC date (YYYY-MM-DD) begins."""
    moment = datetime.fromisoformat(day).replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000


def meta_path(root: Path, writer: str) -> Path:
    """Return where a writer keeps what is true of its recording as a whole."""
    return root / META / f"{writer}.json"


def meta_paths(root: Path) -> list[Path]:
    """Return the meta files of all writers, oldest writer first."""
    return [root / META / name for name in _names(root / META) if name.endswith(".json")]


def segments(root: Path, table: str) -> dict[Segment, set[str]]:
    """List a table's segments with the suffixes that exist of each, oldest day first."""
    found: dict[Segment, set[str]] = {}
    for day, host_id, directory in _partitions(root / table):
        for name in _names(directory):
            match = _SEGMENT_NAME.fullmatch(name)
            if match is None:
                continue
            key = Segment(table, day, host_id, match["writer"], int(match["sequence"]))
            found.setdefault(key, set()).add(f".{name.rpartition('.')[2]}")
    return found


def _partitions(table: Path) -> Iterator[tuple[str, str, Path]]:
    for day in _names(table):
        if not day.startswith("date="):
            continue
        for host in _names(table / day):
            if host.startswith("host="):
                yield day[len("date=") :], host[len("host=") :], table / day / host


def _names(directory: Path) -> list[str]:
    """List a directory; a changing one is listed again, as readdir may miss a rename."""
    for _ in range(5):
        try:
            before = directory.stat().st_mtime_ns
            names = sorted(os.listdir(directory))  # noqa: PTH208  names are all we want
            if directory.stat().st_mtime_ns == before:
                return names
        except (FileNotFoundError, NotADirectoryError):
            return []
    return names
