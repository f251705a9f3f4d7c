import random
import sqlite3

import pytest

from gnomon._errors import RecordingError
from gnomon.recording.importers.nsys import import_nsys

from .nsys_files import BEGIN_NS, CALL, GPU, KERNEL, ON_GPU, PID, RANGE, TID, UUID, write
from .recordings import meta, rows


@pytest.fixture
def imported(tmp_path):
    """Return a function that writes an export, imports it and returns recording and outcome."""

    def run(begin_ns=None, **tables):
        path = write(tmp_path / "run.sqlite", **tables)
        return tmp_path / "run", import_nsys(path, tmp_path / "run", begin_ns=begin_ns)

    return run


def test_an_export_becomes_rows_of_every_kind(imported):
    output, outcome = imported()

    assert outcome.rows == {
        "kernels": 1, "kernel_names": 1, "copies": 2, "gpu_synchronizations": 1, "host_calls": 2,
        "ranges": 3, "threads": 1, "kernel_windows": 1,
    }  # fmt: skip
    assert outcome.left_out == {}
    (window,) = rows(output, "kernel_windows")
    assert (window["duration_ns"], window["records"], window["pid"]) == (8_500, 4, PID)
    assert rows(output, "threads")[0]["name"] == "main"


def test_a_kernel_has_its_sizes_its_gpu_and_the_call_that_enqueued_it(imported):
    output, _ = imported()

    (kernel,) = rows(output, "kernels")
    (name,) = rows(output, "kernel_names")

    assert (kernel["ts_ns"], kernel["duration_ns"]) == (BEGIN_NS + 5_500, 3_500)
    assert kernel["enqueued_ns"] == BEGIN_NS + 1_000
    assert (kernel["grid_x"], kernel["grid_y"], kernel["block_x"]) == (8, 4, 256)
    assert (kernel["static_shared_bytes"], kernel["dynamic_shared_bytes"]) == (1024, 2048)
    assert (kernel["registers_per_thread"], kernel["local_bytes_per_thread"]) == (64, 16)
    assert kernel["gpu_uuid"] == f"GPU-{UUID}"
    assert kernel["name_hash"] == name["name_hash"]
    assert (name["name"], name["mangled_name"]) == ("void gemm<float>(float*)", "_Z4gemmIfEvPT_")


def test_serialized_ids_are_taken_apart_and_calls_nest(imported):
    output, _ = imported()

    outer, inner = sorted(rows(output, "host_calls"), key=lambda call: call["depth"])

    assert (outer["operation"], outer["layer"]) == ("cudaLaunchKernel", "cuda_runtime")
    assert (outer["pid"], outer["tid"], outer["return_code"]) == (PID, TID, 0)
    assert (inner["operation"], inner["layer"]) == ("cuLaunchKernel", "cuda_driver")
    assert inner["parent_operation"] == "cudaLaunchKernel"


def test_ranges_have_domains_depths_and_marks_no_length(imported):
    output, _ = imported()

    told = {one["name"]: one for one in rows(output, "ranges")}

    assert (told["step"]["depth"], told["step"]["domain"]) == (0, None)
    assert (told["registered"]["depth"], told["registered"]["domain"]) == (1, "NCCL")
    assert told["mark"]["duration_ns"] == 0


def test_copies_fills_and_waits_are_in_words_of_ours(imported):
    output, _ = imported()

    copy, fill = rows(output, "copies")
    (wait,) = rows(output, "gpu_synchronizations")

    assert (copy["direction"], copy["source_memory"]) == ("h2d", "pinned")
    assert copy["destination_memory"] == fill["destination_memory"] == "device"
    assert (wait["operation"], wait["duration_ns"]) == ("stream", 600)


def test_a_process_that_sees_one_gpu_of_two_calls_it_by_another_index(imported):
    second = GPU | {"id": 1, "uuid": "GPU-second", "cuDevice": 1}
    seen = [{"gpuId": 1, "cudaId": 0, "pid": PID}]

    output, _ = imported(TARGET_INFO_GPU=[GPU, second], TARGET_INFO_CUDA_DEVICE=seen)

    assert rows(output, "kernels")[0]["gpu_uuid"] == "GPU-second"


def test_the_session_may_have_to_be_dated_by_hand(imported):
    absent = {"TARGET_INFO_SESSION_START_TIME": None}

    with pytest.raises(RecordingError, match="--begin"):
        imported(**absent)


def test_what_the_user_says_of_the_session_counts(imported):
    output, _ = imported(begin_ns=BEGIN_NS + 7, TARGET_INFO_SESSION_START_TIME=None)

    assert rows(output, "kernels")[0]["ts_ns"] == BEGIN_NS + 5_507


def test_an_export_of_an_older_version_lacks_tables_and_columns(tmp_path):
    path = write(tmp_path / "old.sqlite", NVTX_EVENTS=None, TARGET_INFO_CUDA_DEVICE=None)
    with sqlite3.connect(path) as db:
        for column in ("mangledName", "globalPid"):
            db.execute(f"ALTER TABLE CUPTI_ACTIVITY_KIND_KERNEL DROP COLUMN {column}")
    db.close()

    import_nsys(path, tmp_path / "run")
    (kernel,) = rows(tmp_path / "run", "kernels")

    assert (kernel["pid"], kernel["enqueued_ns"]) == (PID, BEGIN_NS + 1_000)
    assert rows(tmp_path / "run", "kernel_names")[0]["mangled_name"] is None
    assert rows(tmp_path / "run", "ranges") == []


@pytest.mark.parametrize(
    ("table", "row", "reason"),
    [
        ("CUPTI_ACTIVITY_KIND_KERNEL", KERNEL | {"end": 1}, "start is 2000, end 1"),
        ("CUPTI_ACTIVITY_KIND_KERNEL", KERNEL | {"start": "x"}, "start is x"),
        ("CUPTI_ACTIVITY_KIND_KERNEL", KERNEL | {"demangledName": 77, "shortName": 78}, "no name"),
        ("CUPTI_ACTIVITY_KIND_RUNTIME", CALL | {"globalTid": None}, "no thread"),
        ("CUPTI_ACTIVITY_KIND_SYNCHRONIZATION",
         ON_GPU | {"start": 1, "end": 2, "syncType": 9, "eventId": 0}, "no kind of wait"),
        ("NVTX_EVENTS", RANGE | {"text": None}, "no text"),
    ],
)  # fmt: skip
def test_a_bad_row_is_counted_told_and_the_rest_is_read(imported, table, row, reason):
    output, outcome = imported(**{table: [row]})

    assert outcome.left_out == {"unreadable": 1}
    assert reason in outcome.warnings[0]
    assert rows(output, "kernel_windows")


def test_an_open_range_and_a_diagnosis_are_told(imported):
    said = {"timestamp": 5, "severity": 3, "text": "buffers were lost"}

    _, outcome = imported(
        NVTX_EVENTS=[RANGE, RANGE | {"end": None}], DIAGNOSTIC_EVENT=[said, said | {"severity": 1}]
    )

    assert outcome.left_out == {"range_without_end": 1}
    assert outcome.warnings == ["Nsight Systems says: buffers were lost"]


def test_meta_says_that_no_real_export_was_tried(imported):
    output, _ = imported()
    told = meta(output)

    assert "never tried on a real export" in told.host["unverified"]
    assert told.host["name"] == "node-1"
    assert told.gpus[f"GPU-{UUID}"]["sm_count"] == 132
    assert told.versions["nsys_schema"] == "3.16.1"


def test_another_database_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "x.db") as db:
        db.execute("CREATE TABLE events (a)")
    db.close()

    with pytest.raises(RecordingError, match="tables found: events"):
        import_nsys(tmp_path / "x.db", tmp_path / "run")


@pytest.mark.parametrize("seed", range(8))
def test_any_mutation_is_read_or_refused_by_name(tmp_path, seed):
    chance = random.Random(seed)
    content = write(tmp_path / "good.sqlite").read_bytes()
    path = tmp_path / "mutated.sqlite"
    for number in range(30):
        data = bytearray(content)
        for _ in range(chance.randint(1, 5)):
            at = chance.randrange(100, len(data))
            data[at] = chance.choice([0, 1, 6, 7, 127, 128, 255])
        if number % 6 == 0:
            del data[chance.randrange(len(data)) :]
        path.write_bytes(data)
        complaint = None
        try:
            import_nsys(path, tmp_path / f"run{number}")
        except RecordingError as error:
            complaint = str(error)
        assert complaint is None or "mutated.sqlite" in complaint
