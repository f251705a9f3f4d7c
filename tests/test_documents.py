"""What the documents say of the program is true of the program."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import gnomon
from gnomon.analysis.budget_types import Budget
from gnomon.analysis.clock_error import ClockError
from gnomon.analysis.coverage import Loss
from gnomon.analysis.drops import Difference, Drop, GpuDifference
from gnomon.analysis.kernel_types import By, KernelGpu, KernelRow, KernelTable
from gnomon.analysis.questions import Span
from gnomon.analysis.summary_types import ComputeLedger, GpuSummary, MemoryLedger
from gnomon.cli.commands import SHORT_HELP
from gnomon.detectors.finding import Evidence, Finding, Gain, RuledOut
from gnomon.detectors.report import Looked
from gnomon.enums import BoundBy, ClockSource, Pipe
from tests.cli.explanations import explanation

ROOT = Path(__file__).parent.parent
PAGES = ("*.md", "docs/**/*.md", "benchmarks/*.md", "lab/*.md")
DOCUMENTS = sorted(path for pattern in PAGES for path in ROOT.glob(pattern))
README = (ROOT / "README.md").read_text()

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
INVOCATION = re.compile(r"(?:^(?:\$ )?|`)(?:\.venv/bin/)?gnomon ([a-z][a-z-]*)", re.MULTILINE)
REPOSITORY_PATH = re.compile(
    r"`((?:src|tests|docs|dev|benchmarks|native|lab|news|\.ci)/[^`\s<>*{}A-Z]*)`"
)


def commands_in(text: str) -> set[str]:
    """Commands of ours in code blocks and code spans."""
    return {name for code in CODE.findall(text) for name in INVOCATION.findall(code)}


def anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document):
    text = FENCED.sub("", document.read_text())

    for target in LINK.findall(text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, fragment = target.partition("#")
        aim = (document.parent / name).resolve() if name else document
        assert aim.exists(), f"{document.name} links to {target}"
        if fragment and aim.suffix == ".md":
            headings = {anchor(one) for one in HEADING.findall(FENCED.sub("", aim.read_text()))}
            assert fragment in headings, f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_and_path_named_exists(document):
    text = document.read_text()

    assert commands_in(text) <= set(SHORT_HELP)
    for path in REPOSITORY_PATH.findall(text):
        assert (ROOT / path).exists(), f"{document.name} names {path}"


def test_readme_is_short_and_names_every_command():
    assert len(README.splitlines()) <= 300
    assert set(SHORT_HELP) - {"completion"} <= commands_in(README)


def _transcripts():
    """Commands of the README's console blocks with the output shown; "..." stands for any lines."""
    for block in re.findall(r"^```console\n(.*?)^```", README, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield shlex.split(command), output


def test_readme_shows_what_the_program_prints(tmp_path):
    for name in ("src", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    here = str(Path(gnomon.__file__).parent.parent)
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONPATH": here}

    for (program, *arguments), shown in _transcripts():
        assert program == "gnomon"
        done = subprocess.run(
            [sys.executable, "-m", "gnomon", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        printed = iter(done.stdout.splitlines())
        wanted = [line for line in shown.splitlines() if line != "..."]
        # In order: `in` takes from the iterator up to the line that it finds.
        assert next((line for line in wanted if line not in printed), None) is None


def _json_page(command: str) -> str:
    """The part of docs/json.md on a command."""
    parts = re.split(r"^# ", (ROOT / "docs" / "json.md").read_text(), flags=re.MULTILINE)
    (part,) = [one for one in parts if one.startswith(f"`gnomon {command} ")]
    return part


def _described(text: str) -> set[str]:
    """The fields in the first column of its tables."""
    first_cells = re.findall(r"^\| (`.+?) \|", text, re.MULTILINE)
    return {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}


def _fields(*classes: type) -> set[str]:
    return {field.name for of in classes for field in fields(of)}


def test_json_page_has_every_field_of_a_summary_and_no_other():
    assert _described(_json_page("summary")) == _fields(GpuSummary, Budget)


def test_json_page_has_every_field_of_an_explanation_and_no_other():
    document, finding, drop = _json_page("explain").split("\n## ")

    assert _described(document) == set(explanation().to_json())
    assert _described(finding) == _fields(Finding)
    assert _described(drop) == _fields(Drop)
    for name in _fields(
        Looked, Evidence, Gain, RuledOut, Difference, GpuDifference, Loss, ClockError
    ):
        assert f"`{name}`" in document + finding + drop, name


def test_json_page_has_every_field_of_the_table_of_kernels_and_no_other():
    document, kernel = _json_page("kernels").split("\n## ")
    table = KernelTable(Span(0, 1), By.NAME, is_windowed=True, dropped=None, gpus=(), rows=())

    assert _described(document) == set(table.to_json())
    assert _described(kernel) == _fields(KernelRow) - {"members"}
    for name in _fields(KernelGpu):
        assert f"`{name}`" in document, name


def test_json_page_names_every_word_of_the_closed_sets():
    page = _json_page("summary")
    terms = [field.name for ledger in (ComputeLedger, MemoryLedger) for field in fields(ledger)]

    for word in (*terms, *BoundBy, *Pipe, *ClockSource):
        assert f"`{word}`" in page


def test_ledger_page_explains_every_term():
    page = (ROOT / "docs" / "ledger.md").read_text()
    compute, memory = page.split("## Memory side")

    for field in fields(ComputeLedger):
        assert f"| `{field.name.removesuffix('_pct')}` |" in compute
    for field in fields(MemoryLedger):
        assert f"| `{field.name.removesuffix('_pct')}` |" in memory


def test_news_fragments_are_ones_that_towncrier_reads():
    name = re.compile(r"(\d+|\+[\w-]+)\.(feature|bugfix|doc|removal|misc)\.md")
    fragments = [path.name for path in (ROOT / "news").iterdir() if path.name != ".gitignore"]

    assert [one for one in fragments if not name.fullmatch(one)] == []
