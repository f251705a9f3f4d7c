"""docs/ceiling-json.md names every field that the commands print, and no other."""

import json
import re
from pathlib import Path

import pytest

from gnomon.cli.commands.demo import bundled_directory
from gnomon.hardware.calibration.points import Failure
from tests.cli.test_calibrate import calibration

PAGE = (Path(__file__).parents[2] / "docs" / "ceiling-json.md").read_text(encoding="utf-8")
MODEL = ("--model", "Llama-3.1-8B", "--phase", "decode")
CEILING = ("ceiling", *MODEL, "--gpu", "H200-SXM-141GB")
# Objects whose keys depend on what was asked or measured, and how the page writes such a key.
KEYED = {
    **dict.fromkeys(("flops_by_dtype", "compute", "burst", "flops"), "<dtype>"),
    **dict.fromkeys(("traffic", "values"), "<option>"),
    "origins": "<constant>",
    "weights": "<part>",
    "not_applicable": "<remedy>",
    "ranks": "<measure>",
    "shape": "<size>",
}


def paths(found, at="", keyed=KEYED):
    """Return the paths of all that is no object or list of objects."""
    name = re.split(r"[.\]]", at)[-1]
    if isinstance(found, dict) and name in keyed:
        inner = [paths(one, f"{at}.{keyed[name]}", keyed) for one in found.values()]
        return set().union(*inner) or {f"{at}.{keyed[name]}"}
    if isinstance(found, dict):
        before = f"{at}." if at else ""
        return set().union(*(paths(one, f"{before}{key}", keyed) for key, one in found.items()))
    if isinstance(found, list) and found and isinstance(found[0], dict):
        return set().union(*(paths(one, f"{at}[]", keyed) for one in found))
    return {at}


def described(heading):
    """Return the paths in the first cells of a section."""
    (section,) = re.findall(
        rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL
    )
    cells = re.findall(r"^\| (`.+?) \|", section, re.MULTILINE)
    return {path for cell in cells for path in re.findall(r"`([^`]+)`", cell)}


def without(found, *objects):
    """Return paths with these objects as one, which the page describes elsewhere."""
    return {next((one for one in objects if path.startswith(f"{one}.")), path) for path in found}


@pytest.fixture
def printed(gnomon):
    """Return a function that runs a command with ``--json`` and returns its document."""
    return lambda *asked: json.loads(gnomon(*asked, "--json").stdout)


def test_every_field_of_a_ceiling_is_described(printed):
    found = printed(*CEILING, "--what-if")
    assert found["what_if"]["assumed"][0].keys() == found["what_if"]["remedies"][0].keys()
    found["what_if"]["assumed"] = []

    assert paths(found) == described("`gnomon ceiling --json`")


def test_every_field_of_many_points_is_described(printed):
    one = printed(*CEILING)
    rows = set()
    for key, asked in {
        "sweep": (*CEILING, "--sweep", "tp=1,3"),
        "concurrency": (*CEILING, "--concurrency", "1..2"),
        "gpus": ("ceiling", *MODEL, "--gpu", "H200-SXM-141GB,L40S"),
    }.items():
        found = printed(*asked)
        rows |= without(set().union(*map(paths, found.pop(key))), "constants")

        assert found.keys() <= one.keys()
        assert paths(found) <= paths(one)
    assert rows == described("Many points: `--sweep`, `--concurrency`, `--gpu A,B`")


def test_every_field_of_a_roofline_is_described(printed):
    found = printed("roofline", bundled_directory(), *MODEL)
    assert found["step"].keys() == found["operators"][0].keys()

    assert without(paths(found), "step") == described("`gnomon roofline --json`")


def test_every_field_of_a_calibration_is_described():
    found = dict(calibration(failures=[Failure("gemm", "no kernel")]).document)

    assert paths(found, keyed={**KEYED, "fits": "<line>"}) == described("`gnomon calibrate --json`")
