"""The stand-in GPU, compiled once."""

import pytest

from tests.lab.scenarios import standin
from tests.standins.cudart import build


@pytest.fixture(scope="session")
def standin_folder(tmp_path_factory):
    """Return the folder of the compiled libraries."""
    folder = tmp_path_factory.mktemp("cudart")
    build(folder)
    return folder


@pytest.fixture
def gpu_name(standin_folder, monkeypatch):
    """Return what ``--gpu`` takes for it, here and in subprocesses."""
    monkeypatch.setenv(standin.FOLDER, str(standin_folder))
    return "tests.lab.scenarios.standin:create"
