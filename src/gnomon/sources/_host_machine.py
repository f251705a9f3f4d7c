"""The machine as a whole: one reading of /proc, and the row that two readings make."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gnomon.proc import procfs
from gnomon.proc.files import read_text
from gnomon.proc.procfs import CpuTimes, Stat
from gnomon.sources.base import Missing

T = TypeVar("T")
Totals = Mapping[str, tuple[int, int]]

CPU_METRICS = (
    "cpu_pct",
    "cpu_count",
    "busiest_cpu_pct",
    "iowait_pct",
    "steal_pct",
    "runnable_tasks",
    "context_switches_per_s",
)
MEMORY_METRICS = ("memory_used_bytes", "memory_total_bytes", "swap_used_bytes")
DISK_METRICS = ("disk_read_bytes_per_s", "disk_write_bytes_per_s")
NETWORK_METRICS = ("network_rx_bytes_per_s", "network_tx_bytes_per_s")


@dataclass(frozen=True, slots=True)
class MachineReading:
    """Counters since boot, and levels; None where the file could not be read."""

    stat: Stat | None
    load_1m: float | None
    memory: Mapping[str, int] | None
    pressure_us: Mapping[str, int | None]
    disks: Totals | None
    interfaces: Totals | None


class MachineReader:
    """Reads the files of one machine; ``missing`` holds what the last reading did not get."""

    def __init__(self, proc: Path, sys: Path) -> None:
        self._proc = str(proc)
        self._block = sys / "block"
        self._net = sys / "class/net"
        self._has_hardware: dict[Path, dict[str, bool]] = {}
        self.missing: dict[str, Missing] = {}

    def read(self) -> MachineReading:
        """Read everything once. A file that fails leaves its own metrics out, with the reason."""
        disks = self._get("diskstats", procfs.parse_diskstats, DISK_METRICS)
        interfaces = self._get("net/dev", procfs.parse_net_dev, NETWORK_METRICS)
        return MachineReading(
            stat=self._get("stat", procfs.parse_stat, CPU_METRICS),
            load_1m=self._get("loadavg", procfs.parse_loadavg, ("load_1m",)),
            memory=self._get("meminfo", procfs.parse_meminfo, MEMORY_METRICS),
            pressure_us={kind: self._pressure(kind) for kind in ("cpu", "memory", "io")},
            disks=None if disks is None else self._whole_disks(disks),
            interfaces=None if interfaces is None else self._physical(interfaces),
        )

    def _get(self, name: str, parse: Callable[[str], T], metrics: tuple[str, ...]) -> T | None:
        path = f"{self._proc}/{name}"
        try:
            value = parse(read_text(path))
        except OSError as error:
            self._note(metrics, f"cannot read {path}: {error.strerror}")
        except ValueError as error:
            self._note(metrics, f"cannot make sense of {path}: {error}")
        else:
            for metric in metrics:
                self.missing.pop(metric, None)
            return value
        return None

    def _pressure(self, kind: str) -> int | None:
        """Read a PSI file. A kernel booted with psi=0 has the file and refuses to open it."""
        metric = f"{kind}_pressure_pct"
        path = f"{self._proc}/pressure/{kind}"
        try:
            value = procfs.parse_pressure(read_text(path))
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.EOPNOTSUPP}:
                remedy = "boot a kernel with CONFIG_PSI with psi=1 on its command line"
                self._note((metric,), "this kernel keeps no pressure information (PSI)", remedy)
            else:
                self._note((metric,), f"cannot read {path}: {error.strerror}")
            return None
        except ValueError as error:
            self._note((metric,), f"cannot make sense of {path}: {error}")
            return None
        self.missing.pop(metric, None)
        return value

    def _note(self, metrics: tuple[str, ...], reason: str, remedy: str = "") -> None:
        for metric in metrics:
            self.missing[metric] = Missing(metric, reason, remedy)

    def _whole_disks(self, devices: Totals) -> Totals | None:
        """Keep devices with hardware behind them: not partitions, loops, RAID or LVM on top.

        The paths under an NVMe multipath device (nvme0c0n1) would count its traffic twice.
        """
        if not self._block.is_dir():
            self._note(DISK_METRICS, f"cannot tell disks from partitions: no {self._block}")
            return None
        return {
            name: totals
            for name, totals in self._with_hardware(self._block, devices).items()
            if not _is_nvme_path(name)
        }

    def _physical(self, interfaces: Totals) -> Totals:
        """Keep network cards: a bridge or bond would count their traffic again.

        A container sees virtual interfaces only, and then those are what it has.
        """
        return self._with_hardware(self._net, interfaces) or interfaces

    def _with_hardware(self, folder: Path, devices: Totals) -> Totals:
        """Keep devices of /sys with hardware behind them; a name is looked up when it appears."""
        known = self._has_hardware.get(folder, {})
        now = self._has_hardware[folder] = {
            name: known[name] if name in known else (folder / name / "device").exists()
            for name in devices
        }
        return {name: totals for name, totals in devices.items() if now[name]}


def _is_nvme_path(name: str) -> bool:
    return name.startswith("nvme") and "c" in name


def machine_row(
    before: MachineReading, after: MachineReading, duration_ns: int
) -> dict[str, object]:
    """Return a row of ``host_samples`` (without time and cost) from two readings."""
    row: dict[str, object] = {"load_1m": after.load_1m}
    if after.stat is not None:
        row |= _cpu_columns(before.stat, after.stat, duration_ns)
    if after.memory is not None:
        row |= _memory_columns(after.memory)
    for kind, total_us in after.pressure_us.items():
        earlier_us = before.pressure_us.get(kind)
        if total_us is not None and earlier_us is not None and duration_ns > 0:
            # The kernel folds a stall in when it ends, so a long one can exceed the interval.
            share = (total_us - earlier_us) * 1e3 / duration_ns * 100
            row[f"{kind}_pressure_pct"] = min(100.0, max(0.0, share))
    for names, earlier, later in (
        (DISK_METRICS, before.disks, after.disks),
        (NETWORK_METRICS, before.interfaces, after.interfaces),
    ):
        row |= dict(zip(names, _rates(earlier, later, duration_ns), strict=True))
    return row


def _cpu_columns(before: Stat | None, after: Stat, duration_ns: int) -> dict[str, object]:
    row: dict[str, object] = {
        "cpu_count": len(after.cpus),
        "runnable_tasks": after.runnable_tasks,
    }
    if before is None:
        return row
    used, iowait, steal = _shares(before.all_cpus, after.all_cpus)
    row |= {"cpu_pct": used, "iowait_pct": iowait, "steal_pct": steal}
    both = before.cpus.keys() & after.cpus.keys()
    each = [_shares(before.cpus[cpu], after.cpus[cpu])[0] for cpu in both]
    row["busiest_cpu_pct"] = max((share for share in each if share is not None), default=None)
    if before.context_switches is not None and after.context_switches is not None:
        switches = after.context_switches - before.context_switches
        row["context_switches_per_s"] = switches * 1e9 / duration_ns if duration_ns > 0 else None
    return row


def _shares(before: CpuTimes, after: CpuTimes) -> tuple[float | None, float | None, float | None]:
    """Return used, iowait and steal in percent of all ticks between two readings.

    Idle and iowait can step back by a tick (proc(5)); that is no time at all.
    """
    used, idle, iowait, steal = (
        max(0, after.used - before.used),
        max(0, after.idle - before.idle),
        max(0, after.iowait - before.iowait),
        max(0, after.steal - before.steal),
    )
    ticks = used + idle + iowait + steal
    if ticks == 0:
        return None, None, None
    return used / ticks * 100, iowait / ticks * 100, steal / ticks * 100


def _memory_columns(memory: Mapping[str, int]) -> dict[str, object]:
    row: dict[str, object] = {"memory_total_bytes": memory["MemTotal"]}
    if "MemAvailable" in memory:
        row["memory_used_bytes"] = max(0, memory["MemTotal"] - memory["MemAvailable"])
    if "SwapTotal" in memory and "SwapFree" in memory:
        row["swap_used_bytes"] = max(0, memory["SwapTotal"] - memory["SwapFree"])
    return row


def _rates(
    before: Totals | None, after: Totals | None, duration_ns: int
) -> tuple[float | None, float | None]:
    """Sum two counters over the devices that were there at both readings, per second."""
    if before is None or after is None or duration_ns <= 0:
        return None, None
    sums = [0, 0]
    for name in before.keys() & after.keys():
        for which in (0, 1):
            sums[which] += max(0, after[name][which] - before[name][which])
    return sums[0] * 1e9 / duration_ns, sums[1] * 1e9 / duration_ns
