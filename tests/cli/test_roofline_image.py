"""Pictures: what they are made of, and that each format comes out whole and offline."""

import re
import sys
import xml.etree.ElementTree as ET

import pytest

from gnomon._errors import CommandError
from gnomon.cli.roofline_image import specification, write
from gnomon.performance_model.phases import Decode
from tests.cli.test_roofline_plot import picture


def values(spec, **wanted):
    rows = [row for layer in spec["layer"] for row in layer["data"]["values"]]
    return [row for row in rows if all(row.get(key) == value for key, value in wanted.items())]


def test_the_specification_holds_every_roof_and_point():
    answer = picture(Decode(8, 512))
    spec = specification(answer)

    ridge = answer.roofs[0].ridge_flop_per_byte
    assert len(values(spec, flop_per_byte=ridge, roof="bf16 datasheet")) == 1
    for one in answer.operators:
        label = f"{one.mark} {one.name}"
        assert values(spec, label=label)[0]["flops_per_s"] == one.flops_per_s
    assert values(spec, kind="step")[0]["flop_per_byte"] == answer.step.flop_per_byte
    assert any("206 FLOP/byte" in note for note in spec["title"]["subtitle"])


def test_roofs_alone_are_a_picture_too():
    assert len(specification(picture())["layer"]) == 2


def test_every_format_comes_out_and_needs_no_network(tmp_path):
    pytest.importorskip("vl_convert", reason="the extra `plot` is not installed")
    for suffix in ("png", "svg", "html"):
        write(picture(Decode(8, 512)), tmp_path / f"r.{suffix}")

    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG\r\n")
    svg = (tmp_path / "r.svg").read_text()
    assert ET.fromstring(svg).tag.endswith("svg")
    assert "mlp_gate_up" in svg
    assert (
        re.search(r"<(?:script|link)[^>]*(?:src|href)=", (tmp_path / "r.html").read_text()) is None
    )


def test_another_ending_is_refused_with_those_that_are_known(tmp_path):
    with pytest.raises(
        CommandError, match=r"r\.gif: a picture ends in one of \.png, \.svg, \.html"
    ):
        write(picture(), tmp_path / "r.gif")


def test_a_missing_library_is_named_with_the_extra_that_brings_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)

    with pytest.raises(CommandError, match=r"pip install 'gnomon\[plot\]'"):
        write(picture(), tmp_path / "r.png")
