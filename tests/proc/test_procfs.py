"""Parsers of /proc: captured text, this kernel's text, and garbage."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gnomon.proc import procfs

STAT = """\
cpu  2802 5 1529 204994 483 1 62 10 7 0
cpu0 520 0 473 103881 11 0 27 2 0 0
cpu1 2281 5 1055 101113 472 1 34 7 7 0
intr 146449 0 0 0
ctxt 291979
btime 1795243726
processes 6084
procs_running 3
procs_blocked 0
"""

PARSERS = [
    procfs.parse_stat,
    procfs.parse_loadavg,
    procfs.parse_pressure,
    procfs.parse_meminfo,
    procfs.parse_diskstats,
    procfs.parse_net_dev,
    procfs.parse_task_stat,
    procfs.parse_schedstat,
    lambda text: procfs.parse_statm(text, 4096),
    procfs.parse_io,
]


def test_stat_counts_interrupts_as_used_and_guests_once():
    stat = procfs.parse_stat(STAT)

    assert stat.all_cpus == procfs.CpuTimes(
        used=2802 + 5 + 1529 + 1 + 62, idle=204994, iowait=483, steal=10
    )
    assert list(stat.cpus) == ["cpu0", "cpu1"]
    assert (stat.context_switches, stat.runnable_tasks) == (291979, 3)


@pytest.mark.parametrize("name", ["python", "tmux: server", "a) R (b", "(sd-pam)", ") 1 2 3", ""])
def test_a_name_with_any_signs_does_not_shift_the_fields(name):
    text = f"42 ({name}) S 1 42 42 0 -1 4194560 9 8 7 6 150 50 0 0 20 0 12 0 987654 0 0 0\n"

    assert procfs.parse_task_stat(text) == procfs.TaskStat(
        name=name, state="S", cpu_ticks=200, threads=12, start_ticks=987654
    )


def test_pressure_takes_the_total_of_some():
    text = (
        "some avg10=0.00 avg60=0.15 avg300=0.25 total=4492457\n"
        "full avg10=0.00 avg60=0.00 avg300=0.00 total=12\n"
    )

    assert procfs.parse_pressure(text) == 4492457


def test_diskstats_are_in_sectors_of_512_bytes():
    text = " 259       0 nvme0n1 10 0 80 5 20 0 160 9 0 3 14 0 0 0 0 0 0\n"

    assert procfs.parse_diskstats(text) == {"nvme0n1": (80 * 512, 160 * 512)}


def test_net_dev_leaves_the_loopback_out():
    text = (
        "Inter-|   Receive                 |  Transmit\n"
        " face |bytes packets errs drop fifo frame compressed multicast|bytes packets\n"
        "    lo:    3193  29 0 0 0 0 0 0     3193  29 0 0 0 0 0 0\n"
        "  eth0:156372916 3521 0 0 0 0 0 0 188908 1825 0 0 0 0 0 0\n"
    )

    assert procfs.parse_net_dev(text) == {"eth0": (156372916, 188908)}


def test_meminfo_is_in_bytes_and_skips_what_is_not_a_size():
    text = "MemTotal:       24684084 kB\nMemAvailable:   100 kB\nHugePages_Total:       0\n"

    assert procfs.parse_meminfo(text) == {"MemTotal": 24684084 * 1024, "MemAvailable": 102400}


def test_this_kernels_own_files_are_understood():
    def text(name):
        return Path("/proc", name).read_text()

    assert len(procfs.parse_stat(text("stat")).cpus) >= 1
    assert procfs.parse_loadavg(text("loadavg")) >= 0
    assert procfs.parse_meminfo(text("meminfo"))["MemTotal"] > 0
    assert isinstance(procfs.parse_diskstats(text("diskstats")), dict)
    assert "lo" not in procfs.parse_net_dev(text("net/dev"))
    assert procfs.parse_task_stat(text("self/stat")).threads >= 1
    assert procfs.parse_statm(text("self/statm"), os.sysconf("SC_PAGE_SIZE")) > 2**20
    assert len(procfs.parse_io(text("self/io"))) == 2


@pytest.mark.parametrize("parse", PARSERS)
@given(text=st.text(max_size=200))
@example(text="")
@example(text="some total\n")
@example(text="cpu 1 2 3\n")
@example(text="a\nb\nno colon here\n")
def test_garbage_is_refused_with_a_value_error_or_read_as_nothing(parse, text):
    with suppress(ValueError):
        parse(text)


words = st.lists(st.one_of(st.integers().map(str), st.text(max_size=5)), max_size=25).map(" ".join)
heads = st.sampled_from(["", "cpu ", "cpu0 ", "some ", "total=", "MemTotal: ", "1 (a) S ", "eth0:"])


@pytest.mark.parametrize("parse", PARSERS)
@given(lines=st.lists(st.tuples(heads, words).map("".join), max_size=6))
def test_lines_that_are_nearly_right_do_no_harm_either(parse, lines):
    with suppress(ValueError):
        parse("\n".join(lines))
