"""Who is a target: told from /proc, real or made up."""

import os
import random
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from gnomon.tracing import processes
from gnomon.tracing.processes import Finder, Wanted, find, read_process, target_of, uses_gpu

THREAD_OF_KERNEL = 0x200000


class Proc:
    """A /proc of processes that we say."""

    def __init__(self, folder):
        self.folder = folder

    def put(
        self, pid, *, parent=1, start=100, name="python3", maps="", flags=0, files=(), state="S"
    ):
        base = self.folder / str(pid)
        (base / "fd").mkdir(parents=True, exist_ok=True)
        fields = [state, parent, *[0] * 4, flags, *[0] * 12, start, 4096 + len(maps), *[0] * 4, 7]
        (base / "stat").write_text(f"{pid} ({name}) {' '.join(map(str, fields))}\n")
        (base / "maps").write_text(maps)
        (base / "status").write_text(f"Name:\t{name}\nNSpid:\t{pid}\t7\nSeccomp:\t0\n")
        for number, file in enumerate(files):
            (base / "fd" / str(number)).symlink_to(file)

    def finder(self, exclude=(), **wanted):
        return Finder(Wanted(**wanted), exclude, str(self.folder))


@pytest.fixture
def proc(tmp_path, monkeypatch):
    # Everybody is looked at each time.
    monkeypatch.setattr(processes, "OLD_EVERY_S", 0.0)
    monkeypatch.setattr(processes, "IGNORED_EVERY_S", 0.0)
    return Proc(tmp_path)


def pids(finder):
    return [process.pid for process in finder.find()]


def test_a_real_process_is_read_as_another_tool_reads_it():
    ours, theirs = read_process(os.getpid()), psutil.Process()

    assert (ours.pid, ours.parent_pid, ours.name) == (theirs.pid, theirs.ppid(), theirs.name())
    assert ours.size_bytes == pytest.approx(theirs.memory_info().vms, rel=0.2)
    assert (
        abs(ours.start_ticks / os.sysconf("SC_CLK_TCK") + psutil.boot_time() - theirs.create_time())
        < 2
    )
    assert target_of(ours).namespace_pid == int(
        Path("/proc/self/status").read_text().partition("NSpid:")[2].split("\n")[0].split()[-1]
    )


def test_a_dead_process_and_none_are_none():
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        assert read_process(child.pid) is None
    assert read_process(2**22 + 1) is None


def test_a_child_of_ours_is_found_by_its_number_and_its_name(tmp_path):
    python = tmp_path / "some_program_of_long_name"
    python.symlink_to(sys.executable)
    with subprocess.Popen([python, "-c", "input()"], stdin=subprocess.PIPE) as child:
        by_pid = find(Wanted(pids=(child.pid,)), ())
        # The kernel keeps 15 bytes of a name; whoever asks for all of it means this one.
        while not (by_name := find(Wanted(names=("some_program_of_long_name",)), ())):
            assert child.poll() is None
        child.communicate(b"\n")

    assert [target.pid for target in by_pid] == [target.pid for target in by_name] == [child.pid]
    assert by_name[0].name == "some_program_of"


def test_names_are_compared_whole_and_with_no_command_line(proc):
    proc.put(10, name="python3")
    proc.put(11, name="python3.12")
    proc.put(12, name="a (b) c")

    assert pids(proc.finder(names=("python3",))) == [10]
    assert pids(proc.finder(names=("a (b) c", "python3.12"))) == [11, 12]
    assert pids(proc.finder(names=("python",))) == []


def test_a_target_stays_one_whatever_it_is_called_later(proc):
    proc.put(10, name="python3")
    finder = proc.finder(names=("python3",))
    assert pids(finder) == [10]
    proc.put(10, name="pt_main_thread")

    assert pids(finder) == [10]
    assert finder.find()[0].name == "pt_main_thread"


def test_a_number_that_is_used_again_is_another_process(proc):
    proc.put(10, start=100)
    finder = proc.finder(pids=(10, 99))
    assert pids(finder) == [10]
    assert finder.missing_pids == [99]
    proc.put(10, start=200)
    proc.put(99, start=200)

    assert pids(finder) == []


def test_what_has_ended_is_no_target_even_before_it_is_waited_for(proc):
    proc.put(10)
    finder = proc.finder(pids=(10,))
    assert pids(finder) == [10]
    proc.put(10, state="Z")

    assert pids(finder) == []


def test_who_uses_a_gpu_maps_the_driver_or_has_a_device_open(proc):
    line = "7f00-7f01 r-xp 0000 fe:00 5 /usr/lib/{}\n"
    proc.put(10, maps=line.format("libcuda.so.580.65"))
    proc.put(11, files=["/dev/null", "/dev/nvidia7"])
    proc.put(12, files=["/dev/nvidiactl"])
    proc.put(13, files=["/dev/nvidia-uvm", "/dev/nvidia-modeset"], maps=line.format("libcudart.so"))
    proc.put(14, files=["/dev/nvidia0"])
    proc.put(15, maps=line.format("libcuda.so.1"), flags=THREAD_OF_KERNEL)

    assert pids(proc.finder(every_gpu_process=True, exclude=(14,))) == [10, 11, 12]


def test_a_process_that_maps_the_driver_later_is_found_then(proc):
    proc.put(10)
    finder = proc.finder(every_gpu_process=True)
    assert pids(finder) == []
    proc.put(10, maps="7f00-7f01 r-xp 0000 fe:00 5 /usr/lib/libcuda.so.1\n")

    assert pids(finder) == [10]


def test_a_process_without_a_gpu_and_one_that_is_not_there_use_none():
    # Not this one: other tests open the stand-in of the driver in it.
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        assert not uses_gpu(sleeper.pid)
    finally:
        sleeper.kill()
        sleeper.wait()
    assert not uses_gpu(2**22 + 1)


def test_children_are_those_that_a_brute_force_walk_finds(proc):
    """Random trees: every process whose chain of parents leads to a target."""
    chance = random.Random(7)
    parents = {pid: chance.randrange(1, pid) for pid in range(2, 120)}
    for pid, parent in parents.items():
        proc.put(pid, parent=parent, start=100 + pid)

    def leads_to(pid, root):
        return pid == root or (pid in parents and leads_to(parents[pid], root))

    for root in (2, 17, 60):
        expected = [pid for pid in parents if leads_to(pid, root)]
        assert pids(proc.finder(pids=(root,))) == expected
        assert pids(proc.finder(pids=(root,), follow_children=False)) == [root]


def test_a_process_older_than_its_parents_number_is_no_child(proc):
    proc.put(10, start=500)
    proc.put(11, parent=10, start=400)
    proc.put(12, parent=10, start=500)

    assert pids(proc.finder(pids=(10,))) == [10, 12]


def test_observers_are_never_targets_nor_are_their_children_for_their_sake(proc):
    proc.put(10)
    proc.put(11, parent=10)
    proc.put(12, parent=11)

    assert pids(proc.finder(pids=(10,), exclude=(11,))) == [10]
    assert pids(proc.finder(pids=(10, 11), exclude=(11,))) == [10]


def test_a_child_whose_parent_ended_stays_a_target(proc):
    proc.put(10)
    proc.put(11, parent=10)
    finder = proc.finder(pids=(10,))
    assert pids(finder) == [10, 11]
    proc.put(10, state="Z")
    proc.put(11, parent=1)

    assert pids(finder) == [11]


def test_old_processes_are_not_read_each_time(tmp_path, monkeypatch):
    proc = Proc(tmp_path)
    proc.put(10)
    proc.put(11)
    finder = proc.finder(pids=(10,))
    finder.find()
    read = []
    monkeypatch.setattr(processes, "read_process", lambda pid, _: read.append(pid))
    finder.find()

    assert read == [10]
