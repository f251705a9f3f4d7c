"""The page: whole, offline, escaped; and a real browser takes it without a complaint."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import pytest

from gnomon._errors import CommandError
from gnomon.cli.explain_page import page, write
from tests.cli.explanations import (
    FRAME,
    HOSTILE,
    HOSTILE_EVIDENCE,
    LACKING,
    THREAD,
    explanation,
    finding,
    picture,
    work,
)

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


def made(*findings, name="run1", **changed):
    return page(explanation(*findings), FRAME, picture(**changed), name)


def drawings(text):
    """Every <svg> of the page, parsed."""
    return [ET.fromstring(found) for found in re.findall(r"(?s)<svg.*?</svg>", text)]


def test_findings_stand_below_the_chart_and_are_linked_with_their_stretch():
    text = made(finding(), finding())

    for number in (1, 2):
        assert f'<article class="warning" id="finding-{number}">' in text
        assert f'<a href="#finding-{number}"' in text
        assert f'<a href="#stretch-{number}">' in text
        assert f'id="stretch-{number}"' in text
    assert "<pre><code>SELECT 6000000000</code></pre>" in text
    (stretch, _) = [one for svg in drawings(text) for one in svg.iter("rect") if one.get("id")]
    assert float(stretch.get("x")) == pytest.approx(1000 * 4.102 / 60, abs=0.1)
    assert float(stretch.get("width")) == pytest.approx(1000 * 29.049 / 60, abs=0.1)


def test_lanes_hold_what_was_measured_and_gaps_where_nothing_was():
    svgs = drawings(made())

    lanes = [svg for svg in svgs if svg.get("viewBox") == "0 0 1000 100"]
    paths = {one.get("class"): one.get("d") for svg in lanes for one in svg.iter("path")}
    assert {"line busy", "line compute_sol", "work", "io", "own_code"} <= set(paths)
    assert paths["line compute_sol"] == "M0 50H250M750 87.7H1000"  # broken in between
    gaps = [one for svg in svgs for one in svg.iter("rect") if one.get("class") == "gap"]
    assert [(one.get("x"), one.get("width")) for one in gaps] == [("250.00", "500.00")]


def test_a_burst_of_launches_does_not_flatten_the_rest():
    text = made(work=work([100.0] * 20 + [90_000.0]))

    assert "up to 90,000, drawn up to 300" in text


def test_a_page_without_anything_is_a_page():
    text = page(
        LACKING,
        FRAME,
        picture(gpus=[], work=None, lanes=[], names={}, silences=[], idle_pct=[]),
        "run1",
    )

    assert "Nothing wrong was found" in text
    assert "no stays" in text
    assert all(svg is not None for svg in drawings(text))


def test_nothing_is_fetched_and_no_text_is_obeyed():
    hostile = finding(thread=HOSTILE, evidence=[HOSTILE_EVIDENCE])
    text = made(hostile, name=HOSTILE, names={THREAD: HOSTILE})

    assert set(re.findall(r"""<[^>]*\s(?:src|href)=["']?(#|data:,|.)""", text)) == {"#", "data:,"}
    assert "<img" not in text
    assert text.count("<script") == text.count("</script>") == 2
    assert "default-src 'none'" in text
    assert not {"\x1b", "\u202e"} & set(text)


def test_the_values_to_read_out_are_strict_json():
    (text,) = re.findall(r'(?s)id="series">(.*?)</script>', made())
    told = json.loads(text, parse_constant=lambda word: 1 / 0)

    assert (told["bins"], told["first_s"], told["bin_s"]) == (4, 0.0, 15.0)
    gpu, launches, _, thread = told["lanes"]
    assert gpu[1] == {"name": "compute SOL", "unit": " %", "values": [50, None, None, 12]}
    assert launches[0]["values"] == [100, 0, 0, 100]
    assert thread[0]["name"] == "waits for a disk"


def test_a_page_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(CommandError, match=r"--html .*gone/p\.html: cannot be written"):
        write(tmp_path / "gone" / "p.html", explanation(), FRAME, picture(), "run1")


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_browser_draws_it_runs_its_script_and_complains_of_nothing(tmp_path):
    path = tmp_path / "p.html"
    write(path, explanation(finding(thread=HOSTILE)), FRAME, picture(), HOSTILE)
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    assert "CONSOLE" not in done.stderr
    assert 'class="chart readable"' in done.stdout  # the script ran
    assert "<img" not in done.stdout
    assert done.stdout.count("<article") == 1
