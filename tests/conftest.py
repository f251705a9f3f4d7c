"""Fixtures that several rooms' tests share."""

import ctypes

import pytest
from hypothesis import HealthCheck, settings

from tests.standins import Scenario, build_nvml
from tests.standins.scenario import VARIABLE

# A busy machine is no failure: how long an example takes is never asserted.
settings.register_profile("gnomon", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gnomon")


@pytest.fixture(scope="session")
def nvml_standin(tmp_path_factory):
    """Path of a compiled libnvidia-ml.so.1 that answers from a Scenario."""
    return build_nvml(tmp_path_factory)


@pytest.fixture(scope="session")
def nvml_standin_470(tmp_path_factory):
    """The same of an old driver, without the GPM entry points."""
    return build_nvml(tmp_path_factory, with_gpm=False)


@pytest.fixture
def use_nvml(monkeypatch, tmp_path):
    """Return a function that puts a stand-in under pynvml in this process, and its Scenario."""
    import pynvml

    from gnomon.sources import _nvml_session

    libraries = []

    def use(library, gpus=1):
        scenario = Scenario(tmp_path / "scenario.txt", gpus)
        monkeypatch.setenv(VARIABLE, str(scenario.path))
        libraries.append(ctypes.CDLL(str(library)))
        monkeypatch.setattr(pynvml, "nvmlLib", libraries[-1])
        # Each test its own pointers and session: nothing of one library stays for the next.
        monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
        monkeypatch.setattr(_nvml_session, "SESSION", _nvml_session.Session())
        return scenario

    yield use
    for library in libraries:
        while library.nvmlShutdown() == 0:
            pass  # a test that failed half-way left it open


@pytest.fixture
def nvml(use_nvml, nvml_standin):
    """A Scenario of one H200 under pynvml in this process."""
    return use_nvml(nvml_standin)
