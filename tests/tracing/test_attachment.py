"""Processes that come, load, copy, unload, fork, execute and end while probes follow them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gnomon.tracing.processes import Wanted
from gnomon.tracing.route import Route
from gnomon.tracing.seccomp import may_end_processes
from tests.standins import cudart, nccl
from tests.tracing.following import TARGETS, Following, is_probed
from tests.tracing.programs.tracer import NEEDS_EVERY_FUNCTION, NEEDS_PROGRAMS

pytestmark = [*NEEDS_PROGRAMS, NEEDS_EVERY_FUNCTION]
LAUNCH, COPY = "cudaLaunchKernel", "cudaMemcpy"


@pytest.fixture
def copied(built, tmp_path):
    """A function that copies both libraries into a folder of that name: the runtime's path."""

    def copy(name):
        folder = tmp_path / name
        folder.mkdir()
        for library in (built.runtime, built.driver):
            shutil.copy(library, folder)
        return folder / built.runtime.name

    return copy


def compiled(built, folder, name, *options):
    """targets/NAME.c with the runtime linked into it, above the driver as a library."""
    sources = [TARGETS / f"{name}.c", cudart.HERE / "cudart.c"]
    command = ["gcc", "-O1", "-fno-omit-frame-pointer", "-fcf-protection=none", *sources]
    include = [f"-I{cudart.HERE}", built.driver, f"-Wl,-rpath,{built.driver.parent}"]
    made = folder / name
    subprocess.run([*command, *include, *options, "-o", made], check=True)
    return made


def targets_of(following):
    return {target.pid for target in following.attachment.targets()}


def test_every_copy_of_a_library_in_a_process_is_counted(start, copied):
    paths = [copied("a"), copied("b")]
    caller = start(load=paths)
    with Following(Wanted(pids=(caller.pid,))) as following:
        for path in paths:
            caller.order("call", path, COPY, 23)

        assert following.calls(caller.pid) == {COPY: 46}
        assert following.attachment.targets()[0].pid == caller.pid
        assert following.losses() == {}


def test_a_launch_is_probed_in_the_driver_alone_and_other_calls_in_both(start, built):
    caller = start(load=[built.runtime])
    with Following(Wanted(pids=(caller.pid,))) as following:
        caller.order("call", built.runtime, LAUNCH, 23)
        caller.order("call", built.runtime, COPY, 5)

        assert following.calls() == {"cuLaunchKernel": 23, COPY: 5}
        assert not is_probed(caller.pid, built.runtime, LAUNCH)
        assert is_probed(caller.pid, built.driver, "cuLaunchKernel")
        assert is_probed(caller.pid, built.driver, "cuMemcpy")


def test_without_a_driver_that_has_launches_they_are_probed_in_the_runtime(start, built, tmp_path):
    """The driver comes under a name that nobody looks for."""
    driver = tmp_path / "libother.so"
    runtime = tmp_path / "libcudart.so.13"
    shutil.copy(built.driver, driver)
    cudart._gcc(*cudart.SHARED, cudart.HERE / "cuda.c", "-Wl,-soname,libother.so", "-o", driver)
    names = [f"-Wl,--version-script={cudart.HERE}/cudart.map", "-Wl,-rpath,$ORIGIN"]
    cudart._gcc(*cudart.SHARED, cudart.HERE / "cudart.c", *names, driver, "-o", runtime)
    caller = start(load=[runtime])
    with Following(Wanted(pids=(caller.pid,))) as following:
        caller.order("call", runtime, LAUNCH, 23)

        assert following.calls() == {LAUNCH: 23}


def test_launches_are_switched_off_and_on_and_the_others_stay(start, built):
    caller = start(load=[built.runtime])
    with Following(Wanted(pids=(caller.pid,))) as following:
        for on in (False, True, False):
            following.attachment.set_launches(on)
            caller.order("call", built.runtime, LAUNCH, 23)
            caller.order("call", built.runtime, COPY, 5)

            assert is_probed(caller.pid, built.driver, "cuLaunchKernel") == on
        following.rescan()
        caller.order("call", built.runtime, LAUNCH, 23)

        assert following.calls() == {"cuLaunchKernel": 23, COPY: 15}


def test_a_library_opened_late_is_found_by_the_next_look_and_said_to_be_late(start, built):
    caller = start()
    with Following(Wanted(pids=(caller.pid,))) as following:
        assert following.kinds() == []
        caller.order("load", built.runtime)
        caller.order("call", built.runtime, COPY, 7)
        following.rescan()
        caller.order("call", built.runtime, COPY, 23)

        assert following.calls() == {COPY: 23}
        (late,) = following.attachment.notices()
        assert (late.kind, late.times) == ("late_attach", 2)


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_library_deleted_or_replaced_on_disk_is_probed_as_it_is_mapped(
    start, copied, built, is_replaced
):
    path = copied("gone")
    caller = start(load=[path])
    path.unlink()
    if is_replaced:
        shutil.copy(built.driver, path)
    with Following(Wanted(pids=(caller.pid,))) as following:
        caller.order("call", path, COPY, 23)

        assert following.calls() == {COPY: 23}
        assert following.kinds() == []


def test_a_process_in_other_mount_and_pid_namespaces_is_traced(start, built, tmp_path):
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare of util-linux")
    copy = f"mount -t tmpfs none {tmp_path} && cp {built.runtime} {built.driver} {tmp_path}"
    inner = f"{copy} && exec {sys.executable} {TARGETS}/caller.py"
    caller = start("sh", "-c", inner, under=("unshare", "-m", "-p", "--fork", "--kill-child"))
    inside = tmp_path / built.runtime.name
    caller.order("load", inside)
    with Following(Wanted(pids=(caller.pid,))) as following:
        caller.order("call", inside, COPY, 23)

        assert not inside.exists()

        assert following.calls(caller.pid) == {COPY: 23}
        assert following.attachment.targets()[0].namespace_pid == caller.inner_pid == 1


@pytest.mark.parametrize("order", ["fork", "spawn"])
def test_children_are_traced_from_their_first_call_where_they_are_followed(start, built, order):
    for follow in (True, False):
        caller = start(load=[built.runtime])
        wanted = Wanted(pids=(caller.pid,), follow_children=follow)
        with Following(wanted) as following:
            caller.order(order, built.runtime, COPY, 23)

            assert following.calls() == ({COPY: 23} if follow else {})
            assert len(following.pids() - {caller.pid}) == follow


def test_a_child_is_a_target_that_outlives_its_parent_and_its_own_libraries_are_found(start, built):
    caller = start("sh", "-c", f"{sys.executable} {TARGETS}/caller.py; true")
    with Following(Wanted(pids=(caller.process.pid,))) as following:
        assert targets_of(following) == {caller.process.pid, caller.inner_pid}
        caller.process.kill()
        caller.process.wait()
        caller.order("load", built.runtime)
        following.rescan()
        caller.order("call", built.runtime, COPY, 23)

        assert targets_of(following) == {caller.inner_pid}
        assert following.calls() == {COPY: 23}


def test_a_process_goes_on_being_traced_after_it_executes(start, built):
    caller = start(load=[built.runtime])
    with Following(Wanted(pids=(caller.pid,))) as following:
        caller.order("call", built.runtime, COPY, 5)
        caller.order("exec")
        following.rescan()
        caller.order("load", built.runtime)
        following.rescan()
        caller.order("call", built.runtime, COPY, 23)

        assert following.calls() == {COPY: 28}


def test_a_command_is_traced_from_its_first_call_where_its_libraries_were_prepared(start, built):
    caller = start()
    with Following(Wanted(pids=(caller.pid,), is_launched=True)) as following:
        following.attachment.prepare([built.runtime, built.driver, Path("/does/not/exist.so")])
        caller.order("exec")
        caller.order("load", built.runtime)
        caller.order("call", built.runtime, LAUNCH, 23)
        caller.order("spawn", built.runtime, LAUNCH, 7)

        assert following.calls() == {"cuLaunchKernel": 30}
        assert following.rescan() < 1
        assert following.kinds() == []


def test_a_process_may_unload_a_library_and_load_it_again(start, copied):
    path = copied("unloaded")
    caller = start(load=[path])
    with Following(Wanted(pids=(caller.pid,))) as following:
        for _ in range(2):
            caller.order("call", path, COPY, 5)
            caller.order("unload", path)
            following.rescan()
            caller.order("load", path)
        caller.order("call", path, COPY, 23)

        assert following.calls() == {COPY: 33}


def test_an_unrelated_process_on_the_same_library_is_not_probed(start, built):
    traced, other = start(load=[built.runtime]), start(load=[built.runtime])
    with Following(Wanted(pids=(traced.pid,))) as following:
        for caller in (traced, other):
            caller.order("call", built.runtime, COPY, 23)

        assert following.calls() == {COPY: 23}
        assert following.pids() == {traced.pid}
        assert is_probed(traced.pid, built.runtime, COPY)
        assert not is_probed(other.pid, built.runtime, COPY)


def test_several_targets_that_alone_map_a_library_share_its_probes(start, built):
    callers = [start(load=[built.runtime]) for _ in range(2)]
    with Following(Wanted(pids=tuple(caller.pid for caller in callers))) as following:
        links = len(following.attachment._probes._attached)
        for caller in callers:
            caller.order("call", built.runtime, COPY, 23)

        assert following.calls() == {COPY: 46}
        # Launches and the rest of the driver, the rest of the runtime.
        assert links == 3
        callers[0].process.kill()
        callers[0].process.wait()
        following.rescan()
        callers[1].order("call", built.runtime, COPY, 5)

        assert following.calls(callers[1].pid) == {COPY: 28}
        assert targets_of(following) == {callers[1].pid}


def test_processes_that_are_killed_while_they_are_attached_to_disturb_nothing(start, built):
    callers = [start(load=[built.runtime]) for _ in range(4)]
    survivor = callers.pop()
    pids = tuple(caller.pid for caller in (*callers, survivor))
    with Following(Wanted(pids=pids)) as following:
        ends = following.attachment._probes.attach

        def attach(probe, library):
            """Every time that something is attached, one more of them dies."""
            if callers:
                caller = callers.pop()
                caller.process.kill()
                caller.process.wait()
            ends(probe, library)

        following.attachment._probes.keep_only(())
        following.attachment._probes.attach = attach
        following.rescan()
        survivor.order("call", built.runtime, COPY, 23)
        following.rescan()

        assert callers == []
        assert following.calls(survivor.pid) == {COPY: 23}
        assert targets_of(following) == {survivor.pid}
        assert following.kinds() == []


def test_a_process_is_found_by_its_name_when_it_begins(start, built, tmp_path):
    python = tmp_path / "quaint_name"
    python.symlink_to(sys.executable)
    with Following(Wanted(names=("quaint_name",))) as following:
        assert following.attachment.targets() == ()
        caller = start(python, TARGETS / "caller.py")
        assert following.rescan() < 1
        caller.order("load", built.runtime)
        following.rescan()
        caller.order("call", built.runtime, COPY, 23)

        assert [target.name for target in following.attachment.targets()] == ["quaint_name"]
        assert following.calls(caller.pid) == {COPY: 23}


def test_every_process_that_maps_the_driver_is_a_target_but_for_the_observers(start, built):
    observer, target = start(load=[built.runtime]), start(load=[built.runtime])
    idle = start()
    wanted = Wanted(every_gpu_process=True, follow_children=False)
    with Following(wanted, observers={os.getpid(), observer.pid}) as following:
        found = targets_of(following)
        target.order("call", built.runtime, COPY, 23)

        assert target.pid in found
        assert not found & {observer.pid, idle.pid, os.getpid()}
        assert following.calls(target.pid) == {COPY: 23}


def test_a_runtime_linked_into_a_program_is_probed_there(start, built, tmp_path):
    caller = start(compiled(built, tmp_path, "static"))
    with Following(Wanted(pids=(caller.pid,))) as following:
        caller.order("go")

        assert following.calls() == {"cuLaunchKernel": 1, COPY: 1}
        assert following.kinds() == []


def test_of_a_stripped_program_the_driver_shows_the_calls(start, built, tmp_path):
    caller = start(compiled(built, tmp_path, "static", "-s"))
    with Following(Wanted(pids=(caller.pid,))) as following:
        caller.order("go")

        assert following.calls() == {"cuLaunchKernel": 1, "cuMemcpy": 1}
        assert following.kinds() == ["static_runtime"]


def test_a_program_survives_a_filter_that_forbids_what_returns_need(
    start, built, tmp_path, monkeypatch
):
    caller = start(compiled(built, tmp_path, "caged"))
    if not may_end_processes():
        with Following(Wanted(pids=(caller.pid,))) as following:
            caller.order("go")

            assert following.calls() == {"cuLaunchKernel": 1}
    # As on the kernels where it would not.
    monkeypatch.setattr("gnomon.tracing.attachment.may_end_processes", lambda: True)
    free = start(load=[built.runtime])
    with Following(Wanted(pids=(caller.pid, free.pid))) as following:
        caller.order("go")
        free.order("call", built.runtime, COPY, 23)

        assert following.calls(caller.pid) == {}
        assert following.calls(free.pid) == {COPY: 23}
        said = {(notice.kind, notice.subject) for notice in following.attachment.notices()}
        assert ("seccomp", str(caller.pid)) in said


def test_a_function_whose_entry_is_dear_to_probe_is_skipped_where_it_is_hot(start, tmp_path):
    """Compiled without frame pointers functions begin with sub or mov, not with push."""
    driver = tmp_path / "libcuda.so.1"
    options = ["-shared", "-fPIC", "-fomit-frame-pointer", "-fcf-protection=none"]
    source = tmp_path / "dear.c"
    source.write_text(
        "int cuLaunchKernel(int a) { return a + 1; } int cuMemcpy(int a) { return a; }"
    )
    subprocess.run(["gcc", "-O1", *options, source, "-o", driver], check=True)
    caller = start(load=[driver])
    with Following(Wanted(pids=(caller.pid,))) as following:
        for function in ("cuLaunchKernel", "cuMemcpy"):
            caller.order("call", driver, function, 23)

        assert following.calls() == {"cuMemcpy": 23}
        assert {"skipped", "single_stepped"} <= set(following.kinds())


def test_two_containers_of_one_image_share_the_probes_of_its_files(start, built, tmp_path):
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare of util-linux")
    inside, empty = tmp_path / "inside", tmp_path / "empty"
    inside.mkdir()
    empty.mkdir()
    layers = f"lowerdir={built.runtime.parent}:{empty}"
    overlay = f"mount -t overlay overlay -o {layers} {inside}"
    inner = f"{overlay} && exec {sys.executable} {TARGETS}/caller.py"
    try:
        callers = [start("sh", "-c", inner, under=("unshare", "-m")) for _ in range(2)]
    except AssertionError:
        pytest.skip("no overlay can be mounted here")
    library = inside / built.runtime.name
    for caller in callers:
        caller.order("load", library)
    with Following(Wanted(pids=tuple(caller.pid for caller in callers))) as following:
        for caller in callers:
            caller.order("call", library, COPY, 23)

        assert following.calls() == {COPY: 46}
        assert following.losses() == {}


def test_collectives_are_counted_by_programs_of_their_own(start, built, tmp_path_factory):
    library, _ = nccl.build(tmp_path_factory.mktemp("nccl"), built)
    caller = start(load=[library])
    with Following(Wanted(pids=(caller.pid,))) as following:
        caller.order("call", library, "ncclGroupStart", 23)
        caller.order("call", library, "ncclGroupEnd", 23)

        assert following.calls() == {"ncclGroupStart": 23, "ncclGroupEnd": 23}
        assert is_probed(caller.pid, library, "ncclAllReduce")


def test_a_file_that_is_no_library_is_said_to_be_unreadable(start, built, tmp_path):
    program = "import mmap,sys;f=open(sys.argv[1],'rb');m=mmap.mmap(f.fileno(),0,2,prot=5);"
    fake = tmp_path / "libcudart.so.12"
    fake.write_bytes(b"no library" * 1000)
    loop = "print('pid 0',flush=True);[print('ok',flush=True) for _ in sys.stdin]"
    caller = start(sys.executable, "-c", program + loop, fake)
    with Following(Wanted(pids=(caller.process.pid,))) as following:
        following.rescan()

        assert following.kinds() == ["unreadable"]


def test_a_process_that_does_not_exist_is_said_to_be_missing():
    with Following(Wanted(pids=(2**22 + 1,))) as following:
        assert following.attachment.targets() == ()
        assert following.kinds() == ["no_process"]


def test_without_filters_of_processes_others_are_probed_but_not_traced(start, built):
    traced, other = start(load=[built.runtime]), start(load=[built.runtime])
    old = Route(is_multi=True, filters_processes=False)
    with Following(Wanted(pids=(traced.pid,)), route=old) as following:
        for caller in (traced, other):
            caller.order("call", built.runtime, COPY, 23)

        assert is_probed(other.pid, built.runtime, COPY)
        assert following.calls() == {COPY: 23}
        assert following.kinds() == ["unfiltered"]


FOLLOWER = """
import sys, time
from tests.tracing.following import Following
from gnomon.tracing.processes import Wanted
with Following(Wanted(pids=(int(sys.argv[1]),))) as following:
    print("attached", flush=True)
    sys.stdin.readline()
    print(following.calls(), following.kinds(), flush=True)
"""


def follower(pid, *under):
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}:{root}"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [*under, sys.executable, "-c", FOLLOWER, str(pid)]
    started = subprocess.Popen(command, env=environment, cwd=root, **pipes)
    said = started.stdout.readline()
    return started, said


def test_a_tracer_that_is_killed_leaves_no_probe_and_no_harm(start, built):
    caller = start(load=[built.runtime])
    tracer, said = follower(caller.pid)
    assert said == "attached\n"
    assert is_probed(caller.pid, built.runtime, COPY)
    tracer.send_signal(signal.SIGKILL)
    tracer.communicate()
    # The kernel removes them after the last descriptor is gone.
    for _ in range(100):
        if not is_probed(caller.pid, built.runtime, COPY):
            break
        time.sleep(0.05)
    caller.order("call", built.runtime, COPY, 23)

    assert not is_probed(caller.pid, built.runtime, COPY)
    assert not is_probed(caller.pid, built.driver, "cuLaunchKernel")


def test_two_capabilities_are_enough_for_an_ordinary_user(start, built):
    """And another user's process is not readable then, which is said."""
    if shutil.which("setpriv") is None or os.getuid() != 0:
        pytest.skip("needs root and setpriv of util-linux")
    user = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    both = "-all,+bpf,+perfmon"
    capable = (
        *user,
        *(f"--{kind}={both}" for kind in ("inh-caps", "ambient-caps", "bounding-set")),
    )
    if subprocess.run([*user, sys.executable, "-c", "import numpy"], check=False).returncode:
        pytest.skip("another user cannot run this Python")
    own = start(sys.executable, TARGETS / "caller.py", under=user, load=[built.runtime])
    foreign = start(load=[built.runtime])
    # Root may trace anybody.
    with Following(Wanted(pids=(own.pid,))) as following:
        own.order("call", built.runtime, COPY, 5)

        assert following.calls() == {COPY: 5}
    for caller, expected in ((own, "{'cudaMemcpy': 23} []"), (foreign, "{} ['unreadable']")):
        tracer, said = follower(caller.pid, *capable)
        assert said == "attached\n"
        caller.order("call", built.runtime, COPY, 23)

        assert tracer.communicate("\n")[0].strip() == expected
