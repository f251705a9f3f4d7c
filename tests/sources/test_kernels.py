"""The injected library and its reader, with a program whose every operation is known."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gnomon import configuration
from gnomon.sources import _kernels_control as control
from gnomon.sources import kernels
from tests.sources.kernel_recording import MS, Stage
from tests.standins import activity


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return activity.build(tmp_path_factory.mktemp("inject"))


@pytest.fixture
def stage(built, tmp_path):
    """Return a function that makes the stage, whose programs are ended after the test."""
    stages = []

    def make(**options):
        stages.append(Stage(built, tmp_path, **options))
        return stages[-1]

    yield make
    for one in stages:
        one.close()


@pytest.fixture
def recording(stage):
    """A stage and a program that is in a window."""
    made = stage()
    player = made.play()
    player.do("init")
    made.begin()
    return made, player


def test_23_launches_are_23_records_and_a_name_comes_once(recording):
    stage, player = recording
    player.do("launch gemm 20", "launch _Z6reducePfi 3")
    stage.end()

    assert len(stage.of("kernels")) == 23
    names = {row["name_hash"]: row["name"] for row in stage.of("kernel_names")}
    assert len(stage.of("kernel_names")) == 2
    of_kernels = [names[row["name_hash"]] for row in stage.of("kernels")]
    assert of_kernels == ["gemm"] * 20 + ["reduce(float*, int)"] * 3
    [window] = stage.of("kernel_windows")
    assert (window["records"], window["dropped"], window["pid"]) == (23, 0, player.pid)
    assert 0 < window["opening_ns"] < 10**9


def test_a_kernel_has_its_gpu_its_shape_and_its_occupancy(recording):
    stage, player = recording
    player.do("launch gemm 1 0 5", "launch gemm 1 1 0")
    stage.end()

    first, second = stage.of("kernels")
    assert first["gpu_uuid"] == "GPU-00000000-0000-4000-8000-000000000000"
    assert first["mig_uuid"] is None
    assert second["mig_uuid"] == "MIG-00000000-0000-4000-8000-0000000000f1"
    assert (first["graph_id"], first["graph_node_id"], second["graph_id"]) == (5, 500, None)
    assert [first[f"grid_{axis}"] for axis in "xyz"] == [264, 1, 1]
    assert first["duration_ns"] == 1000
    assert abs(first["ts_ns"] - time.time_ns()) < 60 * 10**9
    # 264 blocks of 4 warps on 132 SMs: two an SM, where registers leave room for 8.
    assert first["occupancy_limiter"] == "grid"
    assert first["waves"] == pytest.approx(264 / (132 * 8))


def test_copies_fills_waits_and_ranges(recording):
    stage, player = recording
    player.do("launch gemm 1", "copy 4096", "peer 8192", "fill 64", "wait")
    player.do("push 1 outer", "push 2 inner", "mark here", "pop 2", "pop 1")
    stage.end()

    copy, peer, fill = stage.of("copies")
    assert (copy["operation"], copy["direction"], copy["bytes"]) == ("memcpy", "h2d", 4096)
    assert (copy["source_memory"], copy["destination_memory"]) == ("pinned", "device")
    assert peer["peer_gpu_uuid"] == "GPU-00000000-0000-4000-8000-000000000001"
    assert (fill["operation"], fill["direction"], fill["bytes"]) == ("memset", None, 64)
    [wait] = stage.of("gpu_synchronizations")
    assert (wait["operation"], wait["duration_ns"]) == ("stream", 3000)
    assert wait["gpu_uuid"] == stage.of("kernels")[0]["gpu_uuid"]
    told = [(row["name"], row["domain"], row["depth"]) for row in stage.of("ranges")]
    assert told == [("here", "mine", 2), ("inner", None, 1), ("outer", None, 0)]
    assert {row["tid"] for row in stage.of("ranges")} == {player.pid}


def test_nothing_of_cupti_is_touched_before_the_first_window(stage):
    made = stage()
    player = made.play()
    player.do("init", "launch gemm 5")
    made.until(lambda: made.states() == ["WAITING"])
    maps = Path(f"/proc/{player.pid}/maps").read_text()

    assert "libcupti" not in maps
    assert made.calls() == []
    assert made.rows == {}


def test_only_what_is_launched_in_a_window_is_recorded(recording):
    stage, player = recording
    player.do("launch first 2")
    stage.end()
    player.do("launch between 100")
    stage.begin()
    player.do("launch second 3")
    stage.end()

    assert len(stage.of("kernels")) == 5
    assert {row["name"] for row in stage.of("kernel_names")} == {"first", "second"}
    assert [row["records"] for row in stage.of("kernel_windows")] == [2, 3]
    first, second = stage.of("kernel_windows")
    assert first["ts_ns"] < second["ts_ns"] - second["duration_ns"]


def test_a_window_ends_by_itself_at_its_deadline(stage):
    made = stage()
    player = made.play()
    player.do("init")
    made.begin(duration_ns=400 * MS)
    made.until(lambda: made.states() == ["CLOSED"])
    player.do("launch late 7")

    [window] = made.of("kernel_windows")
    assert 0 < window["duration_ns"] < 600 * MS
    assert made.of("kernels") == []


def test_kernels_that_still_run_when_a_window_ends_get_into_it(recording):
    stage, player = recording
    player.do("start slow")
    stage.control.end_window()
    time.sleep(0.08)
    player.do("finish")
    stage.until(lambda: stage.states() == ["CLOSED"])

    assert len(stage.of("kernels")) == 1


def test_kernels_that_do_not_end_in_time_are_counted(recording):
    stage, player = recording
    player.do("launch quick 2", "start endless")
    stage.end()

    assert len(stage.of("kernels")) == 2
    [loss] = stage.of("losses")
    assert (loss["reason"], loss["rows"]) == ("incomplete", 1)
    assert stage.of("kernel_windows")[0]["dropped"] == 1


def test_a_full_ring_loses_exactly_what_does_not_fit(stage):
    made = stage(ring_records=1024)
    player = made.play()
    player.do("init")
    made.begin()
    player.do("launch many 5000")
    # Nobody reads meanwhile: the library must not wait for us.
    made.control.end_window()
    time.sleep(0.6)
    made.read()

    kept = len(made.of("kernels"))
    assert kept == 1024 - 64
    [loss] = made.of("losses")
    assert (loss["reason"], loss["rows"]) == ("ring_full", 5000 - kept)
    [window] = made.of("kernel_windows")
    assert (window["records"], window["dropped"]) == (kept, 5000 - kept)


def test_threads_and_many_buffers_lose_nothing(recording):
    stage, player = recording
    player.do("threads 4 25000")
    stage.end()

    assert len(stage.of("kernels")) == 100_000
    assert stage.of("losses") == []
    assert len({row["correlation_id"] for row in stage.of("kernels")}) == 100_000


def test_a_program_that_exits_in_a_window_hands_over_what_it_has(recording):
    stage, player = recording
    player.do("launch last 23")

    assert player.end("exit 3") == 3
    assert player.said() == ""
    stage.until(lambda: stage.states() == [])
    assert len(stage.of("kernels")) == 23
    assert stage.of("kernel_windows")[0]["records"] == 23
    assert list(stage.directory.glob("*.ring")) == []


@pytest.mark.parametrize("flush_ms", ["-1", "5000"])
def test_a_cupti_that_hangs_does_not_hold_up_the_end_of_a_program(stage, flush_ms):
    made = stage()
    player = made.play(STANDIN_FLUSH_MS=flush_ms)
    player.do("init")
    made.begin()
    started_s = time.monotonic()

    assert player.end("exit 0") == 0
    assert time.monotonic() - started_s < 1.5


def test_a_driver_that_is_gone_is_not_asked_to_flush(recording):
    stage, player = recording
    player.do("launch last 5", "teardown")

    assert player.end("exit 0") == 0
    assert "cuptiActivityDisable" not in stage.calls()


def test_a_killed_program_leaves_what_it_had_handed_over(recording):
    stage, player = recording
    player.do("launch seen 9")
    stage.until(lambda: len(stage.of("kernels")) == 9)

    assert player.end("kill") == -signal.SIGKILL
    stage.until(lambda: stage.states() == [])
    [window] = stage.of("kernel_windows")
    assert window["records"] == 9
    assert window["ts_ns"] == max(row["ts_ns"] for row in stage.of("kernels"))
    [loss] = stage.of("losses")
    assert (loss["reason"], loss["table"], loss.get("rows")) == ("killed", "kernels", None)


KILLED_RECORDER = """\
import sys
from pathlib import Path
from gnomon.sources import _kernels_control as control
directory = control.make_directory(63, root=Path(sys.argv[1]))
words = control.Control(directory)
words.open_window(1_000_000_000)
print(directory, flush=True)
sys.stdin.read()
"""


def test_a_killed_recorder_leaves_a_window_that_ends_and_is_cleaned_up_after(built, tmp_path):
    recorder = subprocess.Popen(
        [sys.executable, "-c", KILLED_RECORDER, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    directory = Path(recorder.stdout.readline().strip())
    (tmp_path / "log").touch()
    variables = {
        "CUDA_INJECTION64_PATH": str(built.library),
        control.DIRECTORY_VARIABLE: str(directory),
        control.LIBRARY_VARIABLE: str(built.cupti),
        "STANDIN_LOG": str(tmp_path / "log"),
    }
    player = activity.Player(built, variables)
    try:
        player.do("init")
        while "cuptiActivityEnable" not in (tmp_path / "log").read_text():
            time.sleep(0.01)
        recorder.kill()
        recorder.wait()
        control.remove_abandoned(tmp_path)
        assert not directory.exists()
        time.sleep(1.3)
        player.do("launch gemm 3")
        assert "cuptiActivityDisable" in (tmp_path / "log").read_text().split()
        assert player.end("exit 5") == 5
    finally:
        player.close()
        recorder.stdin.close()
        recorder.stdout.close()


def test_a_forked_child_is_left_alone_and_the_parent_goes_on(recording):
    stage, player = recording
    player.do("launch before 4")

    assert player.do("fork 0 10") == 7
    player.do("launch after 5")
    stage.end()
    assert len(stage.of("kernels")) == 9
    assert {row["pid"] for row in stage.of("kernels")} == {player.pid}


def test_a_child_that_begins_cuda_itself_records_for_itself(stage):
    made = stage()
    player = made.play()
    made.control.open_window(60 * 10**9)

    assert player.do("fork 1 300") == 7
    made.until(lambda: made.states() == [])
    pids = {row["pid"] for row in made.of("kernels")}
    assert len(pids) == 1
    assert player.pid not in pids


def test_a_child_of_a_program_with_cupti_is_not_begun_anew(recording):
    stage, player = recording
    player.do("launch before 4")

    assert player.do("fork 2 10") == 7
    player.do("launch after 5")
    stage.end()
    assert len(stage.of("kernels")) == 9
    assert "forked from a process in which CUPTI had been loaded" in stage.reasons()[0]


def test_the_libcupti_that_a_program_has_is_the_one_that_is_used(stage):
    made = stage()
    player = made.play(**{control.LIBRARY_VARIABLE: "/nonexistent"})
    player.do("init")
    assert player.do(f"load {made.built.cupti}") == 1
    made.begin()
    player.do("launch gemm 4")
    made.end()

    assert len(made.of("kernels")) == 4


def test_several_programs_have_rings_of_their_own(stage):
    made = stage()
    players = [made.play() for _ in range(3)]
    for player in players:
        player.do("init")
    made.begin(programs=3)
    for count, player in enumerate(players, start=1):
        player.do(f"launch shared {count}")
    made.end()

    by_pid = [row["pid"] for row in made.of("kernels")]
    assert [by_pid.count(player.pid) for player in players] == [1, 2, 3]
    assert len(made.of("kernel_names")) == 1
    assert len({row["process_id"] for row in made.of("kernel_windows")}) == 3


def test_a_profiler_that_was_there_first_keeps_its_place(stage):
    made = stage()
    player = made.play()
    player.do("init", f"profile 1 {made.built.cupti}")
    made.control.open_window(60 * 10**9)
    made.until(lambda: made.states() == ["STEPPED_BACK"])
    player.do("launch gemm 12")

    assert "another profiler uses CUPTI" in made.reasons()[0]
    assert player.do("profiled") == 12
    # The next window finds the place free.
    made.begin()
    player.do("launch gemm 2")
    made.end()
    assert len(made.of("kernels")) == 2
    assert made.reasons() == []


def test_a_profiler_that_comes_in_a_window_is_given_way_to(recording):
    stage, player = recording
    player.do("launch ours 3")
    stage.until(lambda: len(stage.of("kernels")) == 3)

    assert player.do(f"profile 1 {stage.built.cupti}") == 0
    player.do("launch theirs 20")
    stage.control.end_window()
    stage.until(lambda: stage.states() == ["STEPPED_BACK"])
    player.do("launch theirs 20")
    assert "was given way to" in stage.reasons()[0]
    assert player.do("profiled") == 40
    assert "cuptiActivityDisable" not in stage.calls()[:-4]


def test_who_takes_the_callbacks_without_asking_is_not_fought(recording):
    stage, player = recording
    player.do(f"profile 0 {stage.built.cupti}", "launch theirs 5")
    stage.control.end_window()
    stage.until(lambda: "OPEN" not in stage.states())
    stage.control.open_window(10**9)
    time.sleep(0.1)

    assert player.do("launch theirs 5") == 5
    assert player.end("exit 0") == 0


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"STANDIN_CUPTI_VERSION": "130300"}, "libcupti (130300) is newer than the driver's CUDA"),
        ({"STANDIN_CUPTI_VERSION": "18"}, "older than CUDA 12.0"),
        ({"STANDIN_REFUSE": "cuptiActivityEnable 35"}, "CUPTI refused with CUptiResult 35"),
        ({"STANDIN_REFUSE": "cuptiActivityRegisterCallbacks 39"}, "another profiler uses CUPTI"),
        ({control.LIBRARY_VARIABLE: "/nonexistent"}, "no libcupti was found"),
        ({control.LIBRARY_VARIABLE: ""}, "no libcupti was found"),
    ],
)
def test_what_is_in_the_way_is_told_and_harms_nothing(stage, variables, reason):
    made = stage()
    player = made.play(**variables)
    player.do("init")
    made.control.open_window(60 * 10**9)
    made.until(lambda: made.states() == ["STEPPED_BACK"])
    player.do("launch gemm 3")

    assert reason in made.reasons()[0]
    assert player.end("exit 4") == 4
    assert player.said() == ""


def test_a_libcupti_that_is_too_new_is_asked_nothing_but_its_version(stage):
    made = stage()
    player = made.play(STANDIN_CUPTI_VERSION="130300")
    player.do("init")
    made.control.open_window(60 * 10**9)
    made.until(lambda: made.states() == ["STEPPED_BACK"])

    assert set(made.calls()) == {"cuptiGetVersion"}


def test_a_directory_that_another_user_may_not_enter_is_left_alone(built, stage, tmp_path):
    if os.getuid() != 0:
        pytest.skip("to be another user needs root")
    for folder in (tmp_path, built.folder, *tmp_path.parents[:3], *built.folder.parents[:2]):
        if folder != Path("/tmp"):
            folder.chmod(0o755)
    made = stage()
    player = made.play()
    player.do("setuid 65534", "init")
    made.control.open_window(60 * 10**9)
    player.do("launch gemm 3")

    assert player.end("exit 2") == 2
    assert player.said() == ""
    assert made.states() == []


def test_a_recorder_that_is_gone_is_no_trouble(built, tmp_path):
    player = activity.Player(
        built,
        {
            "CUDA_INJECTION64_PATH": str(built.library),
            control.DIRECTORY_VARIABLE: str(tmp_path / "gone"),
        },
    )
    player.do("init", "launch gemm 3")

    assert player.end("exit 2") == 2
    player.close()


def test_no_room_in_shared_memory_is_told(stage):
    made = stage()
    player = made.play()
    # The kernel answers with a signal, too, which would end the program on any thread but ours.
    player.do("limit 1000000", "init")
    made.control.open_window(60 * 10**9)
    made.until(lambda: made.states() == ["STEPPED_BACK"])
    player.do("launch gemm 3")

    assert "shared memory is full" in made.reasons()[0]
    assert player.end("exit 0") == 0


def test_a_program_that_closes_all_files_goes_on_recording(stage):
    made = stage()
    player = made.play()
    player.do("init", "closefds")
    made.begin()
    player.do("launch gemm 6")
    made.end()

    assert len(made.of("kernels")) == 6


def test_cupti_is_detached_after_a_window_where_that_is_asked_for(stage):
    made = stage(finalize=True)
    player = made.play()
    player.do("init")
    for _ in range(2):
        made.begin()
        player.do("launch gemm 4")
        made.control.end_window()
        while made.states() != ["CLOSED"]:
            player.do("launch between 1")

    names = {row["name_hash"]: row["name"] for row in made.of("kernel_names")}
    assert made.calls().count("cuptiFinalize") == 2
    assert [names[row["name_hash"]] for row in made.of("kernels")].count("gemm") == 8


def test_windows_come_at_whole_multiples_of_their_period(built, tmp_path, monkeypatch):
    now_ns = [1_000 * 10**9]
    monkeypatch.setattr(kernels.time, "time_ns", lambda: now_ns[0])
    directory = control.make_directory(1, root=tmp_path)
    source = kernels.KernelsSource(configuration.KernelsRequest(directory, 1.0, 20.0))
    source.open()
    opened = []
    monkeypatch.setattr(source._control, "open_window", lambda ns: opened.append((now_ns[0], ns)))
    for _ in range(160):
        source.read()
        now_ns[0] += 250 * MS
    source.close()

    assert opened == [(1000 * 10**9, 10**9), (1020 * 10**9, 10**9)]


def test_a_window_that_is_always_open_goes_on_from_one_program_to_the_next(built, tmp_path):
    made = Stage(built, tmp_path)
    try:
        made.source._request = configuration.KernelsRequest(made.directory, 1.0, 1.0)
        made.read()
        for _ in range(2):
            player = made.play()
            player.do("init")
            made.until(lambda: made.states() == ["OPEN"])
            player.do("launch gemm 5")
            assert player.end("exit 0") == 0
            made.until(lambda: made.states() == [])
        made.keep(made.source.finish())
        assert len(made.of("kernels")) == 10
    finally:
        made.close()
