# ruff: noqa: INP001
"""Draw a screen of ``gnomon top`` on a recording again, as the SVG that a document shows.

    python docs/make_screens.py RECORDING PHASE docs/images/top.svg

The screen is the real application, stopped just before the end of the named phase.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import time
from pathlib import Path

from gnomon.recording.marks import phases
from gnomon.recording.reader import Recording
from gnomon.recording.replay import Replay
from gnomon.tui.application import GnomonApp
from gnomon.tui.cursor import cursor_for
from gnomon.tui.gather import Gatherer
from gnomon.tui.refresher import Refresher

COLUMNS, ROWS = 100, 30
PATIENCE_S = 30.0
FONTS = "Menlo, Consolas, 'DejaVu Sans Mono', monospace"


async def draw(recording: Path, phase: str) -> str:
    """Return the screen as SVG. Raises SystemExit where the phase or the charts do not come."""
    measurements = Recording.open(recording)
    ends = {one.name: one.to_ns for one in phases(measurements)}
    if phase not in ends:
        raise SystemExit(f"{recording}: no phase {phase!r}; it has: {', '.join(ends)}")
    replay = Replay(measurements)
    replay.pause()
    replay.seek(ends[phase] - 100_000_000)
    refresher = Refresher(Gatherer(replay).gather)
    app = GnomonApp(refresher, cursor_for(replay), refresh_s=0.2, title=recording.name)
    try:
        async with app.run_test(size=(COLUMNS, ROWS)) as pilot:
            deadline = time.monotonic() + PATIENCE_S
            while not (app.snapshot and app.snapshot.gpus and app.snapshot.gpus[0].series):
                if time.monotonic() > deadline:
                    raise SystemExit("the screen stayed empty")
                await pilot.pause(0.1)
            await pilot.pause(0.5)
            return app.export_screenshot(title=f"gnomon top {recording.name}")
    finally:
        refresher.stop()


def plain(svg: str) -> str:
    """Take the web font out: a picture in a document fetches nothing."""
    without = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return without.replace("Fira Code, monospace", FONTS)


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recording", type=Path)
    parser.add_argument("phase")
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    svg = asyncio.run(draw(options.recording, options.phase))
    options.output.write_text(plain(svg))


if __name__ == "__main__":
    main()
