"""Names of processes and hosts: unique where they must be, stable where they must be."""

import os
import re
import subprocess
import sys

from gnomon.proc import identity


def test_a_process_keeps_its_id_and_a_dead_one_has_none():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    own, other = identity.process_id(os.getpid()), identity.process_id(child.pid)
    child.communicate(b"\n")

    assert re.fullmatch("[0-9a-f]{16}", own)
    assert own == identity.process_id(os.getpid())
    assert other not in {None, own}
    assert identity.process_id(child.pid) is None


def test_a_reused_pid_and_another_boot_are_other_processes():
    ids = {
        identity.process_hash(boot, pid, ticks)
        for boot, pid, ticks in [("a", 7, 100), ("a", 7, 101), ("b", 7, 100), ("a", 71, 100)]
    }

    assert len(ids) == 4


def test_the_host_is_described_by_what_it_is():
    host = identity.host_identity()

    assert host["cpu_count"] == os.cpu_count()
    assert host["kernel"] == os.uname().release
    assert host["memory_total_bytes"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert re.fullmatch("[0-9a-f]{16}", host["id"])
    assert host == identity.host_identity()


def test_the_machine_id_is_not_published_and_facts_come_from_the_trees(tmp_path):
    (tmp_path / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    (tmp_path / "os-release").write_text('NAME="Debian"\nPRETTY_NAME="Debian 13 (trixie)"\n')
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Xeon\nmodel name\t: Other\n")
    host = identity.host_identity(proc=tmp_path, etc=tmp_path)
    (tmp_path / "machine-id").write_text("f" * 32)

    assert host["os"] == "Debian 13 (trixie)"
    assert host["cpu_model"] == "Xeon"
    assert host["boot_id"] is None
    assert "0123456789abcdef" not in str(host)
    assert host["id"] != identity.host_identity(proc=tmp_path, etc=tmp_path)["id"]


def test_a_host_without_proc_is_still_described(tmp_path):
    host = identity.host_identity(proc=tmp_path, etc=tmp_path)

    assert host["hostname"]
    assert host["memory_total_bytes"] is None
    assert host["os"] is None
