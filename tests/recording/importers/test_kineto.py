import json
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon._errors import RecordingError
from gnomon.recording.importers import json_stream
from gnomon.recording.importers.kineto import import_kineto

from .kineto_files import BASE_NS, PID, a_step, document, kernel, launch, operation, span, write
from .recordings import meta, rows

WRITTEN_BY_TORCH = Path(__file__).parents[2] / "data" / "kineto" / "torch-2.13-cpu.json"


@pytest.fixture
def imported(tmp_path):
    """Return a function that imports events and returns the recording and the outcome."""

    def run(events, name="trace.json", **facts):
        output = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        return output, import_kineto([write(tmp_path / name, events, **facts)], output)

    return run


def test_a_step_becomes_rows_of_every_kind(imported):
    output, outcome = imported(a_step())

    assert outcome.rows == {
        "kernels": 2, "kernel_names": 2, "copies": 2, "gpu_synchronizations": 1, "host_calls": 3,
        "ranges": 3, "threads": 1, "kernel_windows": 1,
    }  # fmt: skip
    assert outcome.left_out == {"cpu_op": 1, "ac2g": 1}
    assert outcome.warnings == []
    (window,) = rows(output, "kernel_windows")
    assert (window["ts_ns"], window["duration_ns"]) == (BASE_NS + 2_060_000, 2_010_000)
    assert window["records"] == 5
    assert rows(output, "threads")[0]["name"] == "python"


def test_times_of_kernels_are_exact_and_their_call_is_found_by_correlation(imported):
    output, _ = imported(a_step())

    first, node = rows(output, "kernels")

    assert first["ts_ns"] == BASE_NS + 160_625
    assert first["duration_ns"] == 20_500
    assert first["enqueued_ns"] == BASE_NS + 120_000
    assert (first["grid_x"], first["block_x"], first["registers_per_thread"]) == (1056, 128, 32)
    assert (first["shared_bytes"], first["static_shared_bytes"]) == (4096, None)
    assert first["theoretical_occupancy_pct"] == 50
    assert (first["graph_id"], first["graph_node_id"]) == (None, None)
    assert (node["graph_id"], node["graph_node_id"]) == (2, 8589934593)
    assert node["enqueued_ns"] == BASE_NS + 150_000


def test_calls_know_what_is_around_them(imported):
    output, _ = imported(a_step())

    calls = {call["operation"]: call for call in rows(output, "host_calls")}

    assert calls["cudaLaunchKernel"]["depth"] == 0
    assert calls["cuLaunchKernel"]["depth"] == 1
    assert calls["cuLaunchKernel"]["parent_operation"] == "cudaLaunchKernel"
    assert calls["cuLaunchKernel"]["layer"] == "cuda_driver"
    assert {(call["pid"], call["tid"], call["host"]) for call in calls.values()} == {
        (PID, PID, "node-1")
    }


def test_annotations_are_ranges_and_those_of_gpus_have_no_thread(imported):
    output, _ = imported(a_step())

    told = {(one["name"], one["domain"]): one for one in rows(output, "ranges")}

    assert told["forward", None]["depth"] == 1
    assert told["forward", None]["tid"] == PID
    assert told["forward", "gpu"]["tid"] is None
    assert told["step", None]["duration_ns"] == 900_000


def test_copies_and_waits_are_in_words_of_ours(imported):
    output, _ = imported(a_step())

    copy, fill = rows(output, "copies")
    (wait,) = rows(output, "gpu_synchronizations")

    assert (copy["direction"], copy["source_memory"], copy["bytes"]) == ("h2d", "pinned", 1 << 20)
    assert (fill["operation"], fill["destination_memory"]) == ("memset", "device")
    assert (wait["operation"], wait["event_id"], wait["stream_id"]) == ("stream_wait", 7777, None)


@pytest.mark.parametrize(
    ("blocks", "threads", "occupancy", "waves"), [(8, 128, 50, 1.0), (16, 128, 100, 0.5)]
)
def test_occupancy_is_worked_out_where_the_trace_says_how_many_blocks_fit(
    imported, blocks, threads, occupancy, waves
):
    detail = {"activeBlocksPerMultiprocessor": blocks, "limitingFactors": "BLOCKS"}
    event = kernel(1, 1, 1, block=[threads, 1, 1], grid=[1056, 1, 1], occupancy=detail)

    output, _ = imported([event])
    (row,) = rows(output, "kernels")

    # 64 warps fit on an SM of an H100, and it has 132 SMs.
    assert row["theoretical_occupancy_pct"] == occupancy
    assert row["waves"] == waves
    assert row["occupancy_limiter"] == "blocks"


def test_a_copy_between_gpus_names_the_other_one(imported):
    ends = {"fromDevice": 0, "inDevice": 0, "toDevice": 1, "bytes": 8}
    event = operation("gpu_memcpy", "Memcpy PtoP (Device -> Device)", 1, 1, **ends)

    output, _ = imported([event, kernel(2, 1, 1, device=1)])
    (copy,), (row,) = rows(output, "copies"), rows(output, "kernels")

    assert copy["peer_gpu_uuid"] == row["gpu_uuid"] != copy["gpu_uuid"]


def test_ranks_have_gpus_and_processes_of_their_own(tmp_path):
    files = [
        write(tmp_path / f"rank{rank}.json.gz", a_step(),
              distributedInfo={"backend": "nccl", "rank": rank, "world_size": 2})
        for rank in (0, 1)
    ]  # fmt: skip

    import_kineto(files, tmp_path / "job")

    kernels = rows(tmp_path / "job", "kernels")
    assert len({row["gpu_uuid"] for row in kernels}) == 2
    assert len({row["process_id"] for row in kernels}) == 2
    assert {call["rank"] for call in rows(tmp_path / "job", "host_calls")} == {0, 1}


def test_meta_says_what_it_is_of_and_what_was_not_verified(imported):
    output, _ = imported(a_step())
    told = meta(output)

    ((uuid, facts),) = told.gpus.items()
    assert uuid.startswith("GPU-")
    assert facts["name"] == "NVIDIA H100"
    assert (facts["sm_count"], facts["compute_capability"]) == (132, "9.0")
    assert told.host["imported_from"] == "trace.json"
    assert "not against a trace of a workload" in told.host["unverified"]
    assert told.versions["cuda_driver"] == "13000"


def test_the_same_trace_gives_the_same_names(imported):
    first, _ = imported(a_step())
    second, _ = imported(a_step())

    assert rows(first, "kernels") == rows(second, "kernels")


def test_traces_from_before_base_times_and_lower_case_are_read(imported):
    """Until 2023 ts counted from 1970, until 2022 categories were called Kernel and Runtime."""
    began_us = BASE_NS // 1000
    events = [
        span("Runtime", "cudaLaunchKernel", began_us, 3, {"correlation": 4}),
        span("Kernel", "k", began_us + 10, 5, {"device": 0, "correlation": 4}, pid=0, tid=7),
    ]

    output, _ = imported(events, baseTimeNanoseconds=None, host_name=None)
    (row,) = rows(output, "kernels")

    assert row["ts_ns"] == BASE_NS + 15_000
    assert row["enqueued_ns"] == BASE_NS


def test_the_base_time_may_come_after_the_events(tmp_path):
    trace = document([kernel(1, 1, 1)])
    trace["baseTimeNanoseconds"] = trace.pop("baseTimeNanoseconds")
    (tmp_path / "t.json").write_text(json.dumps(trace))

    import_kineto([tmp_path / "t.json"], tmp_path / "run")

    assert rows(tmp_path / "run", "kernels")[0]["ts_ns"] == BASE_NS + 2_000


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (kernel("soon", 1, 1), "ts is soon"),
        (kernel(1, -1, 1), "dur is -1"),
        (kernel(1, 1, 1, name=""), "no name"),
        (span("kernel", "k", 1, 1, {}, pid="GPU"), "names no device"),
        (launch(1, 1, 1) | {"tid": "main"}, "tid is main"),
        (operation("cuda_sync", "Nap", 1, 1), "no kind of wait"),
    ],
)
def test_a_bad_event_is_counted_told_and_the_rest_is_read(imported, event, reason):
    output, outcome = imported([event, *a_step()])

    assert outcome.rows["kernels"] == 2
    assert outcome.left_out["unreadable"] == 1
    assert reason in outcome.warnings[0]
    assert rows(output, "losses")[0]["rows"] == 1


def test_a_trace_without_a_gpu_is_read_and_says_so(imported):
    _, outcome = imported([span("user_annotation", "step", 1, 2)])

    assert "no GPU did anything" in outcome.warnings[0]


def test_a_trace_that_torch_wrote(tmp_path):
    """torch 2.13 on a CPU: matrix product in `step`, ReLU in `inner`; no GPU was there."""
    outcome = import_kineto([WRITTEN_BY_TORCH], tmp_path / "run")

    step, inner = sorted(rows(tmp_path / "run", "ranges"), key=lambda one: one["depth"])
    (window,) = rows(tmp_path / "run", "kernel_windows")

    assert outcome.left_out["cpu_op"] == 10
    assert [(step["name"], step["depth"]), (inner["name"], inner["depth"])] == [
        ("step", 0), ("inner", 1),
    ]  # fmt: skip
    # ts 4451370350156.739 and dur 9169.869, in microseconds since baseTimeNanoseconds.
    assert step["ts_ns"] == 1790857026000000000 + 4451370350156739 + 9169869
    assert (step["duration_ns"], inner["duration_ns"]) == (9169869, 161081)
    assert step["pid"] == step["tid"] == 18743
    assert window["duration_ns"] == 4451370359515724 - 4451370349879833


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "ends too early"),
        (b"hello", "not a JSON document"),
        (b'{"traceEvents": []}', "no traceEvents"),
        (b'{"a": 1}', "no traceEvents"),
        (b'{"traceEvents": [3]}', "no events"),
        (b'{"traceEvents": [{"ph": "X"} {"ph": "X"}]}', "where a comma"),
        (b'{"traceEvents": [{"ph": "X", "cat": ]}', "is no JSON"),
        (b'{"traceEvents": ' + b"[" * 200_000, "nested too deeply"),
        (b'"Entity"', "not a JSON document"),
        (b"# gpu pwr\n# Idx W\n0 3\n", "gnomon import dmon"),
        (b"SQLite format 3\0", "gnomon import nsys"),
        (b"\x1f\x8b\x08\x00broken", "damaged or cut off"),
    ],
)
def test_what_is_no_trace_is_refused_by_name_and_nothing_is_left(tmp_path, content, message):
    (tmp_path / "t.json").write_bytes(content)

    with pytest.raises(RecordingError, match=r"t\.json") as caught:
        import_kineto([tmp_path / "t.json"], tmp_path / "run")

    assert message in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["t.json"]


def test_relative_times_are_refused(imported):
    with pytest.raises(RecordingError, match="no Unix times"):
        imported([kernel(1, 1, 1)], baseTimeNanoseconds=None)


def test_a_file_that_was_cut_off_is_refused_with_the_place(tmp_path):
    whole = write(tmp_path / "t.json", a_step()).read_bytes()
    (tmp_path / "t.json").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(RecordingError, match=r"at character [\d,]+, after \d+ events"):
        import_kineto([tmp_path / "t.json"], tmp_path / "run")


def test_the_same_trace_twice_is_refused(tmp_path):
    first = write(tmp_path / "a.json", a_step())
    second = write(tmp_path / "b.json", a_step())

    for files in ([first, first], [first, second]):
        with pytest.raises(RecordingError, match="the same trace"):
            import_kineto(files, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@given(cut=st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_the_size_of_the_window_changes_nothing(tmp_path_factory, cut):
    path = tmp_path_factory.getbasetemp() / "window.json"
    expected = document(a_step())
    path.write_text(json.dumps(expected, indent=1))
    facts = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK_CHARACTERS", cut)
        found = list(json_stream.JsonStream(path, "traceEvents").read(facts.__setitem__))

    assert json.loads(json.dumps(found, default=float)) == expected.pop("traceEvents")
    assert facts == expected


@pytest.mark.parametrize("seed", range(12))
def test_any_mutation_is_read_or_refused_by_name(tmp_path, seed):
    chance = random.Random(seed)
    content = json.dumps(document(a_step())).encode()
    path = tmp_path / "mutated.json"
    for number in range(40):
        data = bytearray(content)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(data))
            data[at] = chance.choice(b'{}[],:"0123456789eE.-x\x00\xff')
        if number % 5 == 0:
            del data[chance.randrange(len(data)) :]
        path.write_bytes(data)
        complaint = None
        try:
            import_kineto([path], tmp_path / f"run{number}")
        except RecordingError as error:
            complaint = str(error)
        assert complaint is None or "mutated.json" in complaint
