import pytest

from gnomon.tui import figures
from gnomon.tui.figures import MISSING


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [
        (None, 1, MISSING),
        (0.0, 1, "0.0"),
        (-0.0, 1, "0.0"),
        (-0.01, 1, "0.0"),
        (0.01, 1, "<0.1"),
        (0.3, 0, "<1"),
        (55.46, 1, "55.5"),
        (-2.25, 1, "-2.2"),
        (100.0, 0, "100"),
    ],
)
def test_percents_show_nothing_as_0_but_nothing(value, digits, shown):
    assert figures.pct(value, digits) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, MISSING), (0.0, "0 B/s"), (1.5e3, "1.5 kB/s"), (74.7e6, "74.7 MB/s"),
     (3.26e9, "3.3 GB/s"), (4245e9, "4,245 GB/s")],
)  # fmt: skip
def test_rates(value, shown):
    assert figures.rate(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7260, "2 h"),
        (300_000, "3 d"),
    ],
)
def test_spans(seconds, shown):
    assert figures.span(seconds * 1_000_000_000) == shown


def test_a_value_and_its_limit():
    assert figures.of(691.4, 700.0, "W") == "691/700 W"
    assert figures.of(691.4, None, "W") == "691 W"
    assert figures.of(None, 700.0, "W") == MISSING


def test_vram_is_in_gib():
    assert figures.gib(int(18.5 * 2**30)) == "18.5"
    assert figures.gib(140 * 2**30) == "140"
    assert figures.gib(None) == MISSING
