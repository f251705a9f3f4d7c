"""Recordings of kernels: the measured one of an H200, and made-up rows.

``measured()`` has the rows of `tests/data/h200_kernels` by table, ``record`` writes rows of any
tables into a directory. A kernel of one's own is a ``kernel`` row with its name, which ``named``
turns into rows of `kernel_names`.
"""

import gzip
import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from gnomon import tables
from gnomon.hardware import sku_facts
from gnomon.recording.base import Meta
from gnomon.recording.memory import MemoryRecording
from gnomon.recording.writer import RecordingWriter

MEASURED = Path(__file__).parent.parent / "data" / "h200_kernels"
GPU_UUID = "GPU-00000000-0000-0000-0000-000000000001"
PROCESS_ID = "process-1"
HOST = "host-1"
PID = 4242
BEGIN_NS = 1_795_202_475_000_000_000
US, MS, SECOND = 1_000, 1_000_000, 1_000_000_000
KERNEL_TYPE = np.dtype(
    [
        ("start_ns", "<u8"),
        ("end_ns", "<u8"),
        ("name", "<i4"),
        ("stream", "<i4"),
        ("correlation", "<u4"),
        ("nothing", "<u4"),
    ]
)
PLACE = {
    "gpu_uuid": GPU_UUID,
    "process_id": PROCESS_ID,
    "pid": PID,
    "source": "cupti",
    "context_id": 1,
}


def name_hash(mangled_name):
    """Return a signed 64-bit hash of a name."""
    digest = hashlib.blake2b(mangled_name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def named(*mangled_names):
    """Return rows of `kernel_names`, not demangled."""
    return [
        {
            "ts_ns": BEGIN_NS,
            "duration_ns": 0,
            "name_hash": name_hash(name),
            "mangled_name": name,
        }
        for name in mangled_names
    ]


def kernel(begin_ns, duration_ns, name="gemm", **more):
    """Return a row of `kernels`; ``begin_ns`` counts from ``BEGIN_NS``."""
    row = {
        **PLACE,
        "ts_ns": BEGIN_NS + begin_ns + duration_ns,
        "duration_ns": duration_ns,
        "stream_id": 7,
        "name_hash": name_hash(name),
    }
    return row | more


def window(begin_ns, end_ns, **more):
    """Return a row of `kernel_windows`; times count from ``BEGIN_NS``."""
    row = {key: PLACE[key] for key in ("process_id", "pid", "source")}
    row |= {"ts_ns": BEGIN_NS + end_ns, "duration_ns": end_ns - begin_ns, "dropped": 0}
    return row | more


@cache
def measured():
    """Return table -> batch of the measured recording: kernels, names, one window, PM samples.

    The window is what the kernels span. The first PM sample, of the time before sampling began, is
    left out. Grids, blocks and registers were not kept.
    """
    names = dict(_numbered(line) for line in (MEASURED / "names.txt").read_text().splitlines())
    raw = gzip.decompress((MEASURED / "kernels.bin.gz").read_bytes())
    return {
        "kernels": _kernels(np.frombuffer(raw, KERNEL_TYPE), names),
        "kernel_names": tables.batch("kernel_names", named(*names.values())),
        "kernel_windows": tables.batch("kernel_windows", [_whole(np.frombuffer(raw, KERNEL_TYPE))]),
        "pm_samples": _samples(),
    }


def meta():
    """Return the meta of one H200."""
    facts = sku_facts("H200-SXM-141GB") | {"index": 0, "compute_capability": "9.0"}
    return Meta(tables.SCHEMA_VERSION, host={"id": HOST}, gpus={GPU_UUID: facts})


def record(directory, **rows_of):
    """Write rows, or batches, by table into a directory, and return it."""
    with RecordingWriter(directory, HOST) as writer:
        writer.update_meta(meta())
        for table, batch in _batches(rows_of):
            writer.append(table, batch)
    return directory


def in_memory(**rows_of):
    """Return rows, or batches, by table as measurements that never touch the disk."""
    memory = MemoryRecording()
    memory.update_meta(meta())
    for table, batch in _batches(rows_of):
        memory.append(table, batch)
    return memory


def _batches(rows_of):
    for table, rows in rows_of.items():
        yield table, rows if isinstance(rows, pa.RecordBatch) else tables.batch(table, rows)


def _numbered(line):
    number, _, name = line.partition("\t")
    return int(number), name


def _kernels(found, names):
    hashes = np.array([name_hash(names[number]) for number in range(len(names))])
    return _batch(
        "kernels",
        len(found),
        **PLACE,
        ts_ns=found["end_ns"].astype(np.int64),
        duration_ns=(found["end_ns"] - found["start_ns"]).astype(np.int64),
        stream_id=found["stream"],
        correlation_id=found["correlation"],
        name_hash=hashes[found["name"]],
    )


def _whole(found):
    begin_ns, end_ns = int(found["start_ns"].min()), int(found["end_ns"].max())
    row = window(begin_ns - BEGIN_NS, end_ns - BEGIN_NS)
    return row | {"records": len(found)}


def _samples():
    with gzip.open(MEASURED / "samples.txt.gz", "rt") as file:
        rows = [line.split() for line in file][1:]
    begin_ns, end_ns = (np.array([int(row[place]) for row in rows]) for place in (0, 1))
    sm_pct, tensor_pct, dram_pct = (
        np.array([float(row[place]) for row in rows]) for place in (2, 3, 4)
    )
    return _batch(
        "pm_samples",
        len(rows),
        gpu_uuid=GPU_UUID,
        counter_set="throughput",
        ts_ns=end_ns,
        duration_ns=end_ns - begin_ns,
        sm_active_pct=sm_pct,
        tensor_active_pct=tensor_pct,
        dram_active_pct=dram_pct,
    )


def _batch(table, many, **columns):
    """Return a batch of ``many`` rows: a column is an array, or one value for all; else null."""

    def array(field):
        value = columns.get(field.name)
        if isinstance(value, np.ndarray):
            return pa.array(value).cast(field.type)
        return pa.repeat(pa.scalar(value, field.type), many)

    schema = tables.arrow_schema(table)
    assert set(columns) <= set(schema.names)
    return pa.RecordBatch.from_arrays([array(field) for field in schema], schema=schema)
