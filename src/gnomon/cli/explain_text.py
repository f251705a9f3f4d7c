"""An explanation in the terminal, for whoever was woken by it: the worst first, plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from gnomon.cli import explain_words as words
from gnomon.cli.explain_words import Frame
from gnomon.cli.numbers import span
from gnomon.detectors.finding import Evidence, Finding, RuledOut
from gnomon.detectors.report import Explanation
from gnomon.enums import Severity
from gnomon.mcp.reply import visible

STYLES = {
    Severity.CRITICAL: "bold red",
    Severity.WARNING: "bold yellow",
    Severity.INFO: "bold cyan",
}
INDENT = 2
LABEL_WIDTH = 10


def print_explanation(
    explanation: Explanation, frame: Frame, out: Console, *, has_queries: bool = False
) -> None:
    """Print all of it; ``has_queries``: each number with the query that gives it again."""
    out.print(Text(span(explanation.span.from_ns, explanation.span.to_ns), style="dim"))
    out.print(Text(words.verdict(explanation), style="bold"))
    _print_wrapped(words.looked_at(explanation), out, "")
    for finding in explanation.findings:
        out.print()
        _print_finding(finding, explanation, frame, out, has_queries=has_queries)
    _print_list(words.DROPS, words.drops(explanation, frame), out)
    _print_list(words.CLOCKS, words.clocks(explanation), out)
    _print_list("Not kept while recording", words.lost(explanation), out)
    _print_list(words.UNSEEN, words.unseen(explanation), out)
    failed = [f"{name}: {visible(reason)}" for name, reason in explanation.failed.items()]
    _print_list("Detectors that failed", failed, out)
    if explanation.findings and not has_queries:
        out.print()
        out.print(Text("--sql shows the query behind each number.", style="dim"))


def _print_finding(
    finding: Finding, explanation: Explanation, frame: Frame, out: Console, *, has_queries: bool
) -> None:
    _print_heading(finding, out)
    _print_field("where", words.where(finding, frame.meta), out)
    _print_field("when", words.when(finding, frame.start_ns), out)
    _print_field("lost", words.cost(finding, explanation), out)
    _print_proofs("because", finding.evidence, out, has_queries=has_queries)
    _print_proofs("not", finding.ruled_out, out, has_queries=has_queries)
    _print_field("remedy", words.remedy(finding), out)
    _print_field("certainty", words.confidence(finding), out)


def _print_heading(finding: Finding, out: Console) -> None:
    severity = finding.severity.upper()
    text = f"{severity}  {words.title(finding)}  [{finding.cause}]"
    lines = textwrap.wrap(text, out.width, subsequent_indent=" " * (len(severity) + 2))
    for number, line in enumerate(lines):
        shown = Text(line, style="" if number else "bold")
        if not number:
            shown.stylize(STYLES[finding.severity], 0, len(severity))
        out.print(shown, soft_wrap=True)


def _print_proofs(
    label: str, proofs: Iterable[Evidence | RuledOut], out: Console, *, has_queries: bool
) -> None:
    for number, proof in enumerate(proofs):
        ruled_out = f"{proof.cause}: " if isinstance(proof, RuledOut) else ""
        _print_field("" if number else label, ruled_out + visible(proof.text), out)
        if has_queries:
            # Unbroken, so that it can be copied.
            query = " " * (INDENT + LABEL_WIDTH) + words.query(proof.sql)
            out.print(Text(query, style="dim"), soft_wrap=True)


def _print_field(label: str, text: str, out: Console) -> None:
    _print_wrapped(text, out, " " * INDENT + f"{label:<{LABEL_WIDTH}}")


def _print_wrapped(text: str, out: Console, first: str) -> None:
    lines = textwrap.wrap(text, out.width - len(first), break_on_hyphens=False) or [""]
    for number, line in enumerate(lines):
        out.print(
            Text(" " * len(first) if number else first, style="dim").append(line, style="not dim"),
            soft_wrap=True,
        )


def _print_list(heading: str, lines: Sequence[str], out: Console) -> None:
    if not lines:
        return
    out.print()
    out.print(Text(heading, style="bold"))
    for line in lines:
        _print_wrapped(line, out, " " * INDENT)
