"""Helpers of the NVML, GPM and PM tests."""

import os

import pytest

from gnomon import tables


@pytest.fixture
def clock(monkeypatch):
    """A raw clock that moves only when told: clock.advance(seconds)."""
    from gnomon.sources import _gpm_sampler, _nvml_counters, gpm, nvml

    class Clock:
        now_ns = 10**12

        def advance(self, seconds):
            self.now_ns += round(seconds * 1e9)

    clock = Clock()
    for module in (_nvml_counters, nvml, _gpm_sampler, gpm):
        monkeypatch.setattr(module, "raw_ns", lambda: clock.now_ns)
    return clock


@pytest.fixture
def rows_of():
    """Return a function that takes one table's rows out of batches, checked against the table."""

    def rows(batches, table):
        for batch in batches:
            tables.batch(batch.table, batch.rows)  # raises for a column or a type of no table
        return [row for batch in batches if batch.table == table for row in batch.rows]

    return rows


@pytest.fixture
def opened():
    """Return a function that opens a source and closes it after the test."""
    sources = []

    def open_source(source):
        source.open()
        sources.append(source)
        return source

    yield open_source
    for source in sources:
        source.close()


@pytest.fixture(scope="session")
def built_pm(tmp_path_factory):
    """The real gnomon-pm with stand-ins for libcuda and libcupti."""
    from tests.standins import cupti

    return cupti.build(tmp_path_factory.mktemp("gnomon-pm"))


@pytest.fixture
def script(tmp_path):
    """What the stand-in of libcupti shall do."""
    from tests.sources.pm_script import Script

    script = Script(tmp_path / "script.txt")
    script.add("set gpus 1")
    return script


@pytest.fixture
def source(built_pm, nvml, script, tmp_path, monkeypatch):
    """A PmSource over the stand-ins, closed at the end."""
    from gnomon.sources import _pm_library
    from gnomon.sources._pm_asked import Asked
    from gnomon.sources.pm import PmSource
    from tests.sources.pm_script import INTERVAL_US, MS
    from tests.standins.cupti import LOG, SCRIPT

    # The test environment may hold a real libcupti, which would be found as well.
    standin = built_pm.libraries / "libcupti.so.13"
    monkeypatch.setattr(_pm_library, "candidates", lambda _environment: [standin])
    environment = {
        "PATH": os.environ["PATH"],
        "GNOMON_PM_HELPER": str(built_pm.helper),
        "LD_LIBRARY_PATH": str(built_pm.libraries),
        "CUDA_VISIBLE_DEVICES": "7",
        SCRIPT: str(script.path),
        LOG: str(tmp_path / "calls.log"),
    }
    source = PmSource(10 * MS, Asked(INTERVAL_US), environment=environment)
    yield source
    source.close()
