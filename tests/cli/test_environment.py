import os
import stat

import pytest

from gnomon.cli import environment


@pytest.fixture
def machine(tmp_path):
    """Return a function that makes a fake root with the given files."""

    def make(**files):
        for name, text in files.items():
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "root").mkdir(exist_ok=True)
        return tmp_path / "root"

    return make


def fact(root, name, state=None):
    found = [each for each in environment.facts(state or root, root) if each.name == name]
    return found[0] if found else None


# As the open kernel module of driver 580 prints it.
VERSION = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  "
    "(dvs-builder@U22-I3-AM02-24-3)\nGCC version:  gcc version 12.3.0\n"
)


def test_driver_version(machine):
    root = machine(**{"proc/driver/nvidia/version": VERSION})

    assert fact(root, "NVIDIA driver").value == "580.159.04"
    assert fact(root, "NVIDIA driver").ok


def test_no_driver_has_a_remedy(machine):
    found = fact(machine(), "NVIDIA driver")

    assert not found.ok
    assert "install the NVIDIA driver" in found.remedy


@pytest.mark.parametrize(
    ("restricted", "capabilities", "ok"),
    [
        ("0", "0000000000000000", True),
        ("1", "0000000000000000", False),
        ("1", "000001ffffffffff", True),
        ("1", "0000000000200000", True),  # bit 21 alone: CAP_SYS_ADMIN
        ("1", "00000000001fffff", False),  # all below it
    ],
)
def test_profiling_policy(machine, restricted, capabilities, ok):
    root = machine(
        **{
            "proc/driver/nvidia/params": f"Other: 1\nRmProfilingAdminOnly: {restricted}\n",
            "proc/self/status": f"Name:\tpython\nCapEff:\t{capabilities}\n",
        }
    )

    found = fact(root, "hardware profiling")

    assert found.ok == ok
    assert bool(found.remedy) == (not ok)


def test_what_cannot_be_read_is_left_out(machine):
    assert fact(machine(), "hardware profiling") is None
    assert fact(machine(), "cgroup") is None


def test_cgroup_quota(machine):
    root = machine(
        **{
            "proc/self/cgroup": "0::/pod/container\n",
            "sys/fs/cgroup/pod/container/cpu.max": "250000 100000\n",
        }
    )

    assert fact(root, "cgroup").value == "v2, at most 2.5 CPUs"


def test_cgroup_without_a_quota(machine):
    root = machine(**{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"})

    assert fact(root, "cgroup").value == "v2"


def test_pressure(machine):
    assert not fact(machine(), "pressure (PSI)").ok
    assert fact(machine(**{"proc/pressure/cpu": "some avg10=0.00\n"}), "pressure (PSI)").ok


def test_state_directory_need_not_exist_yet(machine, tmp_path):
    found = fact(machine(), "state directory", tmp_path / "not" / "yet")

    assert found.value.startswith(f"{tmp_path / 'not' / 'yet'}: ")
    assert "GB free" in found.value


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_state_directory_that_cannot_be_written(machine, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)

    found = fact(machine(), "state directory", closed / "gnomon")

    assert not found.ok
    assert str(closed) in found.remedy


def test_full_disk_is_told(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "LOW_DISK_BYTES", 1 << 62)

    found = fact(machine(), "state directory", tmp_path)

    assert not found.ok
    assert "free some space" in found.remedy


def test_this_machine_as_it_is(tmp_path):
    """Whatever this machine is: no exception, and a remedy wherever something is wrong."""
    for each in environment.facts(tmp_path):
        assert each.ok or each.remedy, each
