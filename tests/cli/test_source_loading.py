import threading
import time
from types import SimpleNamespace

import pytest

from gnomon.cli import source_loading
from gnomon.sources.base import Capability


def source(name, check):
    return SimpleNamespace(name=name, check=check)


def raising(error):
    def call(*_):
        raise error

    return call


@pytest.fixture
def factories(monkeypatch):
    def use(**made):
        monkeypatch.setattr(
            source_loading, "_factories", lambda: {n: lambda m=m: m for n, m in made.items()}
        )

    return use


def test_settings_reach_every_source(factories):
    factories(one=lambda settings: ("one", settings), two=lambda settings: ("two", settings))

    assert source_loading.create_sources("S") == ([("one", "S"), ("two", "S")], {})


def test_a_source_that_cannot_be_made_does_not_take_the_others_along(factories):
    factories(bad=raising(ImportError("no pynvml")), good=lambda _: "good")

    made, broken = source_loading.create_sources(None)

    assert made == ["good"]
    assert not broken["bad"].ready
    assert "no pynvml" in broken["bad"].reason
    assert broken["bad"].remedy


def test_a_source_that_hangs_is_told_and_delays_nobody():
    never = threading.Event()
    ready = Capability(ready=True)
    started = time.monotonic()

    answers = source_loading.check_all(
        [source("hangs", never.wait), source("works", lambda: ready), source("too", never.wait)],
        timeout_s=0.2,
    )
    took_s = time.monotonic() - started
    never.set()

    assert answers["works"] is ready
    assert not answers["hangs"].ready
    assert "did not answer within 0.2 s" in answers["hangs"].reason
    assert took_s < 5  # not the sum of all waits: two hanging sources share one deadline


def test_a_check_that_raises_is_told():
    answers = source_loading.check_all([source("bad", raising(ValueError("odd")))])

    assert not answers["bad"].ready
    assert "odd" in answers["bad"].reason


def test_another_package_adds_a_source(monkeypatch):
    made = SimpleNamespace(name="other", load=lambda: lambda settings: ("other", settings))
    monkeypatch.setattr(source_loading.metadata, "entry_points", lambda group: [made])
    monkeypatch.setattr(source_loading, "SOURCES", ())

    assert source_loading.create_sources("S") == ([("other", "S")], {})
