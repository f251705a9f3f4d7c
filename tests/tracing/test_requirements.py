"""What is missing for tracing is named, with what would help."""

import pytest

from gnomon.tracing.refusals import KERNEL_BTF, Surroundings
from gnomon.tracing.requirements import obstacle, requirements

BPF, PERFMON, PTRACE, SYSLOG, ADMIN = (1 << bit for bit in (39, 38, 19, 34, 21))
ENOUGH = Surroundings(BPF | PERFMON, "", False, 0, (6, 6))


def examined(tmp_path, *, machine="x86_64", has_btf=True, user_id=1000, **changes):
    btf = tmp_path / "vmlinux"
    if has_btf:
        btf.touch()
    here = ENOUGH._replace(**changes)
    return requirements(here, btf=btf, machine=machine, user_id=user_id)


def test_two_capabilities_are_enough_for_ones_own_processes(tmp_path):
    found = examined(tmp_path)

    assert obstacle(found) is None
    assert [one.name for one in found if not one.ok] == [
        "others' processes",
        "kernel symbols",
    ]


@pytest.mark.parametrize(
    ("changes", "name", "remedy"),
    [
        ({"capabilities": BPF}, "privileges", "setpriv"),
        ({"kernel": (5, 15)}, "kernel", "Linux 6.6 or newer (6.1 at least)"),
        ({"kernel": (6, 1)}, "privileges", "CAP_SYS_ADMIN"),
        ({"lockdown": "confidentiality"}, "lockdown", "boot without"),
        ({"machine": "aarch64"}, "processor", "x86_64"),
        ({"has_btf": False}, "kernel types (BTF)", "CONFIG_DEBUG_INFO_BTF"),
    ],
)
def test_what_nothing_works_without_is_the_obstacle(tmp_path, changes, name, remedy):
    missing = obstacle(examined(tmp_path, **changes))

    assert missing.name == name
    assert remedy in missing.remedy


def test_root_lacks_nothing(tmp_path):
    assert all(one.ok for one in examined(tmp_path, capabilities=(1 << 41) - 1, user_id=0))


def test_on_an_old_kernel_root_traces_a_part_and_what_is_missing_is_named(tmp_path):
    found = examined(tmp_path, kernel=(6, 1), capabilities=(1 << 41) - 1, user_id=0)

    assert obstacle(found) is None
    lacking = {one.name: one.remedy for one in found if not one.ok}
    assert lacking == {
        "functions": "use Linux 6.6 or newer",
        "block requests": "use Linux 6.5 or newer",
        "bytes over sockets": "use Linux 6.3 or newer",
    }


def test_of_a_kernel_that_cannot_be_used_only_that_is_said(tmp_path):
    found = examined(tmp_path, kernel=(5, 10), capabilities=(1 << 41) - 1, user_id=0)

    assert obstacle(found).value == "Linux 5.10, 6.1 is needed"
    assert [one.name for one in found if not one.ok] == ["kernel"]


def test_this_machine_can_be_asked():
    assert {one.name for one in requirements()} >= {"kernel", "privileges"}
    assert str(KERNEL_BTF) in next(one.value for one in requirements() if "BTF" in one.name)
