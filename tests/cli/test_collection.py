"""Which processes a collection watches."""

import time

from gnomon import tables
from gnomon.cli.collection import PROCESS_AGE_NS, WatchedProcesses


def listed(watched, *pids, age_ns=0):
    rows = [{"ts_ns": time.time_ns() - age_ns, "duration_ns": 0, "pid": pid} for pid in pids]
    watched.append("gpu_processes", tables.batch("gpu_processes", rows))


def test_processes_on_gpus_and_those_asked_for_are_watched_once_each():
    watched = WatchedProcesses()
    watched.add(30)
    listed(watched, 20, 10, 20, None)
    listed(watched, 30)

    assert watched.pids() == [10, 20, 30]


def test_a_process_that_is_no_longer_listed_is_forgotten_and_one_asked_for_is_not():
    watched = WatchedProcesses()
    watched.add(30)
    listed(watched, 10, age_ns=PROCESS_AGE_NS + 1)
    listed(watched, 20)

    assert watched.pids() == [20, 30]


def test_other_tables_name_nobody():
    watched = WatchedProcesses()
    rows = [{"ts_ns": time.time_ns(), "duration_ns": 0, "pid": 10}]
    watched.append("process_samples", tables.batch("process_samples", rows))

    assert watched.pids() == []
