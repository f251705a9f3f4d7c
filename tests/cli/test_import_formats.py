import json

import pytest

from tests.recording.importers import kineto_files, nsys_files
from tests.recording.importers.test_counters import DCGMI, DMON_DATED, QUERY
from tests.recording.importers.test_ncu import RAW

BEGIN = ("--begin", "2026-01-31T12:00:00")


@pytest.fixture
def file_of(tmp_path):
    """Return a function that writes a file of a kind of import and returns its path."""

    def make(kind):
        path = tmp_path / f"{kind}.file"
        if kind == "kineto":
            return kineto_files.write(path, kineto_files.a_step())
        if kind == "nsys":
            return nsys_files.write(path)
        texts = {"ncu": RAW, "dmon": DMON_DATED, "query-gpu": QUERY, "dcgmi": DCGMI}
        path.write_text(texts[kind])
        return path

    return make


@pytest.mark.parametrize(("kind", "kernels"), [("kineto", 2), ("nsys", 1), ("ncu", 2)])
def test_what_was_imported_can_be_asked(gnomon, tmp_path, file_of, kind, kernels):
    output = tmp_path / "run"

    done = gnomon("import", kind, file_of(kind), "-o", output)

    assert done.returncode == 0, done.stderr
    assert f"{kernels} kernels" in done.stdout
    asked = gnomon("query", output, "SELECT count(*) AS n FROM kernels", "--json")
    assert json.loads(asked.stdout) == [{"n": kernels}]
    assert "recorded for" in gnomon("kernels", output).stdout
    assert gnomon("timeline", output).returncode == 0


@pytest.mark.parametrize(
    ("kind", "options", "readings"),
    [
        ("dmon", ("--timezone", "Asia/Seoul", "--gpu", "H100-SXM5-80GB"), 4),
        ("query-gpu", (), 2),
        ("dcgmi", (*BEGIN, "--period", "500ms"), 3),
    ],
)
def test_readings_are_summed_up(gnomon, tmp_path, file_of, kind, options, readings):
    output = tmp_path / "run"

    done = gnomon("import", kind, file_of(kind), "-o", output, *options, "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"]["gpu_counters"] == readings
    assert "GPU 0" in gnomon("summary", output).stdout


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("dcgmi", (), "--begin"),
        ("dcgmi", ("--begin", "-30s"), "Unix nanoseconds"),
        ("dmon", ("--timezone", "Mars/Olympus"), "no time zone"),
        ("dmon", ("--gpu", "H9000"), "H9000"),
        ("ncu", ("--begin", "noon"), "not a time"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(gnomon, tmp_path, file_of, kind, options, message):
    done = gnomon("import", kind, file_of(kind), "-o", tmp_path / "run", *options)

    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
