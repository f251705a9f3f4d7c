"""The line that ``gnomon record`` keeps on stderr: what is being measured, in one glance."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from gnomon.analysis.summary_types import GpuSummary, doubt
from gnomon.cli.numbers import duration


def status_text(elapsed_ns: int, summaries: Sequence[GpuSummary], problem: str = "") -> str:
    """Return the line: time, each GPU's busy beside its SOL (or their ranges), and a problem."""
    parts = [f"recording {duration(elapsed_ns)}"]
    if problem:
        parts.append(problem)
    if len(summaries) == 1:
        parts.append(_one_gpu(summaries[0]))
    elif summaries:
        parts.append(_all_gpus(summaries))
    cpu_pct = next((each.cpu_pct for each in summaries if each.cpu_pct is not None), None)
    if cpu_pct is not None:
        parts.append(f"CPU {cpu_pct:.0f} %")
    return " | ".join(parts)


def _one_gpu(summary: GpuSummary) -> str:
    compute = doubt(summary) + _whole(summary.compute_sol_pct)
    text = (
        f"GPU busy {_whole(summary.busy_pct)}, SOL compute {compute} "
        f"memory {_whole(summary.memory_sol_pct)} %"
    )
    return text if summary.power_watts is None else f"{text}, {summary.power_watts:.0f} W"


def _all_gpus(summaries: Sequence[GpuSummary]) -> str:
    return (
        f"{len(summaries)} GPUs busy {_range([each.busy_pct for each in summaries])}, SOL compute "
        f"{_range([each.compute_sol_pct for each in summaries])} "
        f"memory {_range([each.memory_sol_pct for each in summaries])} %"
    )


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _range(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    low, high = f"{min(known):.0f}", f"{max(known):.0f}"
    return low if low == high else f"{low}-{high}"


class StatusLine:
    """Keeps one line of a terminal up to date; where there is no terminal it says nothing."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self.is_shown = self._stream.isatty()
        self._drawn = False

    def show(self, text: str, columns: int) -> None:
        if not self.is_shown:
            return
        # One column stays free: a full line would make some terminals wrap.
        self._stream.write(f"\r\x1b[K{text[: columns - 1]}")
        self._stream.flush()
        self._drawn = True

    def say(self, text: str) -> None:
        """Print a line of its own above the status line; without a terminal just print it."""
        self.clear()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def clear(self) -> None:
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False


class StatusBlock(StatusLine):
    """The same for several lines."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._lines = 0

    def show(self, text: str, columns: int) -> None:
        """Draw all lines anew, each cut to the width of the terminal."""
        if not self.is_shown:
            return
        self.clear()
        lines = [line[: columns - 1] for line in text.splitlines()]
        self._stream.write("\n".join(lines))
        self._stream.flush()
        self._lines = len(lines)

    def clear(self) -> None:
        if self._lines:
            # To the first of the lines, and away with all below.
            up = f"\x1b[{self._lines - 1}A" if self._lines > 1 else ""
            self._stream.write(f"\r{up}\x1b[J")
            self._stream.flush()
            self._lines = 0
