"""Which libcupti is taken: found wherever CUDA lies about, never newer than the driver."""

import subprocess

import pytest

from gnomon._errors import SourceError
from gnomon.sources import _pm_library as library
from tests.standins import cupti


def put(folder, name="libcupti.so.13", *, complete=True):
    folder.mkdir(parents=True)
    (folder / name).write_text(str(folder))
    if complete:
        (folder / "libnvperf_host.so").touch()
    return folder / name


def test_every_usual_place_is_looked_at(tmp_path):
    ours = put(tmp_path / "ours/nvidia/cu13/lib")
    active = put(tmp_path / "venv/lib/python3.12/site-packages/nvidia/cuda_cupti/lib")
    target = put(tmp_path / "torch/lib/python3.12/site-packages/nvidia/cu13/lib")
    home = put(tmp_path / "home/extras/CUPTI/lib64")
    toolkit = put(tmp_path / "root/usr/local/cuda-13.0/extras/CUPTI/lib64")
    linked = put(tmp_path / "elsewhere")
    python = tmp_path / "torch/bin/python3"
    python.parent.mkdir()
    python.touch(mode=0o755)
    environment = {
        "VIRTUAL_ENV": str(tmp_path / "venv"),
        "PATH": str(python.parent),
        "CUDA_HOME": str(tmp_path / "home"),
        "LD_LIBRARY_PATH": f"{linked.parent}:",
    }
    found = library.candidates(environment, root=tmp_path / "root", path=[str(tmp_path / "ours")])

    assert [ours, active, target, home, toolkit, linked] == found[:6]


def test_one_library_by_several_names_is_listed_once(tmp_path):
    real = put(tmp_path / "a/nvidia/cu13/lib", "libcupti.so.2025.3.1")
    (real.parent / "libcupti.so.13").symlink_to(real.name)
    found = library.candidates({"PATH": ""}, root=tmp_path, path=[str(tmp_path / "a")])

    assert len([path for path in found if tmp_path in path.parents]) == 1


def test_a_library_without_its_companions_is_passed_over(tmp_path):
    put(tmp_path / "a/nvidia/cu13/lib", complete=False)
    found = library.candidates({"PATH": ""}, root=tmp_path, path=[str(tmp_path / "a")])

    assert not [path for path in found if tmp_path in path.parents]


@pytest.mark.parametrize(
    ("driver", "expected"), [(13000, 13000), (12090, 12060), (13030, 13010), (12060, 12060)]
)
def test_the_highest_not_newer_than_the_driver(tmp_path, driver, expected):
    versions = {tmp_path / str(version): version for version in (12060, 13000, 0, 13010, 13040)}
    chosen = library.choose(versions, driver, versions.__getitem__)

    assert chosen == library.Library(tmp_path / str(expected), expected)


def test_only_newer_libraries_say_what_to_install(tmp_path):
    with pytest.raises(SourceError) as caught:
        library.choose([tmp_path / "libcupti.so.13"], 12080, lambda _path: 13000)

    assert "12.6 to 12.8" in caught.value.reason
    assert "(13.0)" in caught.value.reason
    assert caught.value.remedy == 'pip install "nvidia-cuda-cupti-cu12<=12.8.999"'


def test_a_driver_of_cuda_13_takes_the_package_without_suffix():
    assert library.install(13000) == 'pip install "nvidia-cuda-cupti<=13.0.999"'


def test_a_driver_before_pm_sampling():
    with pytest.raises(SourceError, match=r"CUDA 12\.4 has no PM sampling"):
        library.choose([], 12040, lambda _path: 0)


@pytest.mark.parametrize(
    ("api_version", "cuda"),
    [(24, 12060), (26, 12080), (28, 12090), (130001, 13000), (130300, 13030), (18, 0)],
)
def test_the_library_itself_tells_its_version(built_pm, tmp_path, api_version, cuda):
    """The numbers are those of the list in cupti_version.h."""
    path = tmp_path / "libcupti.so.13"
    strict = ["-std=c++17", "-O0", *cupti.cuda_includes()]
    subprocess.run(cupti.library_command(path, api_version, strict), check=True)

    assert library.ask_version(built_pm.helper, path) == cuda


def test_what_is_no_library_has_no_version(built_pm, tmp_path):
    (tmp_path / "libcupti.so.13").write_text("not an ELF file")

    assert library.ask_version(built_pm.helper, tmp_path / "libcupti.so.13") == 0
    assert library.ask_version(tmp_path / "no-helper", tmp_path / "libcupti.so.13") == 0
