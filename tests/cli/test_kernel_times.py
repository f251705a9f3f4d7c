"""``gnomon kernels --gaps`` and ``--steps``."""

import json

import pytest

from tests.analysis.gpu_timelines import Timeline, trained

WIDTH = 80


@pytest.fixture
def recorded(tmp_path):
    line, _, edges = trained(30)
    for number, begin in enumerate(edges[:-1].tolist()):
        line.range(begin, int(edges[number + 1]), f"step {number}")
        line.range(begin, begin + 200_000, "data\x1b[31m")
    return line.record(tmp_path / "run")


def test_gaps_are_told_with_their_reasons(gnomon, recorded):
    found = gnomon("kernels", recorded, "--gaps")

    assert found.returncode == 0, found.stderr
    assert max(map(len, found.stdout.splitlines())) <= WIDTH
    assert "29 gaps between kernels" in found.stdout
    assert "after a synchronization" in found.stdout
    assert "adam_update > gemm_nn" in found.stdout
    assert "no thread was traced" in found.stdout


def test_steps_are_told_once_and_nothing_moves_the_cursor(gnomon, recorded):
    found = gnomon("kernels", recorded, "--steps")

    assert found.returncode == 0, found.stderr
    assert "ranges named 'step N' tell them" in found.stdout
    assert "data?[Nm" in found.stdout
    assert "every step: 1.0 x 1.0 MB copy h2d" in found.stdout
    (line,) = (one for one in found.stdout.splitlines() if one.endswith("step N"))
    assert line.split()[0] == "30"


@pytest.mark.parametrize("view", ["gaps", "steps"])
def test_programs_get_all_of_it(gnomon, recorded, view):
    (gpu,) = json.loads(gnomon("kernels", recorded, f"--{view}", "--json").stdout)["gpus"]

    parts = gpu["reasons"].values() if view == "gaps" else gpu["steps"]["families"].values()
    assert sum(parts) >= (gpu["total_ns"] if view == "gaps" else gpu["steps"]["compute_ns"])


def test_without_a_window_nothing_is_claimed(gnomon, tmp_path):
    line = Timeline()
    line.kernel(0, 1000)
    found = gnomon("kernels", line.record(tmp_path / "run"), "--gaps")

    assert found.returncode == 1
    assert "no kernel ran in a window" in found.stderr
