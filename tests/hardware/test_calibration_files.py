"""Where calibrations lie, and which one is a GPU's."""

import json

import pytest

from gnomon._errors import GnomonError
from gnomon.hardware import calibration_files


def write(state, uuid, name, created_ns):
    path = calibration_files.path_of(state, uuid)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"gpu_uuid": uuid, "gpu_name": name, "created_ns": created_ns}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_the_newest_of_a_kind_is_found_whatever_its_spelling(tmp_path):
    write(tmp_path, "GPU-1", "NVIDIA H200", 10)
    newer = write(tmp_path, "GPU-2", "NVIDIA H200", 20)
    write(tmp_path, "GPU-3", "NVIDIA H100 80GB HBM3", 30)

    assert calibration_files.newest(tmp_path, "nvidia h200").path == newer
    assert calibration_files.newest(tmp_path, "NVIDIA L40S") is None
    assert [one.created_ns for one in calibration_files.calibrations(tmp_path)] == [30, 20, 10]


def test_a_gpu_that_the_table_does_not_have_is_matched_by_its_name(tmp_path):
    path = write(tmp_path, "GPU-1", "NVIDIA Unheard 9000", 1)

    assert calibration_files.newest(tmp_path, "NVIDIA Unheard 9000").path == path


def test_without_a_directory_there_are_none(tmp_path):
    assert calibration_files.calibrations(tmp_path / "nothing") == ()


@pytest.mark.parametrize("content", ["not json", "[1]"])
def test_a_broken_file_is_named(tmp_path, content):
    path = write(tmp_path, "GPU-1", "NVIDIA H200", 1)
    path.write_text(content, encoding="utf-8")

    with pytest.raises(GnomonError, match="calibrations/GPU-1"):
        calibration_files.calibrations(tmp_path)
    assert calibration_files.load(write(tmp_path, "GPU-2", "x", 2))["created_ns"] == 2
