"""The table of kernels as a user sees it."""

import io
import json

import pytest
from rich.console import Console

from gnomon.analysis.kernel_types import By
from gnomon.analysis.kernels import kernel_table
from gnomon.analysis.questions import Span
from gnomon.cli.kernels_text import print_kernels
from gnomon.recording.reader import Recording
from tests.analysis.kernel_recordings import (
    BEGIN_NS,
    GPU_UUID,
    MS,
    SECOND,
    US,
    kernel,
    measured,
    named,
    record,
    window,
)

LAUNCH = {"grid_x": 8, "grid_y": 4, "grid_z": 1, "block_x": 128, "block_y": 1, "block_z": 1}
NAMES = ("nvjet_sm90_tst_128x256_64x4_1x2_h_bz_coopA_TNT", "triton_poi_fused_add_mul_2")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two kernels by turns, of which one takes a hundred times as long now and then."""
    kernels = [
        kernel(place * MS, (500 if place in (20, 40) else 5) * US, NAMES[place % 2], **LAUNCH)
        for place in range(100)
    ]
    path = tmp_path_factory.mktemp("kernels") / "run"
    windows = [window(0, 100 * MS, dropped=2)]
    return record(path, kernels=kernels, kernel_names=named(*NAMES), kernel_windows=windows)


@pytest.fixture(scope="module")
def h200(tmp_path_factory):
    return record(tmp_path_factory.mktemp("kernels") / "h200", **measured())


def test_the_kernel_that_took_most_comes_first(gnomon, recorded):
    done = gnomon("kernels", recorded)
    lines = done.stdout.splitlines()
    first, second = (line for line in lines if line.endswith(NAMES))

    assert done.returncode == 0
    assert first.endswith(NAMES[0])
    assert "2 x 100" in first
    assert "2 x 100" not in second
    assert "2 operations were lost" in done.stdout


def test_the_measured_recording_says_how_long_a_kernel_ran(gnomon, h200):
    done = gnomon("kernels", h200, "--times")

    assert "1,994 kernels, recorded for 8.1 s; a kernel ran 34.2 % of that" in done.stdout


def test_shapes_and_families_have_rows_of_their_own(gnomon, recorded):
    by_shape = gnomon("kernels", recorded, "--by", "shape").stdout
    by_family = gnomon("kernels", recorded, "--by", "family").stdout

    assert f"<<<8x4x1, 128x1x1>>> {NAMES[0]}" in by_shape
    families = [line.split()[-1] for line in by_family.splitlines()]
    assert families.index("gemm") < families.index("elementwise")


def test_json_has_what_the_table_has_and_says_what_it_left_out(gnomon, recorded):
    document = json.loads(gnomon("kernels", recorded, "--json", "--limit", "1").stdout)
    (row,) = document["kernels"]

    assert (document["left_out"], document["dropped"], document["is_windowed"]) == (1, 2, True)
    assert (row["name"], row["family"], row["count"], row["outliers"]) == (NAMES[0], "gemm", 50, 2)


def test_a_part_of_the_time_and_one_gpu(gnomon, recorded):
    whole = json.loads(gnomon("kernels", recorded, "--json").stdout)
    part = json.loads(gnomon("kernels", recorded, "--to", "50ms", "--gpu", "0", "--json").stdout)

    assert sum(row["count"] for row in whole["kernels"]) == 100
    assert sum(row["count"] for row in part["kernels"]) == 50
    assert [gpu["uuid"] for gpu in part["gpus"]] == [GPU_UUID]


def test_a_gpu_that_ran_none_is_refused_by_name(gnomon, recorded):
    done = gnomon("kernels", recorded, "--gpu", "7")

    assert done.returncode == 2
    assert f"--gpu 7: no GPU of this name; recorded are: {GPU_UUID}" in done.stderr


def test_families_of_ones_own_are_named_in_the_configuration(
    gnomon, recorded, environment, tmp_path
):
    file = tmp_path / "families.toml"
    file.write_text("[[rules]]\nfamily = 'sampling'\npatterns = ['nvjet']\n")
    environment["GNOMON_KERNEL_FAMILIES_FILE"] = str(file)
    document = json.loads(gnomon("kernels", recorded, "--json").stdout)

    assert document["kernels"][0]["family"] == "sampling"


def test_without_kernels_it_says_how_to_record_them(gnomon, h200_recording):
    for more in ((), ("--gpu", "0")):
        done = gnomon("kernels", h200_recording, *more)

        assert done.returncode == 1
        assert "no kernels are recorded here; `gnomon record" in done.stderr


def test_nothing_in_the_windows_and_nothing_in_the_range_are_told_apart(gnomon, tmp_path):
    path = record(tmp_path / "idle", kernel_windows=[window(0, SECOND)])
    late = record(tmp_path / "late", kernels=[kernel(0, US)], kernel_windows=[window(0, SECOND)])

    assert "none ran in those windows" in gnomon("kernels", path).stderr
    assert "between --from and --to" in gnomon("kernels", late, "--from", "500ms").stderr


def test_json_without_kernels_is_an_empty_list(gnomon, h200_recording):
    assert json.loads(gnomon("kernels", h200_recording, "--json").stdout)["kernels"] == []


@pytest.mark.parametrize("width", [80, 100, 140])
def test_on_a_terminal_lines_fit_and_the_name_has_room(recorded, width):
    span = Span(BEGIN_NS - 1, BEGIN_NS + SECOND)
    table = kernel_table(Recording.open(recorded), span, By.NAME)
    out = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    print_kernels(table, 10, out)
    lines = out.file.getvalue().splitlines()

    assert max(map(len, lines)) <= width
    assert any(line.find("nvjet_sm90_tst_128x256") > 0 for line in lines)


def test_a_name_cannot_move_the_cursor(gnomon, tmp_path):
    path = record(
        tmp_path / "run", kernels=[kernel(0, US, "a\x1b[2Jb")], kernel_names=named("a\x1b[2Jb")
    )

    assert "\x1b" not in gnomon("kernels", path).stdout
