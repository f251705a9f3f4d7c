"""What stands around every view: tabs and clock above, phase and keys below. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from gnomon.tui import palette
from gnomon.tui.figures import clock_time, span
from gnomon.tui.health import event
from gnomon.tui.snapshot import Snapshot

VIEWS = (("overview", "overview"), ("detail", "GPU"), ("processes", "processes"),
         ("health", "health"))  # fmt: skip
NAME = " gnomon"
# A recorder writes at least each second; ten without news is worth saying.
LIVE_WITHIN_NS = 10_000_000_000
ENDED_AFTER_NS = 600_000_000_000

KEYS = (
    ("1-4 tab", "overview, GPU, processes, health"),
    ("↑ ↓", "select a GPU; scroll in the other views (also page up, page down)"),
    ("enter", "the selected GPU in detail; g and G step through the GPUs anywhere"),
    ("space", "pause; again: play on from there"),
    ("← →", "scrub by 5 s; with shift by 30 s; home: the start"),
    ("end l", "back to live"),
    ("s", "sort processes by VRAM, SM, CPU"),
    ("w", "window the numbers are means over: 2, 5, 15, 60 s"),
    ("z Z", "zoom the chart out and in: 1, 2, 10, 60 min"),
    ("? esc", "this help, and back"),
    ("q", "quit"),
)
NOTES = (
    "busy (smi): share of time in which anything ran, copies too. It says nothing of how much.",
    "SOL: achieved over the hardware's peak. The bar shows where the rest of 100 % went.",
    "≤ at most: the SM clock came from NVML, which reads up to 12 % high on tensor work.",
    "—: not measured. The GPU view (2) and health (4) say why. It is never shown as 0.",
)


def header(snapshot: Snapshot | None, view: str, state: Text, title: str, width: int) -> Text:
    """Tabs on the left, the state of time on the right, the title between where it fits."""
    left = Text(f"{NAME} ", style=f"bold {palette.COMPUTE}")
    for number, (name, label) in enumerate(VIEWS, start=1):
        here = name == view
        style = f"bold {palette.BACKGROUND} on {palette.COMPUTE}" if here else palette.DIM
        left.append(f" {number} {label} ", style=style)
    right = state.copy()
    if snapshot is not None and snapshot.at_ns is not None:
        right.append(f" {clock_time(snapshot.at_ns)}", style=palette.TEXT)
        window = f" last {span(snapshot.window_ns)} "
        fits = left.cell_len + right.cell_len + len(window) <= width
        right.append(window if fits else " ", style=palette.DIM)
    room = width - left.cell_len - right.cell_len
    middle = Text(f"  {title}" if title and room >= len(title) + 4 else "", style=palette.DIM)
    middle.truncate(max(0, room), pad=True)
    text = left + middle + right
    text.truncate(width, pad=True)
    return text


def tab_at(column: int) -> str | None:
    """Return the view whose tab is at this column of the header."""
    end = len(NAME) + 1
    for number, (name, label) in enumerate(VIEWS, start=1):
        start, end = end, end + len(f" {number} {label} ")
        if start <= column < end:
            return name
    return None


def state(
    snapshot: Snapshot | None,
    *,
    paused: bool,
    is_replay: bool,
    behind_ns: int = 0,
    at_end: bool = False,
) -> Text:
    """Say in a word or two what time it is that the screen shows."""
    if snapshot is None or snapshot.at_ns is None:
        return Text("waiting for the first sample", style=palette.WARNING)
    age_ns = snapshot.wall_ns - (snapshot.end_ns or snapshot.at_ns)
    if paused:
        words, colour = "‖ paused", palette.WARNING
    elif at_end:
        words, colour = "■ end, home replays", palette.DIM
    elif is_replay:
        words, colour = "▶ replay", palette.MEMORY
    elif behind_ns:
        words, colour = f"◀ -{span(behind_ns)}", palette.MEMORY
    elif age_ns < LIVE_WITHIN_NS:
        words, colour = "● live", palette.COMPUTE
    elif age_ns < ENDED_AFTER_NS:
        words, colour = f"○ no data for {span(age_ns)}", palette.WARNING
    else:
        words, colour = f"■ ended {span(age_ns)} ago", palette.DIM
    return Text(words, style=f"bold {colour}")


def status(snapshot: Snapshot | None, problem: str, width: int) -> Text:
    """The phase and the last event; a problem takes their place until it is gone."""
    errors = [problem] if problem else list(snapshot.errors) if snapshot else []
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        first = " ".join(errors[0].split())
        text = Text(f" ! {first}{more}; what is shown are the last good values")
        text.stylize(f"bold {palette.ERROR}")
    elif snapshot is None:
        text = Text()
    else:
        text = _phase(snapshot)
        if snapshot.last_event is not None:
            text.append("   last event", style=palette.DIM)
            text.append_text(event(snapshot.last_event))
    text.truncate(width, overflow="ellipsis", pad=True)
    return text


def _phase(snapshot: Snapshot) -> Text:
    text = Text(" phase ", style=palette.DIM)
    phase = snapshot.phase
    if phase is None or snapshot.at_ns is None:
        return text.append("—", style=palette.FAINT)
    text.append(phase.name.replace("_", " "), style=f"bold {palette.BRIGHT}")
    return text.append(f" for {span(snapshot.at_ns - phase.from_ns)}", style=palette.DIM)


def footer(sort_name: str, width: int) -> Text:
    """The keys that matter, in the order of use."""
    keys = [
        ("1-4", "view"),
        ("↑↓", "GPU"),
        ("space", "pause"),
        ("←→", "scrub"),
        ("end", "live"),
        ("s", f"sort {sort_name}"),
        ("?", "help"),
        ("q", "quit"),
    ]
    if width >= 100:
        keys[6:6] = [("w", "window"), ("z", "zoom")]
    text = Text(" ")
    for key, action in keys:
        text.append(key, style=f"bold {palette.TEXT}")
        text.append(f" {action}  ", style=palette.DIM)
    text.truncate(width, pad=True)
    return text


def help_lines(width: int) -> Sequence[Text]:
    result = [Text(), Text(" Keys", style=f"bold {palette.BRIGHT}")]
    for key, action in KEYS:
        text = Text(f"   {key:<9}", style=f"bold {palette.COMPUTE}")
        result.append(text.append(action, style=palette.TEXT))
    result += [Text(), Text(" Words", style=f"bold {palette.BRIGHT}")]
    result += [Text(f"   {note}", style=palette.DIM) for note in NOTES]
    for line in result:
        line.truncate(width, overflow="ellipsis")
    return result
