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


def process(proc, pid, name, *, command="", maps="", parent=1):
    (proc / str(pid)).mkdir()
    (proc / str(pid) / "comm").write_text(name + "\n")
    (proc / str(pid) / "cmdline").write_text(command.replace(" ", "\0") + "\0")
    (proc / str(pid) / "maps").write_text(maps)
    (proc / str(pid) / "status").write_text(f"Name:\t{name}\nPPid:\t{parent}\n")


def test_other_samplers_are_named_with_what_they_run(tmp_path):
    process(tmp_path, 10, "nv-hostengine", command="nv-hostengine -n")
    process(tmp_path, 20, "python3", command="python3 train.py", maps="/usr/lib/libcuda.so.1\n")
    process(tmp_path, 30, "gnomon-pm", command="gnomon-pm --fd 5")
    process(tmp_path, 40, "ncu", command="ncu --set full " + "x" * 200)

    dcgm, ncu = access.other_samplers(30, tmp_path)
    assert dcgm == "nv-hostengine (pid 10: nv-hostengine -n)"
    assert ncu.startswith("ncu (pid 40: ncu --set full xxx")
    assert len(ncu) < 120


def test_a_helper_of_another_gnomon_is_named_by_whom_it_works_for(tmp_path):
    process(tmp_path, 12, "gnomon", command="gnomon record -o run1")
    process(tmp_path, 30, "gnomon-pm", command="gnomon-pm --fd 5", parent=12)

    assert access.other_samplers(99, tmp_path) == [
        "gnomon-pm (pid 30 for pid 12: gnomon record -o run1)"
    ]


def test_a_program_that_has_loaded_a_profiler_is_named(tmp_path):
    maps = "7f00-7f01 r-xp 00000000 00:00 1 /opt/lib/libnvperf_target.so\n"
    process(tmp_path, 20, "python3", command="python3 profile.py", maps=maps)

    assert access.other_samplers(99, tmp_path) == [
        "python3 (pid 20: python3 profile.py), which has loaded a profiler"
    ]


def test_a_process_that_tells_nothing_is_no_sampler(tmp_path):
    (tmp_path / "20").mkdir()
    (tmp_path / "20" / "comm").write_text("python3\n")
    (tmp_path / "30").mkdir()
    (tmp_path / "30" / "comm").write_text("ncu\n")

    assert access.other_samplers(99, tmp_path) == ["ncu (pid 30)"]
