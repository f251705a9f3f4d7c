"""`gnomon trace` and `gnomon record --trace` as programs of their own, on the running kernel."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest

from gnomon.recording.reader import Recording
from tests.standins import cudart
from tests.tracing.programs.conftest import attempted
from tests.tracing.programs.tracer import IS_MULTI, NEEDS_PROGRAMS

pytestmark = NEEDS_PROGRAMS
CALLS = "call cudaLaunchKernel 23 0 0 0 ; call cudaMemcpyAsync 23 0 100000 0"
# Launches are those of the runtime until its driver has been found.
# Kernels before 6.6 probe the driver alone, where there is one.
LAUNCHES, COPY, WAIT = (
    {f"cu{name}", f"cuda{name}"} for name in ("LaunchKernel", "MemcpyAsync", "StreamSynchronize")
)


@pytest.fixture(scope="session")
def standins(tmp_path_factory):
    return cudart.build(tmp_path_factory.mktemp("cudart"))


@pytest.fixture
def workload(standins, tmp_path):
    """A function that gives the command of a load that does tasks, and where it is found."""

    def command(tasks, *, processor=-1, hogs=0):
        lines = [f"open {standins.runtime.name}"]
        lines += [f"hog {processor}"] * hogs
        lines += [f"run {processor} worker {tasks}", "wait", f"quit {tmp_path / 'truth.json'}"]
        script = tmp_path / "commands"
        script.write_text("\n".join(lines) + "\n")
        shell = f"exec {standins.load} < {script}"
        return ["sh", "-c", shell]

    command.environment = {"LD_LIBRARY_PATH": str(standins.runtime.parent)}
    return command


def rows(directory, table):
    return Recording.open(directory).read(table).to_pylist()


def calls_counted(directory, operations, pid=None):
    return sum(
        row["calls"]
        for row in rows(directory, "call_histograms")
        if row["operation"] in operations and pid in {None, row["pid"]}
    )


def wait_until(condition, timeout_s=40):
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.1)
    return False


def helper_of(pid):
    children = psutil.Process(pid).children()
    return next((child.pid for child in children if child.name() == "gnomon-bpf"), None)


def test_every_call_of_a_workload_is_counted_from_its_first_on(gnomon_process, workload, tmp_path):
    done = gnomon_process(
        "trace", "-o", tmp_path / "run", "--", *workload(CALLS), **workload.environment
    )

    assert done.returncode == 0, done.stderr
    assert f"next: gnomon explain {tmp_path / 'run'}" in done.stderr
    lines = dict(line.split()[:2] for line in done.stdout.splitlines() if line.count(" "))
    assert [lines[name] for name in lines.keys() & (LAUNCHES | COPY)] == ["23", "23"]
    assert calls_counted(tmp_path / "run", LAUNCHES) == 23
    assert calls_counted(tmp_path / "run", COPY) == 23
    kept = [row for row in rows(tmp_path / "run", "host_calls") if row["operation"] in LAUNCHES]
    assert [row["first_call"] for row in sorted(kept, key=lambda row: row["ts_ns"])] == (
        [1] + [0] * 22
    )


def test_a_second_trace_into_the_directory_tells_its_own_calls(gnomon_process, workload, tmp_path):
    for times in (23, 7):
        command = workload(f"call cudaLaunchKernel {times} 0 0 0")
        done = gnomon_process(
            *("trace", "--json", "-o", tmp_path / "run", "--", *command), **workload.environment
        )
        document = json.loads(done.stdout[done.stdout.index("{") :])

        assert [row["calls"] for row in document["operations"]] == [times]


def test_the_table_as_json(gnomon_process, workload, tmp_path):
    done = gnomon_process(
        *("trace", "--json", "-o", tmp_path / "run", "--", *workload(CALLS)),
        **workload.environment,
    )
    document = json.loads(done.stdout[done.stdout.index("{") :])

    calls = {row["operation"]: row["calls"] for row in document["operations"]}
    assert list(calls.values()) == [23, 23]
    assert calls.keys() <= LAUNCHES | COPY
    assert all(one["reason"] == "missed_period" for one in document["losses"])


def test_a_recording_traces_its_workload(gnomon_process, workload, tmp_path):
    done = gnomon_process(
        "record", "--trace", "-o", tmp_path / "run", "--", *workload(CALLS), **workload.environment
    )

    assert done.returncode == 0, done.stderr
    # Whoever else uses a GPU here is traced, too.
    pid = json.loads((tmp_path / "truth.json").read_text())["pid"]
    assert calls_counted(tmp_path / "run", LAUNCHES, pid) == 23
    assert rows(tmp_path / "run", "host_samples")


def test_explain_names_the_contention_and_the_hog(gnomon_process, gnomon, workload, tmp_path):
    processor = max(os.sched_getaffinity(0))

    def scenario():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        command = workload("call cudaLaunchKernel 300 5000000 0 0", processor=processor, hogs=1)
        done = gnomon_process(
            "trace", "-o", tmp_path / "run", "--", *command, **workload.environment
        )
        assert done.returncode == 0, done.stderr
        (finding,) = [
            one
            for one in json.loads(gnomon("explain", "--json", tmp_path / "run").stdout)["findings"]
            if one["cause"] == "cpu_contention"
        ]
        assert finding["severity"] in {"warning", "critical"}
        ran_ns = Counter()
        for row in rows(tmp_path / "run", "off_cpu"):
            if row["operation"] in LAUNCHES:
                ran_ns[row["preemptor_name"]] += row["run_queue_ns"]
        assert ran_ns["hog"] > 0
        # Where others crowd this machine more than the hog, it is not the answer.
        if ran_ns["hog"] > 0.5 * ran_ns.total():
            assert "hog" in json.dumps(finding)

    attempted(scenario)


def test_a_process_by_number_until_it_ends(gnomon_process, standins, tmp_path):
    load = cudart.Load(standins)
    load.open(standins.runtime)
    try:
        load.run("call cudaStreamSynchronize 100000 0 20000000 0")
        done = gnomon_process(
            "trace", "-o", tmp_path / "run", "--pid", load.pid, "--duration", "3s"
        )
        assert done.returncode == 0, done.stderr
        assert calls_counted(tmp_path / "run", WAIT) > 5
    finally:
        load.close()


def test_a_helper_that_dies_is_told_and_started_again(start_gnomon, standins, tmp_path):
    load = cudart.Load(standins)
    load.open(standins.runtime)
    directory = tmp_path / "run"
    recorder = start_gnomon("trace", "-o", directory, "--pid", load.pid)
    try:
        assert wait_until(lambda: directory.is_dir() and rows(directory, "threads"))
        killed = helper_of(recorder.pid)
        os.kill(killed, signal.SIGKILL)
        assert wait_until(lambda: helper_of(recorder.pid) not in {None, killed})
        load.run("call cudaStreamSynchronize 100000 0 20000000 0")
        assert wait_until(lambda: calls_counted(directory, WAIT))
    finally:
        recorder.send_signal(signal.SIGINT)
        _, errors = recorder.communicate(timeout=30)
        load.close()

    assert recorder.returncode == 0, errors
    assert "gnomon-bpf ended with signal 9" in errors
    kinds = [row["kind"] for row in rows(directory, "events")]
    assert {"source_failed", "source_recovered"} <= set(kinds)


def test_a_recorder_that_is_killed_leaves_its_workload_and_a_readable_recording(
    start_gnomon, standins, tmp_path
):
    load = cudart.Load(standins)
    load.open(standins.runtime)
    directory = tmp_path / "run"
    recorder = start_gnomon("trace", "-o", directory, "--pid", load.pid)
    try:
        load.run("call cudaStreamSynchronize 100000 0 20000000 0")
        assert wait_until(lambda: directory.is_dir() and calls_counted(directory, WAIT))
        helper = helper_of(recorder.pid)
        recorder.kill()
        recorder.wait(30)

        assert wait_until(lambda: not psutil.pid_exists(helper))
        assert load.process.poll() is None
        assert rows(directory, "host_calls")
    finally:
        load.close()


@pytest.fixture
def without_privileges(environment, workload):
    """Run gnomon without what tracing needs."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv, to do without")

    def run(*arguments):
        return subprocess.run(
            [
                *("setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin"),
                *(sys.executable, "-m", "gnomon", *map(str, arguments)),
            ],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_without_the_privileges_the_rest_is_recorded_and_the_remedy_told(
    without_privileges, tmp_path
):
    run = tmp_path / "run"
    done = without_privileges("record", "--trace", "-o", run, "--duration", "1500ms")

    assert done.returncode == 0, done.stderr
    assert "not measured: trace: privileges: without CAP_" in done.stderr
    assert ("sudo setpriv" if IS_MULTI else "run as root") in done.stderr
    assert rows(run, "host_samples")


def test_who_asks_for_nothing_but_a_trace_is_refused_without_the_privileges(
    without_privileges, tmp_path
):
    mark = tmp_path / "mark"
    done = without_privileges("trace", "-o", tmp_path / "run", "--", "touch", mark)

    assert done.returncode == 1
    assert "cannot trace: privileges: without CAP_" in done.stderr
    assert ("sudo setpriv" if IS_MULTI else "run as root") in done.stderr
    assert not mark.exists()
    assert not (tmp_path / "run").exists()


def test_a_process_that_is_not_there_is_refused(gnomon, tmp_path):
    done = gnomon("trace", "-o", tmp_path / "run", "--pid", "4000000")

    assert done.returncode == 1
    assert "there is no process 4000000" in done.stderr
    assert not (tmp_path / "run").exists()


def test_somebody_must_be_named(gnomon, tmp_path):
    done = gnomon("trace", "-o", tmp_path / "run")

    assert done.returncode == 2
    assert "say whom to trace" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_workload_that_is_not_there(gnomon_process, tmp_path):
    done = gnomon_process("record", "--trace", "-o", tmp_path / "run", "--", "no-such-program")

    assert done.returncode == 127
    assert "no-such-program: no such command" in done.stderr
    assert "Traceback" not in done.stderr
