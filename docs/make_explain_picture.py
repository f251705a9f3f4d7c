# ruff: noqa: INP001
"""Draw the page of ``gnomon explain`` on a simulated training job again, as a document shows it.

    python -m docs.make_explain_picture docs/images/explain.png

Run it in the root of the repository. It needs Chromium; the job is the tests' simulator's, with a
thread that waits for a disk from 6 to 10 s and for a CPU from 16 to 22 s.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.detectors.worlds import World

from gnomon.cli.main import run

WIDTH, HEIGHT = 1280, 900


def main() -> None:
    """Read the command line and draw. Raises SystemExit where there is no Chromium."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output.resolve()
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise SystemExit("needs Chromium: apt-get install chromium")
    world = World(
        11, "training", 30, follow="all", classes=True, counters=True, ranks=1, hosts=1, stacks=True
    )
    world = world.with_fault("io_wait", share=0.5, from_s=6, to_s=10)
    world = world.with_fault("cpu_contention", share=0.4, from_s=16, to_s=22)
    with tempfile.TemporaryDirectory() as directory:
        recording, page = Path(directory) / "training", Path(directory) / "page.html"
        world.record(recording)
        run(["explain", str(recording), "--html", str(page)])
        subprocess.run(
            [
                browser,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                f"--user-data-dir={directory}/profile",
                f"--window-size={WIDTH},{HEIGHT}",
                f"--screenshot={output}",
                page.as_uri(),
            ],
            check=True,
        )


if __name__ == "__main__":
    main()
