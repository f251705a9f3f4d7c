"""Helpers of the NVML and GPM tests."""

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
