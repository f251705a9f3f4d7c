"""The chart of an explanation as SVG: lanes over one axis of time. Pure.

Each lane is drawn 1000 wide and stretched to the page, so that it fits a phone as well; texts
stand beside it in HTML. All text is escaped here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from gnomon.analysis.lanes import PARTS, Lane
from gnomon.analysis.throughput import Throughput
from gnomon.cli import explain_words as words
from gnomon.cli.explain_words import Frame
from gnomon.cli.numbers import NS_PER_S
from gnomon.detectors.finding import Finding
from gnomon.detectors.picture import GpuTrack, Picture
from gnomon.mcp.reply import visible

WIDTH = 1000
HEIGHT = 100
TICKS = 5
# More bars than this are no longer told apart; the list below the chart has all findings.
MOST_BARS = 40
BAR_HEIGHT_PIXELS = 10
NARROWEST_BAR = 3.0
# A burst at the start must not press all else to the ground: bins of more than so many times what
# nine in ten bins have at most are cut off.
BURST = 3.0

METRIC_NAMES = {
    "busy_pct": "busy",
    "compute_sol_pct": "compute SOL",
    "memory_sol_pct": "memory SOL",
}
Values = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Series:
    """One line or area of a lane; ``values`` are percent of the lane's height."""

    css: str
    name: str
    values: Values
    unit: str = " %"
    per_value: float = 1.0

    @property
    def readings(self) -> list[float | None]:
        """What is read out at each bin, in ``unit``: a digit after the point where it is small."""
        shown = (None if one is None else one * self.per_value for one in self.values)
        return [one if one is None else round(one, 1 if one < 10 else None) for one in shown]


@dataclass(frozen=True, slots=True)
class Row:
    """A lane: its title, a remark, and what is drawn in it."""

    title: str
    remark: str
    series: Sequence[Series]
    drawing: str
    css: str = "full"


def rows(picture: Picture, frame: Frame) -> list[Row]:
    """Return the lanes, what was reached above what was done."""
    found = [_gpu_row(track, frame) for track in picture.gpus]
    if picture.work is not None and picture.work.per_s.any():
        found.append(_work_row(picture.work))
    if any(picture.idle_pct):
        found.append(_idle_row(picture))
    return [*found, *(_thread_row(lane, picture.names[lane.thread]) for lane in picture.lanes)]


def _gpu_row(track: GpuTrack, frame: Frame) -> Row:
    facts = frame.meta.gpus.get(track.uuid, {})
    index = facts.get("index")
    title = f"{track.uuid if index is None else f'GPU {index}'} {facts.get('name', '')}"
    found = [
        Series(name.removesuffix("_pct"), METRIC_NAMES[name], values)
        for name, values in track.series.items()
    ]
    return Row(title.strip(), "0 to 100 %", found, "".join(map(_line, found)))


def _work_row(work: Throughput) -> Row:
    values = [float(one) for one in work.per_s]
    most = max(values)
    usual = sorted(one for one in values if one)
    top = min(most, BURST * usual[round(0.9 * (len(usual) - 1))])
    series = Series(
        "work",
        work.metric,
        [100 * one / top for one in values],
        unit=" a second",
        per_value=top / 100,
    )
    drawn = f"up to {words.figure(most)}"
    if top < most:
        drawn += f", drawn up to {words.figure(top)}"
    return Row(f"{work.metric} a second", drawn, [series], "".join(_stacked([series])))


def _idle_row(picture: Picture) -> Row:
    kept = "no CUDA call under way" if picture.are_all_kept else "no CUDA call kept"
    title = "GPU idle" if picture.is_idle_measured else kept
    series = Series("silence", title, picture.idle_pct)
    return Row(title, "share of the time", [series], "".join(_stacked([series])), "low")


def _thread_row(lane: Lane, name: str | None) -> Row:
    title = " ".join(
        part
        for part in (
            lane.thread.host,
            "thread",
            "?" if lane.thread.tid is None else str(lane.thread.tid),
            name,
        )
        if part
    )
    found = [
        Series(part, words.PART_NAMES[part], [100 * one for one in lane.parts[part]])
        for part in PARTS
        if part in lane.parts
    ]
    remark = "share of its time" if lane.is_followed else "its scheduling is not recorded"
    return Row(title, remark, found, "".join(_stacked(found)))


def _stacked(series: Sequence[Series]) -> Iterable[str]:
    """Yield an area a series, each on top of the one before."""
    if not series:
        return
    floor = [0.0] * len(series[0].values)
    for one in series:
        roof = [
            min(100.0, low + (value or 0.0)) for low, value in zip(floor, one.values, strict=True)
        ]
        path = f"{_steps(floor, 'M')}{_steps(roof[::-1], 'L', reverse=True)}Z"
        yield f'<path class="{one.css}" d="{path}"/>'
        floor = roof


def _line(series: Series) -> str:
    """Return a line that is broken where nothing was measured."""
    bins = len(series.values)
    paths = []
    at = 0
    for is_known, group in groupby(series.values, key=lambda value: value is not None):
        piece = [value or 0.0 for value in group]
        if is_known:
            paths.append(_steps(piece, "M", first=at, bins=bins))
        at += len(piece)
    return f'<path class="line {series.css}" d="{"".join(paths)}"/>'


def _steps(
    values: Sequence[float],
    first_command: str,
    *,
    first: int = 0,
    bins: int | None = None,
    reverse: bool = False,
) -> str:
    """Return a path of steps; bins of one height are one stroke. ``reverse``: to the left."""
    bins = bins or len(values)
    at = first
    path = ""
    for height, group in groupby(round(min(100.0, max(0.0, value)), 1) for value in values):
        count = len(list(group))
        left, right = _x(at, bins), _x(at + count, bins)
        if reverse:
            left, right = _x(bins - at, bins), _x(bins - at - count, bins)
        y = f"{HEIGHT - height:g}"
        path += f"V{y}H{right}" if path else f"{first_command}{left} {y}H{right}"
        at += count
    return path


def _x(at: int, bins: int) -> str:
    return f"{round(WIDTH * at / bins, 1):g}"


def chart(picture: Picture, findings: Sequence[Finding], frame: Frame) -> str:
    """Return the chart as HTML: lanes, findings, axis, and over all of them gaps and stretches."""
    lanes = "".join(_lane(row) for row in rows(picture, frame))
    return (
        f'<div class="chart">{_shade(picture)}{lanes}{_bars(picture, findings)}'
        f"{_axis(picture, frame)}{_overlay(picture, findings)}</div>{_legend(picture, frame)}"
    )


def _lane(row: Row) -> str:
    return (
        f'<div class="lane {row.css}"><div class="name"><b>{escape(visible(row.title))}</b>'
        f"<output>{escape(row.remark)}</output></div>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" aria-hidden="true">'
        f"{row.drawing}</svg></div>"
    )


def _bars(picture: Picture, findings: Sequence[Finding]) -> str:
    """Return a lane with a bar a finding, each on a line of its own, linked to its text."""
    shown = findings[:MOST_BARS]
    if not shown:
        return ""
    height = BAR_HEIGHT_PIXELS * len(shown)
    bars = "".join(_bar(picture, number, one) for number, one in enumerate(shown, start=1))
    named = (
        "findings" if len(shown) == len(findings) else f"{len(shown)} of {len(findings)} findings"
    )
    return (
        f'<div class="lane findings"><div class="name"><b>{named}</b></div>'
        f'<svg viewBox="0 0 {WIDTH} {height}" style="height:{height}px" preserveAspectRatio="none">'
        f"{bars}</svg></div>"
    )


def _bar(picture: Picture, number: int, finding: Finding) -> str:
    left, width = _stretch(picture, finding.from_ns, finding.to_ns)
    label = escape(f"{number}. {finding.cause}: {words.title(finding)}")
    y = BAR_HEIGHT_PIXELS * (number - 1) + 2
    return (
        f'<a href="#finding-{number}" aria-label="{label}"><rect class="bar {finding.severity}" '
        f'x="{left:.1f}" y="{y}" width="{width:.1f}" height="{BAR_HEIGHT_PIXELS - 3}">'
        f"<title>{label}</title></rect></a>"
    )


def _stretch(picture: Picture, from_ns: int, to_ns: int) -> tuple[float, float]:
    """Return where a stretch of time begins and how wide it is, wide enough to be seen."""
    whole_ns = picture.grid.bins * picture.grid.bin_ns
    begin_ns = picture.grid.span.from_ns
    left = min(WIDTH, max(0.0, WIDTH * (from_ns - begin_ns) / whole_ns))
    right = min(WIDTH, max(left, WIDTH * (to_ns - begin_ns) / whole_ns))
    width = max(NARROWEST_BAR, right - left)
    return min(left, WIDTH - width), width


def _shade(picture: Picture) -> str:
    """Return the silent stretches as a shade behind all lanes."""
    gaps = "".join(
        f'<rect class="gap" x="{left:.2f}" y="0" width="{width:.2f}" height="1"/>'
        for left, width in (_gap(picture, one.from_ns, one.to_ns) for one in picture.silences)
    )
    return (
        f'<svg class="shade" viewBox="0 0 {WIDTH} 1" preserveAspectRatio="none" '
        f'aria-hidden="true">{gaps}</svg>'
    )


def _overlay(picture: Picture, findings: Sequence[Finding]) -> str:
    """Return what lies over all lanes: the stretch of a chosen finding, and the cursor."""
    stretches = "".join(
        f'<rect class="stretch" id="stretch-{number}" x="{left:.1f}" y="0" width="{width:.1f}" '
        'height="1"/>'
        for number, (left, width) in enumerate(
            (_stretch(picture, one.from_ns, one.to_ns) for one in findings), start=1
        )
    )
    return (
        f'<svg class="overlay" viewBox="0 0 {WIDTH} 1" preserveAspectRatio="none" '
        f'aria-hidden="true">{stretches}'
        '<line class="cursor" x1="0" x2="0" y1="0" y2="1" visibility="hidden"/></svg>'
    )


def _gap(picture: Picture, from_ns: int, to_ns: int) -> tuple[float, float]:
    """Return a gap as wide as it is: many narrow ones must not look like a wide one."""
    whole_ns = picture.grid.bins * picture.grid.bin_ns
    left = WIDTH * (from_ns - picture.grid.span.from_ns) / whole_ns
    return max(0.0, left), min(WIDTH, WIDTH * (to_ns - from_ns) / whole_ns)


def _axis(picture: Picture, frame: Frame) -> str:
    grid = picture.grid
    begin_s = (grid.span.from_ns - frame.start_ns) / NS_PER_S
    whole_s = grid.bins * grid.bin_ns / NS_PER_S
    ticks = (begin_s + whole_s * number / (TICKS - 1) for number in range(TICKS))
    digits = digits_of(whole_s)
    told = "".join(f"<span>{round(tick, digits) + 0.0:.{digits}f} s</span>" for tick in ticks)
    return f'<div class="axis">{told}</div>'


def digits_of(whole_s: float) -> int:
    """Return how many digits after the point tell apart what lies on an axis of this length."""
    return 0 if whole_s >= 100 else 1 if whole_s >= 10 else 3


def _legend(picture: Picture, frame: Frame) -> str:
    seen: dict[str, str] = {}
    for row in rows(picture, frame):
        seen |= {series.css: series.name for series in row.series}
    lines = {name.removesuffix("_pct") for name in METRIC_NAMES}
    items = [_item(css, name, is_line=css in lines) for css, name in seen.items()]
    return f'<ul class="legend">{"".join(items)}</ul>'


def _item(css: str, name: str, *, is_line: bool) -> str:
    mark = (
        f'<path class="line {css}" d="M0 5H10"/>'
        if is_line
        else f'<path class="{css}" d="M0 0H10V10H0Z"/>'
    )
    return f'<li><svg viewBox="0 0 10 10" aria-hidden="true">{mark}</svg>{escape(name)}</li>'
