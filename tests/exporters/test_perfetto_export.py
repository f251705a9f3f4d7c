"""Traces of real and simulated recordings, compared with SQL over the same rows."""

import io
from collections import Counter

import pytest

from gnomon.analysis.questions import Span
from gnomon.detectors.report import explain, whole
from gnomon.exporters import rows
from gnomon.exporters.perfetto_export import export
from gnomon.exporters.rows import Chosen
from gnomon.recording.importers.ingero import import_ingero
from gnomon.recording.reader import Recording
from gnomon.recording.together import Together
from tests.analysis import kernel_recordings as kernels
from tests.detectors.worlds import World
from tests.exporters.traces import Trace

SLICES_SQL = """\
SELECT ts_ns - duration_ns AS begin_ns, ts_ns AS end_ns, {name} AS name, count(*)::BIGINT AS many
FROM {table} WHERE duration_ns IS NOT NULL GROUP BY ALL"""
WEIGHTS_SQL = " UNION ALL ".join(
    f"SELECT weight FROM {table} WHERE weight <> 1"
    for table in ("host_calls", "nccl_calls", "off_cpu")
)
IN_TIME = (
    "kernels",
    "copies",
    "gpu_synchronizations",
    "host_calls",
    "nccl_calls",
    "off_cpu",
    "ranges",
    "kernel_windows",
)
CLASSES = {"CPU queue", "disk", "sleep or lock", "off the CPU"}


def _exported(recording, span=None, gpu_uuid=None, **more):
    out = io.BytesIO()
    chosen = Chosen(span or whole(recording.bounds()), gpu_uuid)
    done = export(recording, chosen, out, hosts={}, **more)
    return done, Trace(out.getvalue())


def _counted(slices):
    return Counter((one.begin_ns, one.end_ns, one.name) for one in slices)


def _in_sql(recording, table, name="operation"):
    with recording.session() as session:
        found = session.rows(SLICES_SQL.format(table=table, name=name))
    return Counter({(row["begin_ns"], row["end_ns"], row["name"]): row["many"] for row in found})


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The kernels and PM samples of an H200."""
    directory = tmp_path_factory.mktemp("measured")
    return Recording.open(kernels.record(directory, **kernels.measured()))


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Two ranks on two hosts that train, one of which reads from a disk for a while."""
    known = {"step_ns": 40_000_000, "counters": True, "follow": "all", "classes": True}
    world = World(5, "training", 4, ranks=2, hosts=2, **known)
    world = world.with_fault("io_wait", 0.5, from_s=1, to_s=3)
    return world.record(tmp_path_factory.mktemp("world") / "job")


def test_every_measured_kernel_is_a_slice_on_its_stream(measured):
    done, trace = _exported(measured)
    streams = [one for one in trace.slices if "stream" in trace.name(one.track)]
    names = "(SELECT any_value(mangled_name) FROM kernel_names WHERE name_hash = k.name_hash)"

    assert _counted(streams) == _in_sql(measured, "kernels AS k", names)
    assert done.written["kernels"] == len(streams) == 1994
    assert done.left_out == {}
    assert {trace.path(one.track)[0] for one in streams} == {
        f"GPU 0, NVIDIA H200, {kernels.GPU_UUID}"
    }


def test_sampled_counters_read_what_was_sampled(measured):
    _, trace = _exported(measured)
    found = trace.counter("PM samples", "tensor active")
    samples = measured.read("pm_samples", columns=["ts_ns", "duration_ns", "tensor_active_pct"])
    value, place = None, 0
    for row in samples.to_pylist():
        begin_ns = row["ts_ns"] - row["duration_ns"]
        while place < len(found) and found[place][0] <= begin_ns:
            value, place = found[place][1], place + 1
        assert value == row["tensor_active_pct"]


def test_calls_collectives_and_stays_are_those_of_the_recording(job):
    done, trace = _exported(job)
    calls = [one for one in trace.slices if "layer" in one.args or "communicator" in one.args]
    stays = [one for one in trace.slices if one.name in CLASSES]

    assert _counted(calls) == _in_sql(job, "host_calls") + _in_sql(job, "nccl_calls")
    assert Counter((begin, end) for begin, end, _ in _counted(stays).elements()) == Counter(
        (begin, end) for begin, end, _ in _in_sql(job, "off_cpu", "state").elements()
    )
    assert "disk" in {one.name for one in stays}
    assert done.written["host_calls"] + done.written["nccl_calls"] == len(calls)
    told = [one.args["weight"] for one in calls + stays if one.args.get("weight", 1) != 1]
    with job.session() as session:
        found = session.rows(WEIGHTS_SQL)
    assert sorted(told) == sorted(row["weight"] for row in found)
    assert done.written["sampled"] == len(told) > 0


def test_ranks_hosts_and_threads_have_their_names(job):
    _, trace = _exported(job, has_findings=False)
    processes = [one.process for one in trace.tracks.values() if one.HasField("process")]
    with job.session() as session:
        known = session.rows("SELECT * FROM threads WHERE role IS NULL")

    assert {(one.pid, one.process_name) for one in processes} == {
        (row["pid"], f"{row['process_name']}, rank {row['rank']}, {row['host']}") for row in known
    }
    threads = {(one.thread.tid, one.thread.thread_name) for one in trace.tracks.values()}
    assert threads >= {(row["tid"], row["name"]) for row in known}
    assert (900, "gnomon (observer)") in threads


def test_findings_stand_where_they_were_found(job):
    _, trace = _exported(job)
    said = explain(job, whole(job.bounds())).findings
    found = trace.named("findings")

    assert Counter((one.begin_ns, one.end_ns) for one in found) == Counter(
        (one.from_ns, one.to_ns) for one in said
    )
    worst = next(one for one in found if one.args["cause"] == said[0].cause)
    assert worst.args["remedy"] == said[0].remedy
    assert worst.args["evidence_1"] == said[0].evidence[0].text


def test_a_part_of_one_gpu_has_only_that(job):
    begin_ns, end_ns = job.bounds()
    span = Span(begin_ns, (begin_ns + end_ns) // 2)
    (gpu, *_) = sorted(job.meta().gpus)
    done, trace = _exported(job, span, gpu, has_findings=False)
    with job.session() as session:
        (row,) = session.rows(f"SELECT count(*) AS many FROM off_cpu WHERE {span.condition}")

    assert done.written["off_cpu"] == row["many"]
    assert len([one for one in trace.tracks.values() if one.name.startswith("GPU")]) == 1
    assert {one.args.get("gpu_uuid", gpu) for one in trace.slices} == {gpu}


def test_parts_are_put_together_without_a_seam(job, monkeypatch):
    _, whole_trace = _exported(job, has_findings=False)
    monkeypatch.setattr(rows, "ROWS_AT_ONCE", 100)
    _, trace = _exported(job, has_findings=False)

    assert _counted(trace.slices) == _counted(whole_trace.slices)
    assert {one: len(found) for one, found in trace.readings.items()} == {
        one: len(found) for one, found in whole_trace.readings.items()
    }


def test_an_import_without_processes_is_exported_whole(tmp_path):
    file = kernels.MEASURED.parent / "ingero" / "sample-gpu-node-01.db"
    import_ingero(file, tmp_path / "run", lambda *_: None)
    recording = Recording.open(tmp_path / "run")
    done, trace = _exported(recording)
    calls = [one for one in trace.slices if "layer" in one.args]

    assert _counted(calls) == _in_sql(recording, "host_calls")
    assert len(trace.instants) == done.written["events"]


def test_recordings_of_several_hosts_are_one_trace(tmp_path):
    world = World(5, "training", 1, ranks=2, hosts=2, counters=True, follow="all")
    recordings = world.record_each(tmp_path)
    _, trace = _exported(Together(recordings), has_findings=False)
    calls = [one for one in trace.slices if "layer" in one.args]

    each = (_in_sql(one, "host_calls") for one in recordings)
    assert _counted(calls) == sum(each, Counter())
    processes = {trace.path(one.track)[0] for one in calls}
    assert {one.rpartition(", ")[2] for one in processes} == set(world.hosts)


def test_rows_of_nobody_and_of_any_time_have_a_place(tmp_path):
    details = '{"half a letter": "\\ud800", "large": 100000000000000000000, "list": [1]}'
    begins = {"ts_ns": kernels.BEGIN_NS, "name": "load", "edge": "begin", "detail": details}
    nothing = {"ts_ns": 5, "duration_ns": 10}
    rows_of = {table: [nothing] for table in IN_TIME}
    rows_of |= {"phases": [begins], "events": [{"ts_ns": 6}]}
    recording = Recording.open(kernels.record(tmp_path, **rows_of))
    done, trace = _exported(recording, Span(0, kernels.BEGIN_NS), has_findings=False)

    assert done.left_out == {}
    assert {(one.begin_ns, one.end_ns) for one in trace.slices} == {
        (0, 5),
        (kernels.BEGIN_NS, kernels.BEGIN_NS),
    }
    (phase,) = trace.named("phases")
    assert phase.args == {"half a letter": "?", "large": f"{10**20}", "list": "[1]"}


def _range(begin_us, end_us, name):
    ts_ns = kernels.BEGIN_NS + end_us * kernels.US
    duration_ns = (end_us - begin_us) * kernels.US
    about = {"process_id": kernels.PROCESS_ID, "pid": kernels.PID, "tid": 1, "name": name}
    return about | {"ts_ns": ts_ns, "duration_ns": duration_ns}


def test_ranges_are_nested_marks_have_no_length_and_waits_lie_beside_their_stream(tmp_path):
    at = kernels.US
    rows_of = {
        "ranges": [_range(0, 100, "step"), _range(0, 40, "forward"), _range(50, 50, "mark")],
        # As with programmatic dependent launch: the second begins while the first one ends.
        "kernels": [kernels.kernel(0, 10 * at), kernels.kernel(9 * at, 10 * at)],
        "gpu_synchronizations": [kernels.kernel(0, 19 * at, operation="stream")],
        "kernel_windows": [kernels.window(0, 100 * at)],
        "kernel_names": kernels.named("gemm"),
    }
    del rows_of["gpu_synchronizations"][0]["name_hash"]
    _, trace = _exported(Recording.open(kernels.record(tmp_path, **rows_of)), has_findings=False)

    depths = {one.name: one.depth for one in trace.named("ranges")}
    assert depths == {"step": 0, "forward": 1}
    assert [one.name for one in trace.instants] == ["mark"]
    gemms = [one for one in trace.slices if one.name == "gemm"]
    assert [one.depth for one in gemms] == [0, 0]
    assert len({one.track for one in gemms}) == 2
    stream = "stream 7{} (context 1, process 4242)"
    assert {trace.name(one.track) for one in gemms} == {stream.format("")}
    (wait,) = trace.named(stream.format(", waits for it"))
    assert (wait.name, wait.end_ns - wait.begin_ns) == ("stream wait", 19 * at)
    assert [one.name for one in trace.named("kernels were recorded")] == ["window"]
