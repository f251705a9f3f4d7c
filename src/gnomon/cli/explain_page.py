"""An explanation as one page of HTML that needs no network: a chart, and the findings below it.

Text comes from the processes that were observed, so all of it is escaped, and the page's own
policy lets no script run but the one that reads the chart out.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from gnomon._errors import CommandError
from gnomon.cli import explain_chart
from gnomon.cli import explain_words as words
from gnomon.cli.explain_words import Frame
from gnomon.cli.numbers import NS_PER_S, span
from gnomon.detectors.finding import Evidence, Finding, RuledOut
from gnomon.detectors.picture import Picture
from gnomon.detectors.report import Explanation
from gnomon.mcp.reply import visible

PARTS = Path(__file__).parent.parent / "data" / "explain"


def write(path: Path, explanation: Explanation, frame: Frame, picture: Picture, name: str) -> None:
    """Write the page. Raises CommandError where the file cannot be written."""
    try:
        path.write_text(page(explanation, frame, picture, name), encoding="utf-8")
    except OSError as error:
        raise CommandError(f"--html {path}: cannot be written: {error.strerror}") from error


def page(explanation: Explanation, frame: Frame, picture: Picture, name: str) -> str:
    """Return the page; ``name``: of what was recorded."""
    script = (PARTS / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Template((PARTS / "page.html").read_text(encoding="utf-8")).substitute(
        script_hash=f"sha256-{digest}",
        title=_text(f"{name}: gnomon explain"),
        style=(PARTS / "page.css").read_text(encoding="utf-8"),
        body=_body(explanation, frame, picture, name),
        series=_json(_series(picture, frame)),
        script=script,
    )


def _body(explanation: Explanation, frame: Frame, picture: Picture, name: str) -> str:
    findings = "".join(
        _finding(number, one, explanation, frame)
        for number, one in enumerate(explanation.findings, start=1)
    )
    failed = (f"{name}: {reason}" for name, reason in explanation.failed.items())
    return "\n".join(
        part
        for part in (
            f"<h1>{_text(name)}</h1>",
            f'<p class="soft">{_text(span(explanation.span.from_ns, explanation.span.to_ns))}</p>',
            f'<p class="verdict">{_text(words.verdict(explanation))}</p>',
            f"<p>{_text(words.looked_at(explanation))}</p>",
            explain_chart.chart(picture, explanation.findings, frame),
            "<h2>Findings</h2>" + findings if findings else "",
            _section(words.DROPS, words.drops(explanation, frame)),
            _section(words.CLOCKS, words.clocks(explanation)),
            _section("Not kept while recording", words.lost(explanation)),
            _section(words.SKIPPED, words.skipped(explanation)),
            _section(words.UNSEEN, words.unseen(explanation)),
            _section("Detectors that failed", failed),
        )
        if part
    )


def _finding(number: int, finding: Finding, explanation: Explanation, frame: Frame) -> str:
    in_chart = f' (<a href="#stretch-{number}">in the chart</a>)'
    rows = (
        ("where", _text(words.where(finding, frame.meta))),
        ("when", _text(words.when(finding, frame.start_ns)) + in_chart),
        ("lost", _text(words.cost(finding, explanation))),
        ("because", _proofs(finding.evidence)),
        ("not", _proofs(finding.ruled_out)),
        ("remedy", _text(words.remedy(finding))),
        ("certainty", _text(words.confidence(finding))),
    )
    told = "".join(f"<dt>{label}</dt><dd>{value}</dd>" for label, value in rows if value)
    return (
        f'<article class="{finding.severity}" id="finding-{number}"><h3>'
        f'<span class="severity">{finding.severity}</span>{_text(words.title(finding))} '
        f'<span class="soft">({finding.cause})</span></h3><dl>{told}</dl></article>\n'
    )


def _proofs(proofs: Sequence[Evidence | RuledOut]) -> str:
    if not proofs:
        return ""
    return f"<ul>{''.join(map(_proof, proofs))}</ul>"


def _proof(proof: Evidence | RuledOut) -> str:
    cause = f"{proof.cause}: " if isinstance(proof, RuledOut) else ""
    return (
        f"<li>{_text(cause + proof.text)}"
        f"<details><summary>query</summary><pre><code>{escape(words.query(proof.sql))}</code></pre></details>"
        "</li>"
    )


def _section(heading: str, lines: Iterable[str]) -> str:
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    return f"<h2>{heading}</h2><ul>{items}</ul>" if items else ""


def _series(picture: Picture, frame: Frame) -> dict[str, Any]:
    """Return what the script reads out: the values of each lane's bins."""
    grid = picture.grid
    return {
        "bins": grid.bins,
        "bin_s": grid.bin_ns / NS_PER_S,
        "first_s": (grid.span.from_ns - frame.start_ns) / NS_PER_S,
        "digits": explain_chart.digits_of(grid.bins * grid.bin_ns / NS_PER_S) + 1,
        "lanes": [
            [{"name": one.name, "unit": one.unit, "values": one.readings} for one in row.series]
            for row in explain_chart.rows(picture, frame)
        ],
    }


def _json(value: Any) -> str:
    """Return JSON that cannot end the element it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("&", "\\u0026")


def _text(text: str) -> str:
    return escape(visible(text))
