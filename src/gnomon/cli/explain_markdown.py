"""An explanation as Markdown, for an incident report or a pull request. Pure.

Text from the processes that were observed is escaped, so that it is shown and not obeyed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gnomon.cli import explain_words as words
from gnomon.cli.explain_words import Frame
from gnomon.cli.numbers import span
from gnomon.detectors.finding import Evidence, Finding, RuledOut
from gnomon.detectors.report import Explanation
from gnomon.mcp.reply import visible

# Every sign that CommonMark, tables and mentions (@somebody) give a meaning to.
_MEANINGFUL = re.compile(r"([\\`*_\[\]<>#!|~&$@])")
_FENCE = re.compile(r"`{3,}")


def markdown(explanation: Explanation, frame: Frame) -> str:
    """Return the whole document, ending in a newline."""
    return "\n".join(_lines(explanation, frame)) + "\n"


def _lines(explanation: Explanation, frame: Frame) -> Iterator[str]:
    yield f"# gnomon explain: {span(explanation.span.from_ns, explanation.span.to_ns)}"
    yield ""
    yield f"**{_text(words.verdict(explanation))}**"
    yield _text(words.looked_at(explanation))
    for number, finding in enumerate(explanation.findings, start=1):
        yield ""
        yield from _finding(number, finding, explanation, frame)
    yield from _section(words.DROPS, words.drops(explanation, frame))
    yield from _section(words.CLOCKS, words.clocks(explanation))
    yield from _section("Not kept while recording", words.lost(explanation))
    yield from _section(words.SKIPPED, words.skipped(explanation))
    yield from _section(words.UNSEEN, words.unseen(explanation))
    failed = [f"{name}: {reason}" for name, reason in explanation.failed.items()]
    yield from _section("Detectors that failed", failed)


def _finding(
    number: int, finding: Finding, explanation: Explanation, frame: Frame
) -> Iterator[str]:
    yield f"## {number}. {finding.severity.upper()}: {_text(words.title(finding))}"
    yield ""
    yield f"- **Cause**: `{finding.cause}`"
    yield f"- **Where**: {_text(words.where(finding, frame.meta))}"
    yield f"- **When**: {_text(words.when(finding, frame.start_ns))}"
    yield f"- **Lost**: {_text(words.cost(finding, explanation))}"
    yield from _proofs("Because", finding.evidence)
    yield from _proofs("Not", finding.ruled_out)
    yield f"- **Remedy**: {_text(words.remedy(finding))}"
    yield f"- **Certainty**: {_text(words.confidence(finding))}"
    yield ""
    yield "<details><summary>Queries</summary>"
    yield ""
    proofs: list[Evidence | RuledOut] = [*finding.evidence, *finding.ruled_out]
    for proof in proofs:
        yield f"{_text(proof.text)}:"
        yield ""
        yield from _fenced(words.query(proof.sql))
        yield ""
    yield "</details>"


def _proofs(label: str, proofs: Sequence[Evidence | RuledOut]) -> Iterator[str]:
    if not proofs:
        return
    yield f"- **{label}**:"
    for proof in proofs:
        cause = f"`{proof.cause}`: " if isinstance(proof, RuledOut) else ""
        yield f"  - {cause}{_text(proof.text)}"


def _fenced(sql: str) -> Iterator[str]:
    """Yield a block of code whose fence is longer than any in it."""
    longest = max((len(found) for found in _FENCE.findall(sql)), default=2)
    fence = "`" * (longest + 1)
    yield f"{fence}sql"
    yield sql
    yield fence


def _section(heading: str, lines: Sequence[str]) -> Iterator[str]:
    if not lines:
        return
    yield ""
    yield f"## {heading}"
    yield ""
    for line in lines:
        yield f"- {_text(line)}"


def _text(text: str) -> str:
    return _MEANINGFUL.sub(r"\\\1", " ".join(visible(text).split()))
