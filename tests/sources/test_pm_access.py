"""Permission to read counters, and who else reads them, from /proc."""

import pytest

from gnomon.sources import _pm_access as access


def make(proc, *, admin_only, effective):
    (proc / "driver/nvidia").mkdir(parents=True)
    (proc / "self").mkdir()
    params = f"ResmanDebugLevel: 4294967295\nRmProfilingAdminOnly: {admin_only}\n"
    (proc / "driver/nvidia/params").write_text(params)
    (proc / "self/status").write_text(f"Name:\tpython\nCapEff:\t{effective}\n")


@pytest.mark.parametrize(
    ("admin_only", "effective", "refused"),
    [
        (0, "0000000000000000", False),
        (1, "0000000000000000", True),
        (1, "0000000000200000", False),  # CAP_SYS_ADMIN, bit 21
        (1, "000000000000ffff", True),
        (1, "000001ffffffffff", False),
    ],
)
def test_who_may_read_counters(tmp_path, admin_only, effective, refused):
    make(tmp_path, admin_only=admin_only, effective=effective)

    assert access.refused(tmp_path) is refused


def test_a_driver_that_does_not_say_is_asked_by_trying(tmp_path):
    assert access.refused(tmp_path) is False


def test_other_samplers_are_named(tmp_path):
    for pid, name in ((10, "nv-hostengine"), (20, "python3"), (30, "gnomon-pm"), (40, "ncu")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_text(name + "\n")

    assert access.other_samplers(30, tmp_path) == ["nv-hostengine (pid 10)", "ncu (pid 40)"]
