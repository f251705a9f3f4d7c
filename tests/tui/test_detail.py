import re

import pytest

from gnomon.tui import detail
from tests.tui.standins import plain, snapshot, unmeasured, view


@pytest.mark.parametrize("width", [40, 79, 119, 199])
def test_every_missing_value_has_its_reason(width):
    lines = detail.lines(snapshot(), view(summary=unmeasured()), width, 37)
    text = plain(lines)

    assert max(line.cell_len for line in lines) <= width
    assert " ".join(text.split()).count("this driver refuses GPM") >= (4 if width < 140 else 1)
    assert "0.0 %" not in text


def test_ledger_terms_are_spelled_out_with_their_meaning():
    text = plain(detail.lines(snapshot(), view(), 119, 37))

    assert re.search(r"S  stalled +31\.4 % +warps are resident", text)
    assert "needs the model's FLOPs; part of achieved" in text
    assert "reads high on tensor work, so achieved and compute SOL are at most" in text
    assert re.search(r"N  not requested +73\.0 %", text)


def test_a_tall_screen_has_a_second_chart_of_clock_and_power():
    assert "power 50 W" not in plain(detail.lines(snapshot(), view(), 119, 21))
    assert "power 50 W" in plain(detail.lines(snapshot(), view(), 119, 57))
