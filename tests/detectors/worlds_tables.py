"""From what happened in a world to the tables that a recorder would have written of it."""

from __future__ import annotations

import itertools
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from gnomon import tables
from gnomon.recording.base import Meta, Unavailable
from tests.detectors import worlds_faults as faults
from tests.detectors.worlds_jobs import VRAM_BYTES
from tests.detectors.worlds_machine import CALL, MS, SECOND, STAY

if TYPE_CHECKING:
    from tests.detectors.worlds import World

TICK_NS = 100 * MS
# What a recorder that keeps the slow ones keeps.
LONG_NS = MS
H200 = {
    "name": "NVIDIA H200",
    "compute_capability": "9.0",
    "sm_count": 132,
    "max_sm_clock_mhz": 1980.0,
    "max_memory_clock_mhz": 3201.0,
    "vram_total_bytes": VRAM_BYTES,
    "pcie_generation_max": 5,
    "pcie_lanes_max": 16,
    "power_limit_watts": 700.0,
}
# What the counters read while the GPU does nothing but this, percent.
LOADS = {
    "work": {"sm_active_pct": 93.0, "tensor_active_pct": 55.0, "dram_active_pct": 45.0},
    "collective": {"sm_active_pct": 12.0, "dram_active_pct": 5.0},
    "spin": {"sm_active_pct": 1.5, "dram_active_pct": 0.3},
    "copy": {},
}
PIPES = (
    "tensor_dfma_active_pct",
    "tensor_dmma_active_pct",
    "fp64_active_pct",
    "fp32_active_pct",
    "fp16_active_pct",
)
STACKS = {
    100: (("python", "train", "train.py", 41), ("python", "forward", "model.py", 220)),
    faults.NEXT_DATA: (
        ("python", "_try_get_data", "torch/utils/data/dataloader.py", 1133),
        ("python", "_next_data", "torch/utils/data/dataloader.py", 1299),
    ),
    faults.TAKE_GIL: (
        ("kernel", "futex_wait_queue", None, None),
        ("native", "take_gil", None, None),
    ),
    faults.SLEEP: (
        ("kernel", "hrtimer_nanosleep", None, None),
        ("python", "wait_a_bit", "train.py", 77),
    ),
    faults.SWAP: (("kernel", "do_swap_page", None, None),),
}
# A directory and functions called as loaders are; and a loader whose functions are not.
NAMED_STACKS = {
    "treacherous": {
        100: (
            ("python", "__getitem__", "/srv/dataloader/torch/utils/data/train.py", 41),
            ("python", "my_next_data_loader", "/srv/dataloader/prefetch.py", 220),
        ),
    },
    "plain": {faults.NEXT_DATA: (("python", "wait_a_while", "queue.py", 171),)},
}
OFF_CPU = ("off_cpu_ns", "run_queue_ns", "io_ns", "voluntary_ns")


def batches(world: World, host: str | None = None) -> dict[str, Any]:
    """Return table -> record batch, of all hosts or of one."""
    found = {
        "host_calls": _calls(world, host),
        "off_cpu": _stays(world, host),
        "nccl_calls": _rows(world, "nccl_calls", host),
    }
    for table in ("events", "losses", "phases"):
        found[table] = tables.batch(table, world.rows.others.get(table, []))
    found["threads"] = tables.batch("threads", list(_threads(world, host)))
    found["process_samples"] = tables.batch("process_samples", list(_processes(world, host)))
    found["host_samples"] = tables.batch("host_samples", list(_host_samples(world)))
    if world.knobs.counters:
        found["gpu_counters"] = pa.concat_batches(
            [one for job in world.jobs if _is_of(job, host) for one in _counters(world, job)]
        )
    if world.knobs.stacks:
        found["stacks"] = tables.batch("stacks", list(_frames(world)))
    return {table: rows for table, rows in found.items() if rows.num_rows}


def meta(world: World, host: str | None = None) -> Meta:
    """Return what is true of the recording as a whole."""
    jobs = [job for job in world.jobs if _is_of(job, host)]
    gpus = {job.gpu.uuid: H200 | {"index": index} for index, job in enumerate(jobs)}
    lacking = [] if world.knobs.counters else ["gpu_counters"]
    if world.knobs.follow == "none":
        lacking.append("off_cpu")
    return Meta(
        tables.SCHEMA_VERSION,
        host={"name": host or world.hosts[0], "cpu_count": 32},
        gpus=gpus,
        unavailable=[Unavailable(one, "not asked for") for one in lacking],
    )


def named(world: World, host: str) -> str | None:
    """Return a host as rows have it: those of a single one may leave it out."""
    return host if world.knobs.named_host or len(world.hosts) > 1 else None


def _is_of(job: Any, host: str | None) -> bool:
    return host is None or job.host == host


def _column(name: str, values: Any, table: str) -> Any:
    wanted = tables.arrow_schema(table).field(name).type
    if isinstance(values, np.ndarray) and values.dtype == object:
        values = values.tolist()
    return pa.array(values, type=wanted)


def _batch(table: str, columns: dict[str, Any]) -> Any:
    schema = tables.arrow_schema(table)
    count = len(columns["ts_ns"])
    arrays = [
        _column(name, columns[name], table) if name in columns else pa.nulls(count, kind)
        for name, kind in zip(schema.names, schema.types, strict=True)
    ]
    return pa.record_batch(arrays, schema=schema)


def _of_threads(world: World, numbers: np.ndarray, *, gpu: bool) -> dict[str, Any]:
    """Return the columns that say whose rows these are."""
    homes = [world.home_of(one) for one in world.threads]

    def column(values: list[Any]) -> np.ndarray:
        return np.array(values, dtype=object)[numbers]

    columns = {
        "host": column([named(world, job.host) for job in homes]),
        "pid": column([one.who.pid for one in world.threads]),
        "tid": column([one.who.tid for one in world.threads]),
        "process_id": column([f"{job.host}-{job.pid}" for job in homes]),
    }
    if gpu:
        columns["gpu_uuid"] = column([job.gpu.uuid for job in homes])
        columns["rank"] = column([job.rank for job in homes])
    return columns


def _table(
    world: World, table: str, rows: list[tuple], names: tuple[str, ...], host: str | None
) -> Any:
    kept = [one for one in rows if _is_of(world.home_of(world.threads[one[2]]), host)]
    kept.sort(key=itemgetter(0))
    if not kept:
        return tables.batch(table, [])
    columns = dict(zip(names, map(list, zip(*kept, strict=True)), strict=True))
    numbers = np.array(columns.pop("thread"))
    columns |= _of_threads(world, numbers, gpu=table == "host_calls")
    columns["ts_ns"] = np.array(columns["ts_ns"]) + world.clock_error(host)
    if table == "off_cpu":
        is_all = world.knobs.stays_kept == "all"
        columns["selection"] = ["all" if is_all else "biased"] * len(kept)
        columns["weight"] = np.ones(len(kept)) if is_all else [None] * len(kept)
    unknown = ()
    if not world.knobs.classes:
        unknown = (*OFF_CPU[1:], "state", *STAY[7:12])
    if world.knobs.follow == "none":
        unknown = (*unknown, *OFF_CPU)
    if not world.knobs.stacks:
        unknown = (*unknown, "stack_hash")
    return _batch(table, {name: one for name, one in columns.items() if name not in unknown})


def _calls(world: World, host: str | None) -> Any:
    return _table(world, "host_calls", world.kept_calls(), CALL, host)


def _stays(world: World, host: str | None) -> Any:
    if world.knobs.follow == "none":
        return tables.batch("off_cpu", [])
    rows = world.rows.stays
    if world.knobs.stays_kept == "long":
        rows = [one for one in rows if one[1] >= LONG_NS]
    if world.knobs.follow == "dispatch":
        feeding = {job.thread.number for job in world.jobs}
        rows = [one for one in rows if one[2] in feeding]
    return _table(world, "off_cpu", rows, STAY, host)


def _rows(world: World, table: str, host: str | None) -> Any:
    rows = [one for one in world.rows.others.get(table, []) if host in (None, one["host"])]
    shift = world.clock_error(host)
    changed = [
        row | {"ts_ns": row["ts_ns"] + shift, "host": named(world, row["host"])} for row in rows
    ]
    return tables.batch(table, changed)


def _threads(world: World, host: str | None) -> Any:
    followed = {"all": world.threads, "none": []}.get(
        world.knobs.follow, [job.thread for job in world.jobs]
    )
    kept = "all" if world.knobs.stays_kept == "all" else "biased"
    for one in world.threads:
        job = world.home_of(one)
        if not _is_of(job, host):
            continue
        yield {
            "ts_ns": world.end_ns + world.clock_error(host),
            "duration_ns": world.end_ns - world.begin_ns,
            "host": named(world, job.host),
            "process_id": f"{job.host}-{job.pid}",
            "pid": one.who.pid,
            "tid": one.who.tid,
            "name": one.who.name,
            "process_name": one.who.name if one.who.pid != job.pid else job.thread.who.name,
            "parent_tid": job.pid if one in job.workers else None,
            "role": "observer" if one.who.name == "gnomon" else None,
            "rank": job.rank if one.who.pid == job.pid else None,
            "world_size": world.knobs.ranks if one.who.pid == job.pid else None,
            "off_cpu_selection": kept if one in followed else None,
        }


def _counters(world: World, job: Any) -> Any:
    """Yield what gpm writes every 100 ms, and nvml every second."""
    for source, length in (("gpm", TICK_NS), ("nvml", SECOND)):
        edges = np.arange(world.begin_ns, world.end_ns + 1, length)
        busy = {load: job.gpu.busy_seconds(edges, load) * SECOND / length for load in LOADS}
        engine = sum(share for load, share in busy.items() if load != "copy")
        columns: dict[str, Any] = {
            "ts_ns": edges[1:],
            "duration_ns": np.diff(edges),
            "gpu_uuid": [job.gpu.uuid] * len(engine),
            "source": [source] * len(engine),
            "sm_clock_mhz": np.full(len(engine), 1830.0),
        }
        if source == "gpm":
            columns |= {"engine_active_pct": 100 * engine}
            columns |= {"pcie_rx_bytes_per_s": 50e9 * busy["copy"], "sm_clock_source": None}
            columns |= {"pcie_tx_bytes_per_s": np.full(len(engine), 1.5e6)}
            columns["sm_clock_source"] = ["gpm"] * len(engine)
            columns |= {name: np.zeros(len(engine)) for name in PIPES}
            for name in ("sm_active_pct", "tensor_active_pct", "dram_active_pct"):
                columns[name] = sum(
                    share * LOADS[load].get(name, 0.0) for load, share in busy.items()
                )
        else:
            columns |= {"busy_pct": 100 * engine, "memory_clock_mhz": np.full(len(engine), 3201.0)}
            columns["sm_clock_source"] = ["nvml"] * len(engine)
            columns |= {"power_watts": 120 + 500 * engine}
            columns["vram_used_bytes"] = _vram(job, edges[1:])
            columns["vram_total_bytes"] = np.full(len(engine), VRAM_BYTES)
        yield _batch("gpu_counters", columns)


def _vram(job: Any, moments: np.ndarray) -> np.ndarray:
    """Return what is allocated at some moments, the base included."""
    when = np.array([ts for ts, _ in job.allocations], dtype=np.int64)
    total = np.concatenate([[0], np.cumsum([nbytes for _, nbytes in job.allocations])])
    held = total[np.searchsorted(when, moments, side="right")].astype(np.int64)
    return np.minimum(held + (20 << 30), VRAM_BYTES)


def _processes(world: World, host: str | None) -> Any:
    for job in world.jobs:
        if not _is_of(job, host):
            continue
        for second, ts_ns in enumerate(range(world.begin_ns, world.end_ns, SECOND), 1):
            yield {
                "ts_ns": ts_ns + SECOND + world.clock_error(host),
                "duration_ns": SECOND,
                "process_id": f"{job.host}-{job.pid}",
                "pid": job.pid,
                "name": "python3",
                "threads": 30,
                "rss_bytes": (8 << 30) + (job.pid * second * 7919) % (40 << 20),
            }


def _host_samples(world: World) -> Any:
    spilled = any(job.memory.get("spilled") for job in world.jobs)
    for second, ts_ns in enumerate(range(world.begin_ns, world.end_ns, SECOND), 1):
        yield {
            "ts_ns": ts_ns + SECOND,
            "duration_ns": SECOND,
            "cpu_pct": 20.0,
            "cpu_count": 32,
            "memory_used_bytes": (250 << 30) if spilled else (90 << 30),
            "memory_total_bytes": 256 << 30,
            "swap_used_bytes": second * (200 << 20) if spilled else 0,
            "disk_read_bytes_per_s": 150e6 if spilled else 2e6,
        }


def _frames(world: World) -> Any:
    stacks = STACKS | NAMED_STACKS.get(world.knobs.names, {})
    for number, frames in stacks.items():
        for depth, (kind, symbol, file, line) in enumerate(
            itertools.chain(frames, () if number == 100 else stacks[100])
        ):
            yield {
                "ts_ns": world.begin_ns + SECOND,
                "duration_ns": 0,
                "stack_hash": number,
                "depth": depth,
                "kind": kind,
                "symbol": symbol,
                "file": file,
                "line": line,
            }
