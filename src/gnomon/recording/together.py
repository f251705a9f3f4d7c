"""Several recordings looked at as one: the ranks of a job, the hosts of a cluster.

Rows are as they were recorded. Where the recordings are of different hosts, or do not say of which,
a row that names no host gets that of its recording (else its directory), so that a thread of one
is not taken for another's. Clocks are not corrected: ``analysis.clock_error`` says how far apart
they are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from gnomon import tables
from gnomon._errors import RecordingError
from gnomon.recording._sql import RelationError, SqlLimits, SqlSession
from gnomon.recording._views import Stored, session_over
from gnomon.recording.base import Meta, SkippedSegment
from gnomon.recording.reader import Recording
from gnomon.recording.times import ordered

# What a recording may call its host in ``meta``, best first.
HOST_NAMES = ("name", "hostname", "id")


class Together:
    """``Questionable`` measurements of several recordings."""

    def __init__(self, recordings: Sequence[Recording]) -> None:
        """Raises RecordingError where there is none, or one is given twice."""
        if not recordings:
            raise RecordingError("no recording is given")
        paths = [one.path.resolve() for one in recordings]
        for path in paths:
            if paths.count(path) > 1:
                raise RecordingError(f"{path} is given twice: its rows would count twice")
        self.recordings = tuple(recordings)

    def meta(self) -> Meta:
        """Return what is true of all, the GPUs of each; ``host``: the first one's, with ``hosts``.

        What is unavailable in one of them is told, even where another has it.
        """
        metas = [one.meta() for one in self.recordings]
        names = [host_name(meta) for meta in metas]
        gpus: dict[str, dict[str, Any]] = {}
        for meta in metas:
            for uuid, facts in meta.gpus.items():
                gpus.setdefault(uuid, {}).update(facts)
        return Meta(
            tables.SCHEMA_VERSION,
            host={**metas[0].host, "hosts": list(dict.fromkeys(filter(None, names)))},
            gpus=gpus,
            versions={name: text for meta in metas for name, text in meta.versions.items()},
            sources={name: state for meta in metas for name, state in meta.sources.items()},
            unavailable=tuple(dict.fromkeys(one for meta in metas for one in meta.unavailable)),
        )

    def bounds(self) -> tuple[int, int] | None:
        """Return the first begin and the last end of all; None where nothing was recorded."""
        found = [bounds for one in self.recordings if (bounds := one.bounds()) is not None]
        if not found:
            return None
        return min(begin for begin, _ in found), max(end for _, end in found)

    def read(
        self,
        table: str,
        *,
        from_ns: int | None = None,
        to_ns: int | None = None,
        columns: Sequence[str] | None = None,
        encoded: bool = False,
    ) -> Any:
        """Return the rows of all, ordered by ts_ns; see ``Measurements.read``."""
        import pyarrow as pa  # noqa: PLC0415

        wanted = list(columns) if columns is not None else list(tables.TABLES[table].column_names)
        needed = list(dict.fromkeys(["ts_ns", *wanted]))
        parts = []
        for recording, host in zip(self.recordings, self._hosts(), strict=True):
            rows = recording.read(
                table, from_ns=from_ns, to_ns=to_ns, columns=needed, encoded=encoded
            )
            parts.append(rows if host is None else _named(rows, host))
        return ordered(pa.concat_tables(parts)).select(wanted)

    def pieces(
        self,
        table: str,
        *,
        from_ns: int | None = None,
        to_ns: int | None = None,
        columns: Sequence[str],
    ) -> Sequence[Any]:
        """Return the pieces of all; see ``Measurements.pieces``."""
        return [
            piece if host is None else _named(piece, host)
            for recording, host in zip(self.recordings, self._hosts(), strict=True)
            for piece in recording.pieces(table, from_ns=from_ns, to_ns=to_ns, columns=columns)
        ]

    def cuts(self, table: str, from_ns: int, to_ns: int) -> Sequence[int]:
        """Return where files of any of them end; see ``Measurements.cuts``."""
        return sorted({at for one in self.recordings for at in one.cuts(table, from_ns, to_ns)})

    def skipped(self) -> Sequence[SkippedSegment]:
        """Return what could not be read, by recording and name."""
        return [
            SkippedSegment(str(recording.path / one.path), one.reason)
            for recording in self.recordings
            for one in recording.skipped()
        ]

    def session(self) -> SqlSession:
        """Return what can be asked in SQL, over the rows of all that are recorded now."""
        stored = [one.stored() for one in self.recordings]
        each = list(zip(stored, self._hosts(), strict=True))
        return session_over(each, SqlLimits(), self._damaged)

    def sql(self, query: str) -> Any:
        """Run one SELECT over the rows of all; see ``Recording.sql``."""
        try:
            return self._select(query)
        except RelationError:
            self._damaged()  # the next listing does without them
        try:
            return self._select(query)
        except RelationError as error:
            raise RecordingError(
                f"a file of the recordings went or broke while it was read; try again ({error})"
            ) from error

    def _select(self, query: str) -> Any:
        """Run one SELECT over rows whose pages Arrow verifies."""
        stored = [
            {table: Stored((), rows) for table, rows in one.relations().items()}
            for one in self.recordings
        ]
        with session_over(list(zip(stored, self._hosts(), strict=True)), SqlLimits()) as session:
            return session.select(query)

    def _damaged(self) -> Collection[Path]:
        return {path for one in self.recordings for path in one.damaged()}

    def _hosts(self) -> Sequence[str | None]:
        """Return what rows without a host belong to; None for each where all are of one host."""
        metas = [one.meta() for one in self.recordings]
        paths = [str(one.path.resolve()) for one in self.recordings]
        names = [host_name(meta) for meta in metas]
        ids = [meta.host.get("id") for meta in metas]
        # Names can be alike; of a host without any nothing is known, so that it stays for itself.
        known = ids if all(ids) else names
        hosts = [str(one or path) for one, path in zip(known, paths, strict=True)]
        if len(set(hosts)) == 1:
            return [None] * len(hosts)
        labels = [name or one.path.name for name, one in zip(names, self.recordings, strict=True)]
        hosts_of: dict[str, set[str]] = {}
        for label, host in zip(labels, hosts, strict=True):
            hosts_of.setdefault(label, set()).add(host)
        return [
            label if len(hosts_of[label]) == 1 else f"{label} ({host})"
            for label, host in zip(labels, hosts, strict=True)
        ]


def host_name(meta: Meta) -> str | None:
    """Return what a recording calls its host; None where it does not say."""
    return next((str(meta.host[key]) for key in HOST_NAMES if meta.host.get(key)), None)


def _named(rows: Any, host: str) -> Any:
    """Return rows in which those without a host have this one."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    if "host" not in rows.schema.names:
        return rows
    place = rows.schema.get_field_index("host")
    field = rows.schema.field(place)
    filled = pc.fill_null(rows.column(place).cast(pa.string()), host)
    return rows.set_column(place, field, filled.cast(field.type))
