"""Published recordings against numbers worked out by others; made ones against brute force."""

import hashlib
from pathlib import Path

import pytest

from gnomon._errors import RecordingError
from gnomon.recording.importers.ingero import import_ingero
from gnomon.recording.reader import Recording

from .ingero_files import PID, SECOND, T0, event, launch, read, stay, write

PUBLISHED = Path(__file__).parents[2] / "data" / "ingero"
VLLM = "vllm-37343-logprobs-amplification"
NODE_01, NODE_02 = "sample-gpu-node-01", "sample-gpu-node-02"
# file, operation: count, nearest-rank p50, p95 and p99, longest, sum in ns
CALLS = {
    (VLLM, "cudaLaunchKernel"): (550, 20300, 152152, 5079382, 70847581, 169962071),
    (VLLM, "cudaStreamSynchronize"): (24, 4460, 15640, 16880, 16880, 150502),
    (VLLM, "cudaDeviceSynchronize"): (10, 19709, 4720968, 4720968, 4720968, 9368380),
    (VLLM, "cudaMemcpyAsync"): (734, 30871, 49180, 63529, 8837610, 32292844),
    (VLLM, "cuLaunchKernel"): (1672, 18340, 40451, 137192, 604307, 32583538),
    (VLLM, "cuCtxSynchronize"): (10, 7269, 4711397, 4711397, 4711397, 9210792),
    (VLLM, "sendto"): (31, 59170, 79681, 96791, 96791, 1661453),
    (VLLM, "recvfrom"): (63, 90550, 175142, 250052, 250052, 5953407),
    (NODE_01, "block_read"): (98, 757932, 1128943, 1197837, 1197837, 74193441),
    (NODE_02, "cuMemAlloc"): (40, 119866, 139704, 154134, 154134, 4862118),
    (NODE_02, "block_write"): (98, 968944, 1359227, 1540832, 1540832, 99475352),
}
OFF_CPU = {
    VLLM: (7757, 31900, 212543, 100119224, 4470958409, 15060305378),
    NODE_01: (99, 762296, 1140305, 1207757, 1207757, 75141782),
    NODE_02: (62, 50061156, 50069015, 50077951, 50077951, 3103797436),
}
SPREAD = """
    SELECT n::BIGINT, d[ceil(0.5 * n)::INT], d[ceil(0.95 * n)::INT], d[ceil(0.99 * n)::INT],
           d[-1], list_sum(d)::BIGINT
    FROM (SELECT count(*) AS n, list(duration_ns ORDER BY duration_ns) AS d FROM {})
"""


def ask(recording, query):
    """The rows of a query, as tuples."""
    return [tuple(row.values()) for row in recording.sql(query).to_pylist()]


def row(recording, query):
    (found,) = ask(recording, query)
    return found


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """The published files by name, imported; nobody writes to them."""
    directory = tmp_path_factory.mktemp("ingero")
    for file in PUBLISHED.glob("*.db"):
        import_ingero(file, directory / file.stem)
    return {name: Recording.open(directory / name) for name in OFF_CPU}


@pytest.fixture
def imported(tmp_path):
    """Return a function that writes a file, imports it and opens the recording."""

    def make(events, **others):
        file = write(tmp_path / "made.db", events, **others)
        import_ingero(file, tmp_path / "recording")
        return Recording.open(tmp_path / "recording")

    return make


@pytest.mark.parametrize(("file", "operation"), CALLS)
def test_the_spread_of_each_operation_is_the_published_one(published, file, operation):
    of = f"host_calls WHERE operation = '{operation}'"

    assert row(published[file], SPREAD.format(of)) == CALLS[file, operation]


@pytest.mark.parametrize("file", OFF_CPU)
def test_the_spread_of_stays_off_the_cpu_is_the_published_one(published, file):
    assert row(published[file], SPREAD.format("off_cpu")) == OFF_CPU[file]


@pytest.mark.parametrize(
    ("operation", "off_cpu_ns"),
    [("cudaLaunchKernel", 5296514), ("cuLaunchKernel", 1756385), ("cudaMemcpyAsync", 159871),
     ("cudaStreamSynchronize", 0), ("cudaDeviceSynchronize", 0), ("cuCtxSynchronize", 0)],
)  # fmt: skip
def test_calls_hold_the_time_that_their_thread_was_off_the_cpu(published, operation, off_cpu_ns):
    query = f"SELECT sum(off_cpu_ns)::BIGINT FROM host_calls WHERE operation = '{operation}'"

    assert row(published[VLLM], query) == (off_cpu_ns,)


def test_copies_have_their_bytes_and_direction(published):
    query = """SELECT direction, count(*), sum(bytes)::BIGINT FROM host_calls
               WHERE direction IS NOT NULL GROUP BY 1 ORDER BY 1"""

    assert ask(published[VLLM], query) == [
        ("d2d", 276, 161673460), ("d2h", 11, 1700), ("h2d", 447, 1035545)
    ]  # fmt: skip


def test_slow_launches_are_first_ones_of_their_function(published):
    query = """SELECT first_call, count(*), sum(duration_ns)::BIGINT FROM host_calls
               WHERE operation = 'cudaLaunchKernel' AND duration_ns > 1e6 GROUP BY 1 ORDER BY 1"""

    assert ask(published[VLLM], query) == [(0, 1, 3004988), (1, 9, 141956694)]


def test_stays_of_a_thread_know_its_process(published):
    query = "SELECT pid, count(*), sum(duration_ns)::BIGINT FROM off_cpu GROUP BY 1 ORDER BY 1"

    assert ask(published[VLLM], query) == [(72783, 114, 8921749487), (72801, 7643, 6138555891)]


def test_waiting_for_a_disk_is_told_by_the_reads_of_the_thread_itself(published):
    query = "SELECT count(io_ns), sum(io_ns)::BIGINT, count(run_queue_ns) FROM off_cpu"

    assert row(published[NODE_01], query) == (98, 73728367, 0)
    assert row(published[NODE_02], query) == (0, None, 0)
    sizes = "SELECT sum(bytes)::BIGINT FROM host_calls WHERE operation = 'block_read'"
    assert row(published[NODE_01], sizes) == (6443008,)


def test_what_the_recorder_did_itself_is_marked(published):
    query = """SELECT count(*), sum(duration_ns)::BIGINT FROM host_calls SEMI JOIN
               (SELECT * FROM threads WHERE role = 'observer') USING (host, tid)"""

    assert row(published[NODE_02], query) == (33, 39947078)
    (message,) = row(
        published[NODE_02], "SELECT message FROM events WHERE kind = 'observer_effect'"
    )
    assert "33 block_write (39,947,078 ns" in message


def test_what_was_cut_off_before_is_counted_and_then_no_call_counts_as_first(published):
    lost = 'SELECT "rows", reason FROM losses'

    assert ask(published[NODE_02], lost) == [(353, "pruned")]
    assert row(published[NODE_02], "SELECT count(*) FROM host_calls WHERE first_call = 1") == (0,)


def test_only_the_first_seconds_and_what_is_always_kept_are_all_there(published):
    query = """SELECT DISTINCT operation, selection, weight FROM host_calls
               WHERE ts_ns > 1774099498e9 AND layer = 'cuda_runtime' ORDER BY 1"""

    assert ask(published[VLLM], query) == [
        ("cudaDeviceSynchronize", "all", 1.0),
        ("cudaLaunchKernel", "biased", None),
        ("cudaMemcpyAsync", "biased", None),
        ("cudaStreamSynchronize", "all", 1.0),
    ]
    before = "SELECT DISTINCT selection FROM host_calls WHERE ts_ns < 1774099495e9"
    assert ask(published[VLLM], before) == [("all",)]
    kinds = "SELECT count(*) FROM events WHERE kind = 'biased_selection'"
    assert row(published[VLLM], kinds) == (1,)


def test_snapshots_stacks_and_sessions_come_along(published):
    vllm = published[VLLM]
    # Facts: 52 readings, mean 24.9 and highest 56.8 %; 110 stacks without Python frames.
    assert row(vllm, "SELECT count(*), round(avg(cpu_pct), 1), round(max(cpu_pct), 1) "
                     "FROM host_samples") == (52, 24.9, 56.8)  # fmt: skip
    assert row(vllm, "SELECT count(DISTINCT stack_hash) FROM stacks") == (110,)
    assert row(vllm, "SELECT DISTINCT kind FROM stacks") == ("native",)
    assert row(vllm, "SELECT (max(ts_ns) - min(ts_ns))::BIGINT FROM events WHERE kind LIKE "
                     "'recording_%'") == (60187189917,)  # fmt: skip
    assert vllm.meta().host["gpu_model"] == "NVIDIA GeForce RTX 4090, 24564 MiB"


def test_the_file_is_not_changed(published, tmp_path):
    for file in PUBLISHED.glob("*.db"):
        copy = tmp_path / file.name
        copy.write_bytes(file.read_bytes())
        import_ingero(copy, tmp_path / file.stem)

        assert hashlib.sha256(copy.read_bytes()).digest() == (
            hashlib.sha256(file.read_bytes()).digest()
        )
    assert {path.suffix for path in tmp_path.iterdir()} == {".db", ""}


@pytest.mark.parametrize("version", ["0.8", "0.9", "0.10"])
def test_every_version_of_the_format(imported, version):
    found = imported(
        [launch(0, 10, arg0=7, arg1=9, node="a", rank=3, world_size=8, comm="loader"),
         event(20, 1, 1, 5, arg0=64, arg1=0x7F00)],
        version=version,
    )  # fmt: skip

    has_nodes = version != "0.8"
    assert row(found, "SELECT ts_ns, address, stream, bytes, host, rank FROM host_calls "
                      "WHERE operation = 'cudaLaunchKernel'") == (
        T0 + 10, 7, 9, None, "a" if has_nodes else None, 3 if has_nodes else None
    )  # fmt: skip
    malloc = "SELECT bytes, address FROM host_calls WHERE operation = 'cudaMalloc'"
    assert row(found, malloc) == (64, 0x7F00)
    names = ask(found, "SELECT name FROM threads WHERE name IS NOT NULL")
    assert names == ([("loader",)] if version == "0.10" else [])
    assert found.meta().versions["ingero_format"] == version


def test_where_an_older_build_keeps_the_pointer_is_no_address(imported):
    found = imported(
        [event(0, 1, 1, 5, arg0=64, arg1=0x7F00)],
        sessions=[{"started_at": T0, "stopped_at": 0, "ingero_ver": "v0.15.1"}],
    )

    assert row(found, "SELECT address FROM host_calls") == (None,)


def test_where_the_scheduler_was_not_recorded_overlap_is_null_and_never_zero(imported):
    worker = {"tid": PID + 1}
    found = imported(
        [launch(0, 100), stay(10, 20), launch(0, 100, **worker),
         # A worker's stays are kept in the first seconds alone.
         stay(200, 210, **worker), launch(190, 50, **worker),
         launch(20 * SECOND, 100, **worker), launch(20 * SECOND, 100)]
    )  # fmt: skip

    query = "SELECT tid, off_cpu_ns FROM host_calls ORDER BY tid, ts_ns"
    assert ask(found, query) == [(100, 10), (100, 0), (101, 0), (101, 10), (101, None)]
    query = "SELECT tid, off_cpu_selection FROM threads ORDER BY tid"
    assert ask(found, query) == [(100, "all"), (101, "biased")]


def test_a_summary_of_switches_makes_overlap_unknown(imported):
    found = imported([launch(0, 100), stay(10, 20), event(50, 3, 21, arg0=40, tid=7)])

    assert row(found, "SELECT off_cpu_ns FROM host_calls") == (None,)
    assert row(found, "SELECT tid, calls FROM call_histograms") == (PID, 40)


def test_a_wake_up_begins_the_wait_for_a_cpu_and_names_who_woke(imported):
    found = imported(
        [launch(0, 1000), read(50, 300), event(600, 3, 2, pid=7, tid=8, arg1=PID),
         stay(100, 700, arg1=44)]
    )  # fmt: skip

    query = (
        "SELECT off_cpu_ns, io_ns, run_queue_ns, voluntary_ns FROM host_calls WHERE bytes IS NULL"
    )
    assert row(found, query) == (600, 200, 100, None)
    query = "SELECT waker_pid, waker_tid, preemptor_tid, io_ns, run_queue_ns FROM off_cpu"
    assert row(found, query) == (7, 8, 44, 200, 100)


def test_the_own_id_in_place_of_who_ran_before_is_nobody(imported):
    found = imported([launch(0, 10), stay(20, 30, arg1=PID), stay(40, 50, arg1=0)])

    assert ask(found, "SELECT preemptor_tid FROM off_cpu") == [(None,), (0,)]


def test_a_socket_call_is_told_of_at_its_end(imported):
    found = imported([launch(0, 1), stay(110, 140), event(200, 7, 2, 100, arg1=64)])

    query = "SELECT ts_ns, duration_ns, off_cpu_ns, bytes FROM host_calls WHERE layer = 'socket'"
    assert row(found, query) == (T0 + 200, 100, 30, 64)


def test_calls_inside_calls(imported):
    found = imported([event(0, 1, 3, 100), event(0, 4, 1, 50), event(60, 4, 1, 10), launch(200, 5)])

    query = """SELECT operation, depth, parent_operation FROM host_calls
               ORDER BY ts_ns - duration_ns, depth"""
    assert ask(found, query) == [
        ("cudaLaunchKernel", 0, None),
        ("cuLaunchKernel", 1, "cudaLaunchKernel"),
        ("cuLaunchKernel", 1, "cudaLaunchKernel"),
        ("cudaLaunchKernel", 0, None),
    ]


def test_aggregates_that_contradict_the_rows_are_told(imported):
    minute = T0 - T0 % (60 * SECOND)
    about = {"bucket": minute, "source": 1, "pid": PID, "sum_dur": 50, "min_dur": 1, "max_dur": 9,
             "sum_arg0": 0}  # fmt: skip
    found = imported(
        [launch(n * 10, 5) for n in range(4)] + [event(100, 1, 5, 3)],
        event_aggregates=[
            about | {"op": 3, "count": 3, "stored": 3},
            about | {"op": 5, "count": 9, "stored": 7},
            about | {"op": 7, "count": 5, "stored": 0, "sum_arg0": 640},
        ],
    )

    messages = [m for (m,) in ask(found, "SELECT message FROM events WHERE kind = 'inconsistent'")]
    assert len(messages) == 2
    assert any("aggregates below rows: cudaLaunchKernel has 1 more" in m for m in messages)
    assert any("stored above rows: of cudaStreamSynchronize 6 rows" in m for m in messages)
    assert ask(found, 'SELECT "rows", reason FROM losses') == [(6, "lost_by_recorder")]
    query = """SELECT ts_ns, calls, calls_stored, shortest_ns, longest_ns, total_ns, bytes
               FROM call_histograms WHERE operation = 'cudaMemcpyAsync'"""
    assert row(found, query) == (minute + 60 * SECOND, 5, 0, 1, 9, 50, 640)


def test_stays_that_overlap_are_not_counted_twice_and_told(imported):
    found = imported([launch(0, 100), stay(10, 50), stay(20, 60)])

    assert row(found, "SELECT off_cpu_ns FROM host_calls") == (50,)
    assert row(found, "SELECT count(*) FROM events WHERE kind = 'inconsistent'") == (1,)


def test_two_hosts_in_one_file_share_no_thread(imported):
    found = imported(
        [launch(0, 100, node="a"), stay(10, 30, node="a"), launch(0, 100, node="b")],
        process_names=[{"pid": PID, "name": "train"}],
    )

    query = "SELECT host, off_cpu_ns FROM host_calls ORDER BY 1"
    assert ask(found, query) == [("a", 20), ("b", None)]
    assert ask(found, "SELECT DISTINCT name FROM threads") == [(None,)]


def test_what_happened_and_what_was_marked(imported):
    found = imported(
        [event(0, 3, 7, arg1=101), event(5, 3, 4, arg1=55), launch(6, 1),
         event(9, 6, 1, arg0=(0x0100007F << 32) | 0x0200000A)],
        annotations=[{"timestamp": T0, "labels": '{"phase":"warm"}', "pid": PID,
                      "span_start": T0 + 1, "span_end": T0 + 9}],
        cgroup_metadata=[{"cgroup_id": 1, "container_id": "c"}],
    )  # fmt: skip

    query = "SELECT kind, new_value FROM events WHERE kind NOT LIKE 'rec%' ORDER BY ts_ns"
    assert ask(found, query) == [
        ("thread_started", "101"), ("oom_kill", "55"), ("tcp_retransmit", None)
    ]  # fmt: skip
    (message,) = row(found, "SELECT message FROM events WHERE kind = 'tcp_retransmit'")
    assert "from 127.0.0.1 to 10.0.0.2" in message
    assert ask(found, "SELECT name, edge, ts_ns FROM phases ORDER BY ts_ns") == [
        ("warm", "begin", T0 + 1), ("warm", "end", T0 + 9)
    ]  # fmt: skip
    assert row(found, "SELECT parent_tid FROM threads WHERE tid = 101") == (PID,)


def test_python_frames_and_bare_addresses(imported):
    frames = (
        '[{"pf":"a.py","pfn":"step","pl":7},{"i":"0xffffffffffffffff","s":"f","f":"x.so","l":3}]'
    )
    found = imported(
        [launch(0, 1, stack_hash=5)],
        stack_traces=[{"hash": 5, "ips": "", "frames": frames},
                      {"hash": 6, "ips": '["0x10"]', "frames": ""},
                      {"hash": 7, "ips": "", "frames": "[" * 100_000}],
    )  # fmt: skip

    query = """SELECT stack_hash, depth, kind, symbol, module, file, line, address FROM stacks
               ORDER BY 1, 2"""
    assert ask(found, query) == [
        (5, 0, "python", "step", None, "a.py", 7, None),
        (5, 1, "native", "f", "x.so", None, 3, -1),
        (6, 0, "native", None, None, None, None, 16),
    ]


def test_rows_that_make_no_sense_are_left_out_and_counted(imported):
    found = imported(
        [launch(0, 1), launch(1, -5), launch(2, "long"), launch(3, 1, pid=-1), event(4, 99, 1),
         launch(-T0, 1), launch(5, 1, tid=1 << 40)]
    )  # fmt: skip

    lost = 'SELECT reason, sum("rows")::INT FROM losses GROUP BY 1 ORDER BY 1'
    assert ask(found, lost) == [("unknown_operation", 1), ("unreadable", 5)]
    assert row(found, "SELECT count(*) FROM host_calls") == (1,)


def test_no_more_calls_wait_than_fit(imported, monkeypatch):
    monkeypatch.setattr("gnomon.recording.importers.ingero_events.MOST_WAITING", 10)
    monkeypatch.setattr("gnomon.recording.importers.ingero.ROWS_AT_ONCE", 20)
    found = imported([*(launch(n, 1) for n in range(100)), stay(200, 10_000_000)])

    known, all_of_them = row(found, "SELECT count(off_cpu_ns), count(*) FROM host_calls")
    assert known < all_of_them == 100
    (message,) = row(found, "SELECT message FROM events WHERE kind = 'not_recorded'")
    assert f"{100 - known} calls were too many to wait" in message


def test_a_failure_half_way_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_arguments):
        raise RecordingError("disk on fire")

    monkeypatch.setattr("gnomon.recording.importers.ingero_rows.thread_names", fail)
    file = write(tmp_path / "made.db", [launch(0, 1)])

    with pytest.raises(RecordingError, match="on fire"):
        import_ingero(file, tmp_path / "new" / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["made.db"]


def test_a_directory_in_use_is_left_as_it_is(tmp_path):
    file = write(tmp_path / "made.db", [launch(0, 1)])

    for directory in (tmp_path, file):
        with pytest.raises(RecordingError, match="is not empty"):
            import_ingero(file, directory)
    assert [path.name for path in tmp_path.iterdir()] == ["made.db"]


def test_the_recording_lasts_as_long_as_its_calls_and_stays_off_the_cpu(tmp_path):
    """Its snapshots of the host last a second; the events around them are what is asked about."""
    target = tmp_path / "run"
    import_ingero(PUBLISHED / f"{NODE_01}.db", target)
    recording = Recording.open(target)

    begin_ns, end_ns = recording.bounds()

    ts_ns = [
        at_ns
        for table in ("host_calls", "off_cpu")
        for at_ns in recording.read(table, columns=["ts_ns"]).column("ts_ns").to_pylist()
    ]
    assert begin_ns <= min(ts_ns)
    assert end_ns == max(ts_ns)
