"""One strange row, whatever stands in it, never takes the explanation of all others away."""

import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnomon import tables
from gnomon.analysis.questions import Span
from gnomon.analysis.timeline import timeline
from gnomon.detectors.picture import picture
from gnomon.detectors.report import explain_case, opened, whole
from gnomon.recording.reader import Recording
from gnomon.recording.writer import RecordingWriter
from tests.detectors.worlds import World

EDGES = {
    "int32": [-1, 0, (1 << 31) - 1, -(1 << 31)],
    "int64": [-1, 0, 1 << 53, 1 << 62, (1 << 63) - 1, -(1 << 63)],
    "float32": [-1.0, 0.0, 1e-45, 3e38, -3e38, float("inf"), float("nan")],
    "float64": [-1.0, 0.0, 5e-324, 1e300, -1e300, float("inf"), float("-inf"), float("nan")],
    "string": ["", "'", "{value} {0}", "\x00", "[]", "x" * 5000],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Half a second of training, with all that a recorder and its sources write of it."""
    return World.varied(0, "training", 0.5).record(tmp_path_factory.mktemp("world") / "r")


@st.composite
def strange(draw):
    """A table, and what stands in one of its rows beside what usually does."""
    table = draw(st.sampled_from(sorted(tables.TABLES)))
    columns = [one for one in tables.TABLES[table].columns if one.name != "ts_ns"]
    column = draw(st.sampled_from(columns))
    value = draw(st.none() | st.sampled_from(EDGES[column.type]))
    at_ns = draw(st.none() | st.sampled_from(EDGES["int64"]))
    return table, {column.name: value} | ({} if at_ns is None else {"ts_ns": at_ns})


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(one=strange())
def test_any_row_may_hold_anything(world, tmp_path, one):
    table, change = one
    path = tmp_path / "r"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(world.path, path)
    begin_ns, end_ns = world.bounds()
    usual = world.read(table).slice(0, 1).to_pylist() or [{"ts_ns": end_ns, "duration_ns": 1}]
    with RecordingWriter(path, "strange") as writer:
        writer.append(table, tables.batch(table, [usual[0] | change]))
    recording = Recording.open(path)

    with opened(recording, whole(recording.bounds())) as case:
        explanation = explain_case(case)
        picture(case)
    with opened(recording, Span(begin_ns, end_ns)) as case:
        threads = [one.thread for one in case.dispatch_threads]
        timeline(recording, case.session, case.scope, 100_000_000, threads)

    assert explanation.failed == {}
    json.dumps(explanation.to_json(), allow_nan=False)
