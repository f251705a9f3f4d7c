"""Every source keeps the protocol; the collector calls all of it."""

import importlib

import pytest

from gnomon.configuration import Settings
from gnomon.sources import SOURCES
from gnomon.sources.base import Source

VERBS = sorted(name for name in vars(Source) if not name.startswith("_"))


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_has_every_verb_a_name_and_a_period(name):
    source = importlib.import_module(f"gnomon.sources.{name}").create(Settings())

    assert source.name == name
    assert source.period_ns > 0
    assert {"check", "open", "describe", "warnings", "read", "close"} <= set(VERBS)
    assert all(callable(getattr(source, verb, None)) for verb in VERBS)
