"""Per-kernel speed of light of a recording, GPU by GPU: from tables to ``kernel_sol``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnomon.analysis.collecting import Bools, encode, filled, known_values
from gnomon.analysis.intervals import Intervals, Ints, intervals
from gnomon.analysis.kernel_names import demangled, short_name
from gnomon.analysis.kernel_overlap import Operations, busy
from gnomon.analysis.kernel_recorded import between_records, recorded_throughout
from gnomon.analysis.kernel_shapes import BLOCK, GRID
from gnomon.analysis.kernel_sol import ADDITIVE, PIPE_COLUMNS, Ran, SampleSet, kernel_sol
from gnomon.analysis.kernel_sol_types import GpuKernelSol, KernelKey
from gnomon.analysis.kernel_types import Dimensions, Shape
from gnomon.enums import CopyDirection, CounterSet
from gnomon.hardware import profile
from gnomon.recording.base import Measurements

SHAPE = (*GRID, *BLOCK)
KERNEL_COLUMNS = ("ts_ns", "duration_ns", "gpu_uuid", "process_id", "source", "name_hash", *SHAPE)
COPY_COLUMNS = (
    "ts_ns",
    "duration_ns",
    "gpu_uuid",
    "process_id",
    "source",
    "operation",
    "direction",
    "peer_gpu_uuid",
)
WINDOW_COLUMNS = ("ts_ns", "duration_ns", "process_id")
COUNTERS = ("sm_clock_mhz", *dict.fromkeys((*ADDITIVE, *PIPE_COLUMNS)))
SAMPLE_COLUMNS = ("ts_ns", "duration_ns", "gpu_uuid", "counter_set", *COUNTERS)
# Times of a replay are not those of the run.
NOT_THE_RUN = "ncu"
# What is read of long recordings: evenly spread windows with about this many samples in them.
MOST_SAMPLES = 2_000_000
# One odd constant per column of a shape: their products are summed to one number a shape.
MIXERS = np.random.default_rng(23).integers(0, 2**64, 1 + len(SHAPE), dtype=np.uint64) | np.uint64(
    1
)


def kernels_sol(
    measurements: Measurements, *, from_ns: int | None = None, to_ns: int | None = None
) -> list[GpuKernelSol]:
    """Return the speed of light of the kernels of each GPU with records, ordered by uuid.

    A GPU that no counters were sampled of comes with the reason in ``unavailable``; without any
    samples there is none.
    """
    meta = measurements.meta()
    windows = _read(measurements, "kernel_windows", WINDOW_COLUMNS, from_ns, None)
    samples = _samples(measurements, windows, from_ns, to_ns)
    if not samples.num_rows:
        return []
    tables = {
        name: _read(measurements, name, columns, from_ns, to_ns)
        for name, columns in (("kernels", KERNEL_COLUMNS), ("copies", COPY_COLUMNS))
    }
    names = _names(measurements)
    uuids = sorted(
        {uuid for table in tables.values() for uuid in encode(table, "gpu_uuid")[1] if uuid}
    )
    answers = []
    for uuid in uuids:
        kernels, copies = (_of(table, "gpu_uuid", uuid) for table in tables.values())
        ran = _ran(kernels, copies, names)
        open_windows = _windows(windows, kernels, copies)
        sets = list(_sets(_of(samples, "gpu_uuid", uuid), open_windows))
        answers.append(kernel_sol(uuid, sets, ran, profile(meta.gpus.get(uuid, {}))))
    return answers


def _read(
    measurements: Measurements,
    table: str,
    columns: Sequence[str],
    from_ns: int | None,
    to_ns: int | None,
) -> Any:
    return measurements.read(table, from_ns=from_ns, to_ns=to_ns, columns=columns, encoded=True)


def _of(table: Any, column: str, value: str | None) -> Any:
    """Return the rows of a table that have a word in a column."""
    codes, words = encode(table, column)
    where = np.flatnonzero(codes == words.index(value)) if value in words else np.zeros(0, np.int64)
    return table if len(where) == table.num_rows else table.take(where)


def _names(measurements: Measurements) -> dict[int, str]:
    table = measurements.read("kernel_names", columns=["name_hash", "name", "mangled_name"])
    return {
        number: short_name(name or demangled(mangled or _unnamed(number)))
        for number, name, mangled in zip(*(one.to_pylist() for one in table.columns), strict=True)
        if number is not None
    }


def _unnamed(name_hash: int) -> str:
    return f"kernel {name_hash & (1 << 64) - 1:016x}"


@dataclass(frozen=True, slots=True)
class _Part:
    """Operations of one table: their times, group, and what the groups are."""

    spans: Intervals
    group: Ints
    keys: list[KernelKey]
    on_sms: list[bool]


def _ran(kernels: Any, copies: Any, names: Mapping[int, str]) -> Ran:
    """Put kernels and copies into groups; where CUPTI recorded, other recorders saw the same."""
    parts = []
    for part in (kernels, copies):
        words = [word for word in encode(part, "source")[1] if word != NOT_THE_RUN]
        if "cupti" in words:
            words = ["cupti"]
        for word in words:
            rows = _of(part, "source", word)
            if rows.num_rows:
                parts.append(_kernels(rows, names) if part is kernels else _copies(rows))
    first = np.cumsum([0, *(len(one.keys) for one in parts)])
    if not parts:
        nothing = np.zeros(0, dtype=np.int64)
        return Ran(Operations(Intervals(nothing, nothing), nothing, 0), (), ())
    return Ran(
        Operations(
            Intervals(
                np.concatenate([one.spans.start_ns for one in parts]),
                np.concatenate([one.spans.end_ns for one in parts]),
            ),
            np.concatenate([one.group + at for one, at in zip(parts, first, strict=False)]),
            int(first[-1]),
        ),
        tuple(key for one in parts for key in one.keys),
        tuple(on for one in parts for on in one.on_sms),
    )


def _spans(rows: Any) -> Intervals:
    end_ns = filled(rows.column("ts_ns"))
    return Intervals(end_ns - filled(rows.column("duration_ns")), end_ns)


def _kernels(rows: Any, names: Mapping[int, str]) -> _Part:
    """Group kernels by name and shape, in the order of name hash and shape."""
    columns = [known_values(rows.column(name)) for name in ("name_hash", *SHAPE)]
    mixed = np.zeros(rows.num_rows, dtype=np.uint64)
    for (values, known), mixer in zip(columns, MIXERS, strict=True):
        mixed += np.where(known, values, -1).astype(np.int64).view(np.uint64) * mixer
        mixed ^= mixed >> np.uint64(29)
    _, first, group = np.unique(mixed, return_index=True, return_inverse=True)
    keys = []
    for at in first.tolist():
        number = int(columns[0][0][at]) if columns[0][1][at] else 0
        shape = Shape(number, _dimensions(columns[1:4], at), _dimensions(columns[4:], at))
        keys.append(KernelKey(names.get(number, _unnamed(number)), shape))
    return _Part(_spans(rows), group, keys, [True] * len(keys))


def _dimensions(columns: Sequence[tuple[Ints, Bools]], at: int) -> Dimensions | None:
    if not all(known[at] for _, known in columns):
        return None
    x, y, z = (int(values[at]) for values, _ in columns)
    return x, y, z


def _copies(rows: Any) -> _Part:
    """Group copies by direction, those to another GPU apart, and fills."""
    (operation, operations), (direction, directions), (peer, peers) = (
        encode(rows, name) for name in ("operation", "direction", "peer_gpu_uuid")
    )
    to_peer = peer != len(peers) - 1  # the last code stands for null
    mixed = (operation.astype(np.int64) * len(directions) + direction) * 2 + to_peer
    _, first, group = np.unique(mixed, return_index=True, return_inverse=True)
    keys, on_sms = [], []
    for at in first.tolist():
        way, is_fill = directions[direction[at]], operations[operation[at]] == "memset"
        name = "fill" if is_fill else f"copy {way or 'of unknown direction'}"
        keys.append(KernelKey(f"{name}, another GPU" if to_peer[at] else name))
        inside = is_fill or way == CopyDirection.DEVICE_TO_DEVICE
        on_sms.append(inside and not to_peer[at])
    return _Part(_spans(rows), group, keys, on_sms)


def _windows(windows: Any, *operations: Any) -> list[Intervals]:
    """Return when each process with operations was recorded; all along where no window is told."""
    found = []
    for process in _processes(operations):
        own = [_of(table, "process_id", process) for table in operations]
        ran = [_spans(one) for one in own if one.num_rows]
        start_ns = np.concatenate([one.start_ns for one in ran])
        end_ns = np.concatenate([one.end_ns for one in ran])
        told = _of(windows, "process_id", process)
        whole = Intervals(start_ns.min(keepdims=True), end_ns.max(keepdims=True))
        found.append(between_records(_spans(told) if told.num_rows else whole, start_ns, end_ns))
    return found


def _processes(operations: Sequence[Any]) -> list[str | None]:
    """Return the processes with rows, in the order of their names; None for an unknown one."""
    found: set[str | None] = set()
    for table in operations:
        codes, words = encode(table, "process_id")
        found.update(words[code] for code in np.flatnonzero(np.bincount(codes)).tolist())
    return sorted(found, key=lambda name: name or "")


def _samples(
    measurements: Measurements, windows: Any, from_ns: int | None, to_ns: int | None
) -> Any:
    """Read the samples of a range; of evenly spread windows where there are too many."""
    import pyarrow as pa  # noqa: PLC0415

    def within(begin_ns: int | None, end_ns: int | None) -> Any:
        return _read(measurements, "pm_samples", SAMPLE_COLUMNS, begin_ns, end_ns)

    whole = busy(_spans(windows)) if windows.num_rows else None
    if whole is None or len(whole) <= 1:
        return within(from_ns, to_ns)
    begin_ns = whole.start_ns if from_ns is None else np.maximum(whole.start_ns, from_ns)
    end_ns = whole.end_ns if to_ns is None else np.minimum(whole.end_ns, to_ns)
    rows = within(int(begin_ns[0]), int(end_ns[0])).num_rows
    held = MOST_SAMPLES // max(rows, 1)
    if held >= len(whole):
        return within(from_ns, to_ns)
    chosen = np.unique(np.linspace(0, len(whole) - 1, max(held, 1)).astype(np.int64))
    return pa.concat_tables(within(int(begin_ns[at]), int(end_ns[at])) for at in chosen)


def _sets(rows: Any, windows: Sequence[Intervals]) -> Iterator[SampleSet]:
    """Yield the samples of each set of counters that lie in windows, throughput first."""
    for word in sorted(set(encode(rows, "counter_set")[1]), key=_turn):
        part = _of(rows, "counter_set", word)
        if not part.num_rows:
            continue
        spans = intervals(filled(part.column("ts_ns")), filled(part.column("duration_ns")))
        kept = recorded_throughout(spans, windows)
        columns = {}
        for name in COUNTERS:
            values, known = known_values(part.column(name))
            if known.any():
                columns[name] = np.where(known, values, np.nan).astype(np.float64)[kept]
        yield SampleSet(word or "", Intervals(spans.start_ns[kept], spans.end_ns[kept]), columns)


def _turn(counter_set: str | None) -> tuple[int, str]:
    known = [str(one) for one in CounterSet]
    return known.index(counter_set) if counter_set in known else len(known), counter_set or ""
