"""A day of eight GPUs at 1 Hz, as `gnomon record` would have left it, made from a measured run.

The measured run is cut into seconds and repeated; every GPU runs it at its own offset, with its
own scale and fresh noise in every reading, so that nothing repeats bit by bit and compression
is no better than on real readings. Counters that read 0 stay 0. The rows go through the real
RecordingWriter with its real limits; an hour of recorded time closes the segments, as an hour
of real time would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from gnomon import tables
from gnomon._errors import RecordingError
from gnomon.recording.base import Meta
from gnomon.recording.importers import gpm_csv
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter
from gnomon.sources._gpm_metrics import METRICS
from gnomon.sources._nvml_metrics import CALLS, FIELDS

SECOND_NS = 1_000_000_000
HOUR_S = 3600
BEGIN_NS = 1_795_219_200 * SECOND_NS  # a midnight in UTC, so that a day has one date
# Rows of this many seconds are flushed at once: row groups fill up at the same rows as with
# flushes of one second, in a fraction of the time.
FLUSH_S = 64
NOISE = 0.01
GPM_COLUMNS = {metric.column for metric in METRICS} | {"sm_clock_mhz", "memory_clock_mhz"}
NVML_PERIOD_S = {field.column: 1 for field in FIELDS} | {
    column: max(1, call.period_ns // SECOND_NS) for call in CALLS for column in call.columns
}
# What the driver rounds: smallest step of a reading, in the column's unit.
STEPS = {
    "sm_clock_mhz": 15.0,
    "memory_clock_mhz": 1.0,
    "temperature_celsius": 1.0,
    "memory_temperature_celsius": 1.0,
    "busy_pct": 1.0,
    "memory_busy_pct": 1.0,
    "energy_joules": 1e-3,
    "power_instant_watts": 1e-3,
    "vram_used_bytes": 4096.0,
}
# What the measured run may lack, and what an H200 reads there.
CONSTANTS = {
    "encoder_pct": 0.0,
    "decoder_pct": 0.0,
    "jpeg_pct": 0.0,
    "ofa_pct": 0.0,
    "power_limit_watts": 700.0,
    "vram_total_bytes": 150_754_820_096.0,
    "pcie_generation": 5.0,
    "pcie_lanes": 16.0,
    "performance_state": 0.0,
    "memory_temperature_celsius": 45.0,
    "ecc_corrected": 0.0,
    "ecc_uncorrected": 0.0,
    "remapped_rows": 0.0,
    "tensor_dmma_active_pct": 0.0,
    "nvlink_rx_bytes_per_s": 0.0,
    "nvlink_tx_bytes_per_s": 0.0,
    "throttle_sw_power_cap_ns": 0.0,
    "throttle_sync_boost_ns": 0.0,
    "throttle_sw_thermal_ns": 0.0,
    "throttle_hw_thermal_ns": 0.0,
    "throttle_hw_power_brake_ns": 0.0,
}
# Never noisy: identities, bits and totals.
EXACT = frozenset({"throttle_reasons", "memory_clock_mhz", *CONSTANTS})
HOST_MEANS = {
    "cpu_pct": 12.0,
    "busiest_cpu_pct": 97.0,
    "iowait_pct": 0.2,
    "runnable_tasks": 14.0,
    "load_1m": 12.5,
    "cpu_pressure_pct": 1.1,
    "memory_used_bytes": 120e9,
    "disk_read_bytes_per_s": 3e6,
    "disk_write_bytes_per_s": 8e6,
    "network_rx_bytes_per_s": 2e5,
    "network_tx_bytes_per_s": 3e5,
    "context_switches_per_s": 9e4,
    "reading_cost_ns": 9e5,
}
PROCESS_MEANS = {
    "cpu_pct": 118.0,
    "busiest_thread_cpu_pct": 96.0,
    "busiest_thread_run_queue_pct": 0.6,
    "rss_bytes": 6e9,
    "io_read_bytes_per_s": 4e4,
    "io_write_bytes_per_s": 2e4,
}

Floats = npt.NDArray[np.float64]
Columns = dict[str, Any]


def measured_seconds(source: Path) -> dict[str, Floats]:
    """Return column -> its mean in every second of a measured run's first GPU, shape (seconds,).

    ``source`` is a recording, or a CSV that ``gnomon import gpm-csv`` reads. Energy is summed.
    Raises RecordingError where it holds no counters.
    """
    if source.is_dir():
        table = Recording.open(source).read("gpu_counters")
    else:
        with source.open() as lines:
            rows = [row for row in gpm_csv.counters(lines, "GPU") if isinstance(row, dict)]
        table = pa.Table.from_batches([tables.batch("gpu_counters", rows)])
    uuids = table.column("gpu_uuid").to_pylist()
    table = table.filter([uuid == uuids[0] for uuid in uuids]) if uuids else table
    if table.num_rows == 0:
        raise RecordingError(f"{source} holds no GPU counters")
    ts_ns = table.column("ts_ns").to_numpy()
    second = (ts_ns - ts_ns.min()) // SECOND_NS
    whole = int(second.max())  # the last second is cut short
    found = {}
    for column in (*GPM_COLUMNS, *NVML_PERIOD_S):
        if column not in table.column_names or table[column].null_count == table.num_rows:
            continue
        values = table[column].cast("float64").to_numpy()
        known = ~np.isnan(values) & (second < whole)
        total = np.bincount(second[known], values[known], minlength=whole)
        count = np.bincount(second[known], minlength=whole)
        is_sum = column == "energy_joules"
        found[column] = total if is_sum else total / np.maximum(count, 1)
    return found


@dataclass(frozen=True)
class Day:
    """What is written: the measured seconds, repeated on ``gpus`` GPUs for ``hours``."""

    seconds: Mapping[str, Floats]
    gpus: int = 8
    hours: int = 24

    def write(self, directory: Path) -> None:
        """Write the recording. Raises RecordingError where the disk refuses."""
        random = np.random.default_rng(0)
        with RecordingWriter(directory, "benchmark") as writer:
            writer.update_meta(self._meta())
            for hour in range(self.hours):
                self._write_hour(writer, hour, random)
                writer.close()  # an hour is over: every open segment becomes Parquet
                print(f"\rhour {hour + 1} of {self.hours}", end="", flush=True)
        print("\r", end="")

    def _write_hour(self, writer: RecordingWriter, hour: int, random: np.random.Generator) -> None:
        at_s = np.arange(hour * HOUR_S, (hour + 1) * HOUR_S)
        hourly = {
            "gpu_counters": (self._counters(at_s, random), 2 * self.gpus, 1),
            "gpu_processes": (self._gpu_processes(at_s[::2], random), self.gpus, 2),
            "process_samples": (self._process_samples(at_s, random), self.gpus, 1),
            "host_samples": (self._host(at_s, random), 1, 1),
            "source_health": (self._health(at_s, random), 3, 1),
            "clock_sync": (self._clocks(at_s, random), 1, 1),
        }
        for begin_s in range(0, HOUR_S, FLUSH_S):
            for table, (batch, rows, period_s) in hourly.items():
                writer.append(
                    table, batch.slice(begin_s // period_s * rows, FLUSH_S // period_s * rows)
                )
            writer.flush()

    def _meta(self) -> Meta:
        facts = {
            "name": "NVIDIA H200",
            "compute_capability": "9.0",
            "sm_count": 132,
            "vram_total_bytes": 150_754_820_096,
            "max_sm_clock_mhz": 1980.0,
            "max_memory_clock_mhz": 3201.0,
            "power_limit_watts": 700.0,
        }
        gpus = {_uuid(gpu): facts | {"index": gpu} for gpu in range(self.gpus)}
        return Meta(tables.SCHEMA_VERSION, host={"hostname": "benchmark"}, gpus=gpus)

    def _counters(self, at_s: npt.NDArray[np.int64], random: np.random.Generator) -> Any:
        """Rows of gpm, then of nvml, of all GPUs, second by second: in the order of time."""
        times = [_times(at_s, phase, gap, self.gpus, random) for phase, gap in GPM_NVML_TIMES]
        readings = self._readings(at_s, random)
        nvml = {c: v for c, v in readings.items() if c in NVML_PERIOD_S}
        gpm = {c: v for c, v in readings.items() if c in GPM_COLUMNS}
        nvml["power_watts"] = nvml["energy_joules"] / (times[1][1] / 1e9)
        for column, period_s in NVML_PERIOD_S.items():
            if period_s > 1 and column in nvml:
                nvml[column] = np.where((at_s % period_s == 0)[:, None], nvml[column], np.nan)
        costs = [
            np.rint(random.lognormal(np.log(mean_ns), 0.2, (len(at_s), self.gpus)))
            for mean_ns in (1.2e6, 3.7e6)
        ]
        gpm["reading_cost_ns"], nvml["reading_cost_ns"] = costs
        missing = np.full((len(at_s), self.gpus), np.nan)
        columns: Columns = {
            name: _both(gpm.get(name, missing), nvml.get(name, missing)) for name in gpm | nvml
        }
        columns["ts_ns"], columns["duration_ns"] = (
            _both(a, b) for a, b in zip(*times, strict=True)
        )
        uuids = [_uuid(gpu) for gpu in range(self.gpus)]
        columns["gpu_uuid"] = uuids * 2 * len(at_s)
        columns["source"] = (["gpm"] * self.gpus + ["nvml"] * self.gpus) * len(at_s)
        columns["sm_clock_source"] = ["nvml"] * len(columns["source"])
        return _batch("gpu_counters", columns)

    def _readings(
        self, at_s: npt.NDArray[np.int64], random: np.random.Generator
    ) -> dict[str, Floats]:
        """Return column -> noisy readings, shape (seconds, gpus)."""
        length = len(next(iter(self.seconds.values())))
        offsets = 17 * np.arange(self.gpus)
        where = (at_s[:, None] + offsets) % length
        scale = 1 + 0.02 * np.sin(1 + np.arange(self.gpus))
        shape = where.shape
        found = {name: np.full(shape, value) for name, value in CONSTANTS.items()}
        for name, values in self.seconds.items():
            readings = values[where]
            if name not in EXACT:
                readings = readings * scale * (1 + NOISE * random.standard_normal(shape))
            if name.endswith("_pct"):
                readings = np.clip(readings, 0.0, 100.0)
            step = STEPS.get(name)
            found[name] = np.rint(readings / step) * step if step else readings
        return found

    def _gpu_processes(self, at_s: npt.NDArray[np.int64], random: np.random.Generator) -> Any:
        ts_ns, duration_ns = _times(at_s, 0.36, 0.006, self.gpus, random, period_s=2)
        shape = (len(at_s), self.gpus)
        columns = self._process_names(len(at_s)) | {
            "ts_ns": ts_ns.ravel(),
            "duration_ns": duration_ns.ravel(),
            "gpu_uuid": [_uuid(gpu) for gpu in range(self.gpus)] * len(at_s),
            "kind": ["compute"] * (len(at_s) * self.gpus),
            "user": ["researcher"] * (len(at_s) * self.gpus),
            "command_line": ["python train.py --model llama-8b --data /data/corpus"]
            * (len(at_s) * self.gpus),
            "vram_used_bytes": np.full(shape, 90e9).ravel(),
            "sm_pct": random.integers(80, 100, shape).astype(np.float64).ravel(),
            "memory_pct": random.integers(20, 40, shape).astype(np.float64).ravel(),
            "encoder_pct": np.zeros(shape).ravel(),
            "decoder_pct": np.zeros(shape).ravel(),
        }
        return _batch("gpu_processes", columns)

    def _process_samples(self, at_s: npt.NDArray[np.int64], random: np.random.Generator) -> Any:
        ts_ns, duration_ns = _times(at_s, 0.05, 0.0, self.gpus, random)
        columns = self._process_names(len(at_s)) | {
            "ts_ns": ts_ns.ravel(),
            "duration_ns": duration_ns.ravel(),
            "threads": np.full(ts_ns.size, 143.0),
            "busiest_tid": np.tile(4000.0 + np.arange(self.gpus), len(at_s)),
            "busiest_thread_name": ["python"] * ts_ns.size,
        }
        return _batch("process_samples", columns | _noisy(PROCESS_MEANS, ts_ns.size, random))

    def _process_names(self, readings: int) -> Columns:
        ids = [f"{0x9E3779B97F4A7C15 * (gpu + 1) % 2**64:016x}" for gpu in range(self.gpus)]
        return {
            "process_id": ids * readings,
            "pid": np.tile(4000.0 + np.arange(self.gpus), readings),
            "name": ["python"] * (readings * self.gpus),
        }

    def _host(self, at_s: npt.NDArray[np.int64], random: np.random.Generator) -> Any:
        ts_ns, duration_ns = _times(at_s, 0.05, 0.0, 1, random)
        columns: Columns = {
            "ts_ns": ts_ns.ravel(),
            "duration_ns": duration_ns.ravel(),
            "cpu_count": np.full(len(at_s), 192.0),
            "memory_total_bytes": np.full(len(at_s), 2e12),
            "swap_used_bytes": np.zeros(len(at_s)),
        }
        return _batch("host_samples", columns | _noisy(HOST_MEANS, len(at_s), random))

    def _health(self, at_s: npt.NDArray[np.int64], random: np.random.Generator) -> Any:
        ts_ns, duration_ns = _times(at_s, 0.9, 0.0, 3, random)
        columns: Columns = {
            "ts_ns": ts_ns.ravel(),
            "duration_ns": duration_ns.ravel(),
            "source": ["nvml", "gpm", "host"] * len(at_s),
            "state": ["ready"] * (3 * len(at_s)),
            "reads": np.ones(3 * len(at_s)),
            "failures": np.zeros(3 * len(at_s)),
            "period_ns": np.full(3 * len(at_s), 1e9),
        }
        costs = {"longest_read_ns": 4e7, "cpu_ns": 3e7}
        return _batch("source_health", columns | _noisy(costs, 3 * len(at_s), random))

    def _clocks(self, at_s: npt.NDArray[np.int64], random: np.random.Generator) -> Any:
        ts_ns = _times(at_s, 0.9, 0.0, 1, random)[0].ravel()
        columns: Columns = {"ts_ns": ts_ns, "duration_ns": np.zeros(len(at_s))}
        for name in ("monotonic_ns", "monotonic_raw_ns", "boottime_ns"):
            columns[name] = ts_ns - BEGIN_NS + random.integers(0, 500, len(at_s))
        return _batch("clock_sync", columns | _noisy({"uncertainty_ns": 900}, len(at_s), random))


# When in a second a source reads its first GPU, and how long until the next one.
GPM_NVML_TIMES = ((0.17, 0.003), (0.31, 0.006))


def _uuid(gpu: int) -> str:
    return f"GPU-{gpu:08x}-5b1a-4c8e-9f00-00000000000{gpu:x}"


def _times(
    at_s: npt.NDArray[np.int64],
    phase_s: float,
    gap_s: float,
    count: int,
    random: np.random.Generator,
    period_s: int = 1,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return ts_ns and duration_ns of readings that jitter by 50 us; shape (seconds, count)."""
    # Rows of one reading have one time, unless the source reads one GPU after another.
    own = count if gap_s else 1
    jitter_ns = random.normal(0, 50_000, (len(at_s) + 1, own)).astype(np.int64)
    due_ns = int(phase_s * SECOND_NS) + (gap_s * SECOND_NS * np.arange(count)).astype(np.int64)
    before_ns = np.concatenate(([at_s[0] - period_s], at_s))[:, None] * SECOND_NS + due_ns
    ends_ns = BEGIN_NS + before_ns + jitter_ns
    return ends_ns[1:], np.diff(ends_ns, axis=0)


def _both(gpm: npt.NDArray[Any], nvml: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Put what both sources read in a second side by side; shape (seconds x 2 gpus,)."""
    return np.concatenate((gpm, nvml), axis=1).ravel()


def _noisy(means: Mapping[str, float], rows: int, random: np.random.Generator) -> Columns:
    noisy = {name: mean * (1 + 0.1 * random.standard_normal(rows)) for name, mean in means.items()}
    return {
        name: np.clip(values, 0, 100) if name.endswith("_pct") and means[name] <= 100 else values
        for name, values in noisy.items()
    }


def _batch(table: str, columns: Columns) -> Any:
    """Build a batch from arrays; NaN becomes null, a column that is not there is null."""
    import pyarrow as pa

    schema = tables.arrow_schema(table)
    if not set(columns) <= set(schema.names):
        raise KeyError(set(columns) - set(schema.names))
    rows = len(columns["ts_ns"])
    return pa.RecordBatch.from_arrays(
        [_array(columns.get(field.name), field.type, rows) for field in schema], schema=schema
    )


def _array(values: Any, kind: Any, rows: int) -> Any:
    import pyarrow as pa

    if values is None:
        return pa.nulls(rows, kind)
    if isinstance(values, list):
        return pa.array(values, kind)
    mask = np.isnan(values) if values.dtype == np.float64 else None
    if mask is not None and pa.types.is_integer(kind):
        values = np.where(mask, 0, np.rint(values)).astype(np.int64)
    return pa.array(values, kind, mask=mask)
