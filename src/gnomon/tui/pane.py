"""The one widget of the body: lines of text that scroll when they are too many."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static


class Pane(VerticalScroll, can_focus=False):
    """Shows lines; keeps its place while they are replaced."""

    def compose(self) -> ComposeResult:
        yield Static(id="lines")

    def show(self, lines: Sequence[Text]) -> None:
        self.query_one("#lines", Static).update(Text("\n", no_wrap=True).join(lines))

    def reveal(self, first: int, count: int) -> None:
        """Scroll just far enough that ``count`` lines from ``first`` are on screen."""
        top, height = self.scroll_offset.y, self.size.height
        if first < top:
            self.scroll_to(y=first, animate=False)
        elif first + count > top + height:
            self.scroll_to(y=first + count - height, animate=False)
