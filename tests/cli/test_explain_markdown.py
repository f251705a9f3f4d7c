"""Markdown that says what the terminal says, and obeys no process."""

import re

from gnomon.cli.explain_markdown import markdown
from tests.cli.explanations import (
    FRAME,
    HOSTILE,
    HOSTILE_EVIDENCE,
    LACKING,
    explanation,
    finding,
)


def test_each_finding_is_a_section_with_its_queries_folded():
    text = markdown(explanation(finding(), finding()), FRAME)

    assert "**2 warnings**" in text
    assert "## 1. WARNING: a thread waited for a disk" in text
    assert "## 2. WARNING" in text
    assert "- **Lost**: 6 s, 10.0 % of the time" in text
    assert "  - `cpu_contention`: it wanted a CPU for 3 ms" in text
    assert "```sql\nSELECT 6000000000\n```" in text
    assert text.count("<details>") == text.count("</details>") == 2


def test_silence_is_a_document_too():
    text = markdown(LACKING, FRAME)

    assert "**Nothing wrong was found; 1 detector failed; 2 detectors lacked something**" in text
    assert "- io\\_wait, host\\_bound: no stays" in text


def test_a_name_is_shown_and_not_obeyed():
    text = markdown(explanation(finding(thread=HOSTILE, evidence=[HOSTILE_EVIDENCE])), FRAME)

    (where,) = re.findall(r"\*\*Where\*\*: (.*)", text)
    assert "\\</script\\>\\<img" in where
    assert "\\[x\\](y)" in where
    assert not {"\x1b", "\u202e"} & set(text)


def test_a_query_cannot_end_its_own_fence():
    evidence = finding().evidence[0].__class__("x", 1, "ns", "SELECT 1\n````\n<b>")

    assert "`````sql\nSELECT 1\n````\n<b>\n`````" in markdown(
        explanation(finding(evidence=[evidence])), FRAME
    )
