"""The host source on a /proc of our own making, and on this kernel's."""

import errno
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon import configuration, tables
from gnomon._errors import SourceError
from gnomon.proc.procfs import CpuTimes, Stat
from gnomon.sources import _host_machine, _host_processes
from gnomon.sources._host_machine import MachineReader, MachineReading, machine_row
from gnomon.sources.host import HostSource, create
from tests.sources.proc_tree import GIB, ProcTree

SECOND_NS = 10**9


@pytest.fixture
def tree(tmp_path):
    return ProcTree(tmp_path)


@pytest.fixture
def clock(monkeypatch):
    """A raw clock that a test moves on; Unix time stays the real one."""
    now = [5 * SECOND_NS]
    real = time.clock_gettime_ns

    def clock_gettime_ns(which):
        return now[0] if which == time.CLOCK_MONOTONIC_RAW else real(which)

    monkeypatch.setattr(time, "clock_gettime_ns", clock_gettime_ns)
    return now


def source_of(tree, *pids):
    return HostSource(1.0, lambda: pids, proc=tree.proc, sys=tree.sys)


def rows_of(batches, table):
    return [row for batch in batches if batch.table == table for row in batch.rows]


def read(source, clock, seconds=2):
    clock[0] += seconds * SECOND_NS
    return source.read()


def test_a_reading_is_the_difference_of_two_moments(tree, clock):
    source = source_of(tree)
    source.open()
    tree.cpus((90, 110, 0, 0), (10, 160, 20, 10), context_switches=5000, runnable=7)
    tree.pressure("cpu", 500_000)
    tree.disks({"sda": (4096, 8192)})
    tree.network({"lo": (10**9, 10**9), "eth0": (2000, 4000)})

    (row,) = rows_of(read(source, clock), "host_samples")

    assert row["cpu_pct"] == pytest.approx(100 / 200 * 100)
    assert row["busiest_cpu_pct"] == pytest.approx(90.0)
    assert row["iowait_pct"] == pytest.approx(10.0)
    assert row["steal_pct"] == pytest.approx(5.0)
    assert row["context_switches_per_s"] == 2500
    assert (row["cpu_count"], row["runnable_tasks"], row["load_1m"]) == (2, 7, 1.5)
    assert row["cpu_pressure_pct"] == pytest.approx(25.0)
    assert row["memory_pressure_pct"] == 0
    assert row["memory_used_bytes"] == 48 * GIB
    assert row["swap_used_bytes"] == 1 * GIB
    assert (row["disk_read_bytes_per_s"], row["disk_write_bytes_per_s"]) == (2048, 4096)
    assert (row["network_rx_bytes_per_s"], row["network_tx_bytes_per_s"]) == (1000, 2000)
    assert row["duration_ns"] == 2 * SECOND_NS
    assert set(row) <= set(tables.TABLES["host_samples"].column_names)


def test_an_interval_begins_where_the_last_one_ended(tree, clock):
    source = source_of(tree)
    source.open()
    tree.cpus((100, 100, 0, 0), (0, 200, 0, 0))
    read(source, clock)
    tree.cpus((100, 200, 0, 0), (0, 300, 0, 0))

    (row,) = rows_of(read(source, clock), "host_samples")

    assert row["cpu_pct"] == 0


def test_partitions_stacked_devices_and_bridges_do_not_count_twice(tree, clock):
    names = ("sda", "sda1", "md0", "loop0", "nvme0n1", "nvme0c0n1")
    tree.disks(dict.fromkeys(names, (0, 0)), whole=("sda", "nvme0n1", "nvme0c0n1"))
    (tree.sys / "block/md0").mkdir()
    tree.network(dict.fromkeys(("eth0", "docker0", "veth1"), (0, 0)))
    source = source_of(tree)
    source.open()
    tree.disks(dict.fromkeys(names, (512, 0)))
    tree.network(dict.fromkeys(("eth0", "docker0", "veth1"), (100, 0)))

    (row,) = rows_of(read(source, clock, seconds=1), "host_samples")

    assert row["disk_read_bytes_per_s"] == 2 * 512
    assert row["network_rx_bytes_per_s"] == 100


def test_a_container_counts_the_virtual_interfaces_it_has(tree, clock):
    tree.network({"veth0": (0, 0)})
    source = source_of(tree)
    source.open()
    tree.network({"veth0": (100, 0)})

    (row,) = rows_of(read(source, clock, seconds=1), "host_samples")

    assert row["network_rx_bytes_per_s"] == 100


def test_a_disk_that_comes_or_goes_makes_no_spike(tree, clock):
    source = source_of(tree)
    source.open()
    tree.disks({"sdb": (10**12, 10**12)}, whole=("sdb",))

    (row,) = rows_of(read(source, clock), "host_samples")

    assert row["disk_read_bytes_per_s"] == 0


def test_what_is_behind_a_device_is_looked_up_when_it_appears(tree, monkeypatch):
    reader = MachineReader(tree.proc, tree.sys)
    asked = []
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: asked.append(path.parts[-2]) or exists(path))
    reader.read()
    reader.read()
    tree.disks({"sda": (0, 0), "sdb": (0, 512)}, whole=("sdb",))

    assert reader.read().disks == {"sda": (0, 0), "sdb": (0, 512)}
    assert sorted(asked) == ["eth0", "sda", "sdb"]


def test_without_psi_pressure_is_missing_with_its_reason(tree, clock):
    for kind in ("cpu", "memory", "io"):
        (tree.proc / "pressure" / kind).unlink()
    source = source_of(tree)
    source.open()

    (row,) = rows_of(read(source, clock), "host_samples")

    assert row.get("cpu_pressure_pct") is None
    missing = {one.metric: one for one in source.describe().missing}
    assert set(missing) == {"cpu_pressure_pct", "memory_pressure_pct", "io_pressure_pct"}
    assert "PSI" in missing["io_pressure_pct"].reason
    assert "psi=1" in missing["io_pressure_pct"].remedy
    assert source.check().ready


def test_psi_that_is_switched_off_at_boot_is_told_apart_from_an_error(tree, monkeypatch):
    real = _host_machine.read_text

    def refuse(path):
        if "/pressure/" in path:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        return real(path)

    monkeypatch.setattr(_host_machine, "read_text", refuse)
    reader = MachineReader(tree.proc, tree.sys)

    assert reader.read().pressure_us == {"cpu": None, "memory": None, "io": None}
    assert "PSI" in reader.missing["cpu_pressure_pct"].reason


@pytest.mark.parametrize(
    ("name", "lost"),
    [("meminfo", "memory_used_bytes"), ("net/dev", "network_rx_bytes_per_s"), ("stat", "cpu_pct")],
)
def test_one_broken_file_costs_its_own_columns_only(tree, clock, name, lost):
    source = source_of(tree)
    source.open()
    good = (tree.proc / name).read_text()
    tree.write(name, "not what proc(5) says\nno\nno\n")

    (row,) = rows_of(read(source, clock), "host_samples")

    assert row.get(lost) is None
    assert row["load_1m"] == 1.5
    assert lost in {one.metric for one in source.describe().missing}
    tree.write(name, good)
    read(source, clock)
    assert source.describe().missing == ()


def test_without_proc_the_source_is_not_ready_and_a_reading_fails(tmp_path):
    source = HostSource(proc=tmp_path / "none", sys=tmp_path)

    assert not source.check().ready
    assert "none/stat" in source.check().reason
    source.open()
    with pytest.raises(SourceError, match="none/stat"):
        source.read()


def test_a_reading_before_open_is_an_error():
    with pytest.raises(SourceError, match="before open"):
        HostSource().read()


def test_the_busiest_thread_is_named_with_its_wait_for_a_cpu(tree, clock):
    before = {10: ("main", 5 * SECOND_NS, 0), 11: ("dispatch", 0, 0), 12: ("io", 100, 100)}
    after = {10: ("main", 5 * SECOND_NS, 0), 11: ("dispatch", 15 * 10**8, 3 * 10**8)}
    tree.process(10, before, cpu_ticks=500, io=(0, 0))
    source = source_of(tree, 10)
    source.open()
    tree.process(10, after | {13: ("new", 10**8, 0)}, cpu_ticks=660, io=(4000, 8000))

    (row,) = rows_of(read(source, clock), "process_samples")

    assert (row["pid"], row["name"], row["threads"]) == (10, "serve r", 3)
    assert row["cpu_pct"] == pytest.approx(1.6 / 2 * 100)
    assert (row["busiest_tid"], row["busiest_thread_name"]) == (11, "dispatch")
    assert row["busiest_thread_cpu_pct"] == pytest.approx(75)
    assert row["busiest_thread_run_queue_pct"] == pytest.approx(15)
    assert row["rss_bytes"] == 100 * os.sysconf("SC_PAGE_SIZE")
    assert (row["io_read_bytes_per_s"], row["io_write_bytes_per_s"]) == (2000, 4000)
    assert row["duration_ns"] == 2 * SECOND_NS
    assert set(row) <= set(tables.TABLES["process_samples"].column_names)


def test_a_process_first_seen_has_levels_and_no_rates(tree, clock):
    source = source_of(tree, 10)
    source.open()
    tree.process(10, {10: ("main", 10**12, 0)}, cpu_ticks=10**6)

    (row,) = rows_of(read(source, clock), "process_samples")

    assert row["rss_bytes"] > 0
    assert "cpu_pct" not in row
    assert "busiest_tid" not in row


def test_a_reused_pid_is_another_process_without_a_past(tree, clock):
    tree.process(10, {10: ("main", 10**9, 0)}, cpu_ticks=100, start=555)
    source = source_of(tree, 10)
    source.open()
    (first,) = rows_of(read(source, clock), "process_samples")
    tree.process(10, {10: ("main", 10**6, 0)}, cpu_ticks=1, start=777)

    (second,) = rows_of(read(source, clock), "process_samples")

    assert first["process_id"] != second["process_id"]
    assert "cpu_pct" not in second


def test_a_kernel_without_schedstat_still_names_the_busiest_thread(tree, clock):
    tree.write("self/schedstat", "0 0 0\n")
    tree.process(10, {10: ("main", 0, 0)}, cpu_ticks=100)
    source = source_of(tree, 10)
    source.open()
    tree.process(10, {10: ("main", 0, 0)}, cpu_ticks=200)

    (row,) = rows_of(read(source, clock), "process_samples")

    assert row["busiest_thread_cpu_pct"] == pytest.approx(50)
    assert "busiest_thread_run_queue_pct" not in row
    (missing,) = source.check().missing
    assert (missing.metric, "CONFIG_SCHEDSTATS" in missing.reason) == (
        "busiest_thread_run_queue_pct",
        True,
    )


def test_ourselves_zombies_and_the_dead_are_left_out(tree, clock):
    tree.process(os.getpid(), {os.getpid(): ("me", 1, 1)})
    tree.process(20, {20: ("gone", 1, 1)}, state="Z")
    source = source_of(tree, os.getpid(), 20, 404)
    source.open()

    assert rows_of(read(source, clock), "process_samples") == []


@pytest.mark.parametrize(
    "lost", ["10/stat", "10/statm", "10/io", "10/task/11/schedstat", "11/comm"]
)
def test_a_process_that_vanishes_while_it_is_read_does_no_harm(tree, clock, monkeypatch, lost):
    threads = {10: ("main", 1, 1), 11: ("dispatch", 5, 5)}
    tree.process(10, threads)
    source = source_of(tree, 10)
    source.open()
    real = _host_processes.read_text

    def vanish(path):
        if path.endswith(lost):
            raise ProcessLookupError(errno.ESRCH, "No such process")
        return real(path)

    monkeypatch.setattr(_host_processes, "read_text", vanish)
    rows = rows_of(read(source, clock), "process_samples")

    assert len(rows) == (0 if lost == "10/stat" else 1)


def test_io_of_another_users_process_is_missing_by_name(tree, clock, monkeypatch):
    tree.process(10, {10: ("main", 1, 1)})
    real = _host_processes.read_text

    def refuse(path):
        if path.endswith("/io"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    monkeypatch.setattr(_host_processes, "read_text", refuse)
    source = source_of(tree, 10)
    source.open()
    (row,) = rows_of(read(source, clock), "process_samples")

    assert "io_read_bytes_per_s" not in row
    assert row["cpu_pct"] == 0
    missing = {one.metric: one for one in source.describe().missing}
    assert missing.keys() == {"io_read_bytes_per_s", "io_write_bytes_per_s"}
    assert "root" in missing["io_read_bytes_per_s"].remedy


ticks = st.builds(CpuTimes, *(st.integers(0, 10**6) for _ in range(4)))
stats = st.builds(
    Stat, ticks, st.dictionaries(st.sampled_from(["cpu0", "cpu1"]), ticks), st.none(), st.none()
)


@given(before=stats, after=stats, duration_ns=st.integers(1, 10**12))
def test_shares_stay_within_0_and_100_whatever_the_counters_do(before, after, duration_ns):
    def reading(stat):
        return MachineReading(stat, None, None, {}, None, None)

    row = machine_row(reading(before), reading(after), duration_ns)

    for name, value in row.items():
        if name.endswith("_pct") and value is not None:
            assert 0 <= value <= 100


def test_create_takes_period_and_pids_from_the_settings():
    settings = configuration.Settings(host_period_s=0.5, watched_pids=lambda: (7,))
    source = create(settings)

    assert source.period_ns == 500_000_000
    assert list(source.watched_pids()) == [7]


# From here on this machine's own kernel.

BUSY = """
import threading
def busy():
    open("/proc/thread-self/comm", "w").write("dispatch")
    print(threading.get_native_id(), flush=True)
    while True: sum(range(1000))
for _ in range(20): threading.Thread(target=threading.Event().wait, daemon=True).start()
threading.Thread(target=busy).start()
"""


@contextmanager
def busy_process(*, cpus=None):
    """A process of 22 threads, of which one loops; gives (process, id of that thread)."""
    child = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True)
    try:
        if cpus is not None:
            os.sched_setaffinity(child.pid, cpus)
        tid = int(child.stdout.readline())
        if cpus is not None:
            os.sched_setaffinity(tid, cpus)
        yield child, tid
    finally:
        child.kill()
        child.communicate()


def test_a_busy_thread_of_a_real_process_is_found():
    with busy_process() as (child, tid):
        source = HostSource(1.0, lambda: [child.pid])
        source.open()
        time.sleep(0.5)
        batches = source.read()

    (row,) = rows_of(batches, "process_samples")
    (host,) = rows_of(batches, "host_samples")
    assert (row["busiest_tid"], row["busiest_thread_name"]) == (tid, "dispatch")
    assert row["busiest_thread_cpu_pct"] > 5
    assert row["threads"] == 22
    assert host["cpu_count"] == os.sysconf("SC_NPROCESSORS_ONLN")
    assert host["cpu_pct"] > 0
    assert host["reading_cost_ns"] > 0


def test_two_loops_on_one_cpu_wait_for_each_other():
    one = {min(os.sched_getaffinity(0))}
    with busy_process(cpus=one) as (first, _), busy_process(cpus=one) as (second, _):
        source = HostSource(1.0, lambda: [first.pid, second.pid])
        source.open()
        time.sleep(1.0)
        rows = rows_of(source.read(), "process_samples")

    # They share one CPU, so together they run at most 100 % of it and each waits for the other.
    assert sum(row["busiest_thread_cpu_pct"] for row in rows) < 110
    for row in rows:
        assert row["busiest_thread_run_queue_pct"] > 25
        assert row["busiest_thread_run_queue_pct"] + row["busiest_thread_cpu_pct"] > 80


def test_a_process_that_ends_between_two_readings_drops_out():
    with busy_process() as (child, _):
        source = HostSource(1.0, lambda: [child.pid])
        source.open()
        child.kill()
        child.wait()

        assert rows_of(source.read(), "process_samples") == []


def test_rows_fit_their_tables():
    with busy_process() as (child, _):
        source = HostSource(1.0, lambda: [child.pid])
        source.open()
        time.sleep(0.05)
        batches = source.read()

    for batch in batches:
        assert tables.batch(batch.table, batch.rows).num_rows == len(batch.rows)


def test_this_machine_is_ready_and_described():
    source = HostSource()

    assert source.check().ready
    assert source.describe().host["cpu_count"] == os.cpu_count()
    source.open()
    source.close()
