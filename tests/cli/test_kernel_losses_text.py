"""``gnomon kernels`` where counters were sampled: what loses most comes first."""

import json

import pytest

from tests.analysis import kernel_recordings as recordings
from tests.analysis.test_kernel_sol_report import operations, rows


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return recordings.record(tmp_path_factory.mktemp("run"), **rows(operations()))


@pytest.fixture
def run(gnomon, directory):
    def printed(*more):
        done = gnomon("kernels", directory, *more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return printed


def test_rows_say_what_holds_a_kernel_and_what_the_numbers_rest_on(run):
    text = run("--by", "shape")

    lines = text.splitlines()
    small, large = (
        next(at for at, line in enumerate(lines) if name in line)
        for name in ("gemm <16x1", "gemm <128x1")
    )
    assert small < large
    assert lines[large + 1].strip() == "tensor 90 %, clock-limited"
    assert "copy d2d: 203 in 14.3 ms, DRAM 88 %" in lines
    words = " ".join(text.split())  # lines are wrapped
    assert "samples of 50.0 us" in words
    assert "kernels moved by" in words


def test_json_is_in_the_same_order(run):
    told = json.loads(run("--by", "shape", "--json"))

    lost = [one["lost_pct"] for one in told["kernels"]]
    assert lost == sorted(lost, reverse=True)
    assert told["kernels"][0]["sol"]["verdict"]


def test_times_are_a_flag_away(run):
    assert "slow calls" in run("--times")


def test_kernels_stand_under_the_roofs(run):
    text = run("--by", "shape", "--roofline")

    assert "FLOP/s of one NVIDIA H200" in text
    assert "gemm <128x1x1, 256x1x1>" in text


def test_a_roofline_needs_counters(gnomon, tmp_path):
    tables = rows(operations(60)) | {"pm_samples": []}
    recordings.record(tmp_path, **tables)

    done = gnomon("kernels", tmp_path, "--roofline")

    assert done.returncode == 1
    assert "--counters cupti" in done.stderr
