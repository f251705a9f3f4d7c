"""The Textual application: keys, time, and which lines are on screen. It draws nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.message import Message
from textual.widgets import Static

from gnomon.tui import detail, frame, health, overview, palette, process_table
from gnomon.tui.cursor import Cursor, ReplayCursor
from gnomon.tui.pane import Pane
from gnomon.tui.refresher import Refresher
from gnomon.tui.snapshot import GpuView, Request, Snapshot

NS_PER_S = 1_000_000_000
WINDOWS_S = (2, 5, 15, 60)
CHARTS_S = (60, 120, 600, 3600)


class Arrived(Message):
    """A snapshot has come from the refreshing thread."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot


class GnomonApp(App[None]):
    """``gnomon top`` and ``gnomon demo``: four views of one snapshot."""

    ENABLE_COMMAND_PALETTE = False
    CSS = f"""
    Screen {{ background: {palette.BACKGROUND}; color: {palette.TEXT}; layout: vertical; }}
    #header {{ height: 1; background: {palette.PANEL}; }}
    #body {{ height: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden;
             scrollbar-background: {palette.BACKGROUND}; scrollbar-color: {palette.FAINT}; }}
    #lines {{ width: 100%; height: auto; }}
    #status {{ height: 1; }}
    #footer {{ height: 1; background: {palette.PANEL}; }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(at), f"show('{name}')") for at, (name, _) in enumerate(frame.VIEWS, start=1)),
        Binding("tab", "next_view(1)", priority=True),
        Binding("shift+tab", "next_view(-1)", priority=True),
        Binding("up,k", "vertical(-1)"),
        Binding("down,j", "vertical(1)"),
        Binding("pageup", "page(-1)"),
        Binding("pagedown", "page(1)"),
        Binding("enter", "show('detail')"),
        Binding("g", "select(1)"),
        Binding("G", "select(-1)"),
        Binding("space", "pause"),
        Binding("left", "scrub(-5)"),
        Binding("right", "scrub(5)"),
        Binding("shift+left", "scrub(-30)"),
        Binding("shift+right", "scrub(30)"),
        Binding("home", "scrub(-1000000000)"),
        Binding("end,l", "live"),
        Binding("s", "sort"),
        Binding("w", "window"),
        Binding("z", "zoom(1)"),
        Binding("Z", "zoom(-1)"),
        Binding("question_mark", "help"),
        Binding("escape", "leave"),
        Binding("q,ctrl+c", "quit", priority=True),
    ]

    def __init__(
        self,
        refresher: Refresher,
        cursor: Cursor | ReplayCursor,
        *,
        refresh_s: float = 1.0,
        title: str = "",
    ) -> None:
        super().__init__()
        self.refresher = refresher
        self.cursor = cursor
        self.refresh_s = refresh_s
        self.heading = title
        self.snapshot: Snapshot | None = None
        self.view = "overview"
        self.selected = 0
        self.sort_at = 0
        self.window_at = 1
        self.chart_at = 1
        self.helping = False
        self.problem = ""

    def compose(self) -> ComposeResult:
        yield Static(id="header")
        yield Pane(id="body")
        yield Static(id="status")
        yield Static(id="footer")

    def on_mount(self) -> None:
        self.refresher.listen(lambda snapshot: self.post_message(Arrived(snapshot)))
        self.set_interval(self.refresh_s, self.ask)
        self.draw()

    def on_resize(self) -> None:
        self.draw()

    def on_arrived(self, message: Arrived) -> None:
        is_first = self.snapshot is None
        self.snapshot = message.snapshot
        self.selected = min(self.selected, max(0, len(self.snapshot.gpus) - 1))
        self.draw()
        if is_first:  # the first answer came without charts, to be on screen sooner
            self.ask()

    @on(Click, "#header")
    def choose_tab(self, event: Click) -> None:
        view = frame.tab_at(event.x)
        if view is not None:
            self.action_show(view)

    def ask(self) -> None:
        """Ask for what the screen needs now; the answer comes as ``Arrived``."""
        chosen = self.chosen
        self.refresher.request(
            Request(
                at_ns=self.cursor.frozen_ns,
                behind_ns=self.cursor.behind_ns,
                window_ns=WINDOWS_S[self.window_at] * NS_PER_S,
                chart_ns=CHARTS_S[self.chart_at] * NS_PER_S,
                charts=self.view in {"overview", "detail"},
                chart_first=chosen.key if chosen else None,
                health=self.view == "health",
            )
        )

    @property
    def chosen(self) -> GpuView | None:
        gpus = self.snapshot.gpus if self.snapshot else ()
        return gpus[self.selected] if self.selected < len(gpus) else None

    def draw(self) -> None:
        """Put the newest snapshot on screen; a mistake in drawing is told, not thrown."""
        if not self.query(Pane):
            return
        width = self.size.width
        try:
            self.query_one(Pane).show(self._body())
            self.problem = ""
        except Exception as error:  # noqa: BLE001  no user is ever shown a traceback
            self.problem = f"could not draw this view: {error or type(error).__name__}"
        state = frame.state(
            self.snapshot,
            paused=self.cursor.is_paused,
            is_replay=self.cursor.is_replay,
            behind_ns=self.cursor.behind_ns,
            at_end=self.cursor.is_at_end,
        )
        sort = process_table.SORTS[self.sort_at].name
        self._line("header", frame.header(self.snapshot, self.view, state, self.heading, width))
        self._line("status", frame.status(self.snapshot, self.problem, width))
        self._line("footer", frame.footer(sort, width))

    @property
    def body_height(self) -> int:
        """Lines between header and status; known before the first layout."""
        return max(1, self.size.height - 3)

    def _line(self, name: str, text: Text) -> None:
        self.query_one(f"#{name}", Static).update(text)

    def _body(self) -> Sequence[Text]:
        width, height = self.size.width - 1, self.body_height
        if self.helping:
            return frame.help_lines(width)
        snapshot = self.snapshot
        if snapshot is None:
            return [Text(), Text(" Reading the first measurements …", style=palette.DIM)]
        sort = process_table.SORTS[self.sort_at]
        if self.view == "processes":
            return process_table.table(snapshot, sort, width)
        if self.view == "health":
            return health.lines(snapshot, width)
        if self.view == "detail" and self.chosen is not None:
            return detail.lines(snapshot, self.chosen, width, height)
        return overview.lines(snapshot, width, height, self.selected, sort)

    def action_show(self, view: str) -> None:
        if view != self.view or self.helping:
            self.query_one(Pane).scroll_home(animate=False)
        self.view, self.helping = view, False
        self._changed()

    def action_next_view(self, step: int) -> None:
        names = [name for name, _ in frame.VIEWS]
        self.action_show(names[(names.index(self.view) + step) % len(names)])

    def action_vertical(self, step: int) -> None:
        if self.view == "overview" and not self.helping:
            self.action_select(step)
        else:
            self.query_one(Pane).scroll_relative(y=step, animate=False)

    def action_page(self, step: int) -> None:
        pane = self.query_one(Pane)
        pane.scroll_relative(y=step * max(1, pane.size.height - 1), animate=False)

    def action_select(self, step: int) -> None:
        """Select the next GPU and bring it on screen."""
        count = len(self.snapshot.gpus) if self.snapshot else 0
        if not count:
            return
        self.selected = (self.selected + step) % count
        if self.view == "overview":
            pane = self.query_one(Pane)
            pane.reveal(*overview.first_line_of(self.selected, count, self.body_height))
        self._changed()

    def action_pause(self) -> None:
        self.cursor.toggle_pause(self.snapshot)
        self._changed()

    def action_scrub(self, seconds: int) -> None:
        self.cursor.move(seconds * NS_PER_S, self.snapshot)
        self._changed()

    def action_live(self) -> None:
        self.cursor.live(self.snapshot)
        self._changed()

    def action_sort(self) -> None:
        self.sort_at = (self.sort_at + 1) % len(process_table.SORTS)
        self._changed()

    def action_window(self) -> None:
        self.window_at = (self.window_at + 1) % len(WINDOWS_S)
        self._changed()

    def action_zoom(self, step: int) -> None:
        self.chart_at = min(max(self.chart_at + step, 0), len(CHARTS_S) - 1)
        self._changed()

    def action_help(self) -> None:
        self.helping = not self.helping
        self._changed()

    def action_leave(self) -> None:
        if self.helping:
            self.action_help()
        else:
            self.action_show("overview")

    def _changed(self) -> None:
        """Show a key's effect at once, then ask for the values that go with it."""
        self.draw()
        self.ask()

    def _fatal_error(self) -> None:
        """Leave without the traceback that Textual prints; ``app.run`` tells what happened."""
        self._close_messages_no_wait()

    @property
    def failure(self) -> Exception | None:
        """What ended the application, where it did not end by itself."""
        return self._exception
