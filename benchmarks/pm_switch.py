"""Switches PM sampling on and off on command, through gnomon's own source.

    python -m benchmarks.pm_switch [--interval-us N] [--turns ON_S EVERY_S]

Reads lines "on" and "off" and repeats them once they are done, or says "error: ..." and ends. "On"
is all the time, or in turns; "off" leaves the GPU without an enabled sampler, and is only said
when rows of the time since "on" have come: sampling that silently did nothing would look free. A
stopped helper process would not do: the hardware would sample on.
"""

from __future__ import annotations

import argparse
import os
import select
import sys
import time

from gnomon._errors import GnomonError
from gnomon.sources._pm_asked import DEFAULT_INTERVAL_US, Asked
from gnomon.sources.pm import PmSource

DRAIN_EVERY_S = 0.1
ROW_WITHIN_S = 15.0
# A signal reaches the helper, and the helper its library; ending it takes 0.1 to 0.3 s on an H200.
SWITCH_S = 0.5


def switch(source: PmSource) -> None:
    """Serve commands until the input ends. Raises GnomonError where sampling fails."""
    try:
        source.open()
        _wait_for_row(source)
        running = True
        on_ns = 0
        rows = 1  # the one just waited for: an "off" may come before the next
        while (command := _command(DRAIN_EVERY_S)) != "":
            rows += _rows(source, on_ns)
            if command == "on" and not running:
                on_ns = time.time_ns()
                source.resume()
                time.sleep(SWITCH_S)
                running, rows = True, 0
            elif command == "off" and running:
                if rows == 0:
                    _wait_for_row(source, on_ns)
                source.pause()
                time.sleep(SWITCH_S)
                running = False
            if command is not None:
                print(command, flush=True)
    finally:
        source.close()


def _command(timeout_s: float) -> str | None:
    """Return the next line, "" at the end of the input, None where none came in time."""
    ready, _, _ = select.select([sys.stdin], [], [], timeout_s)
    if not ready:
        return None
    return os.read(sys.stdin.fileno(), 64).decode().strip()


def _rows(source: PmSource, since_ns: int) -> int:
    """Return how many new rows end after ``since_ns``, Unix ns."""
    read = [batch.rows for batch in source.read() if batch.table == "gpu_counters"]
    return sum(row["ts_ns"] > since_ns for rows in read for row in rows)


def _wait_for_row(source: PmSource, since_ns: int = 0) -> None:
    deadline = time.monotonic() + ROW_WITHIN_S
    while time.monotonic() < deadline:
        if _rows(source, since_ns):
            return
        time.sleep(0.02)
    reasons = "; ".join(missing.reason for missing in source.describe().missing)
    raise GnomonError(f"no PM row within {ROW_WITHIN_S:.0f} s: {reasons or 'no reason given'}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Switches PM sampling on and off on command.")
    parser.add_argument("--interval-us", type=int, default=DEFAULT_INTERVAL_US)
    parser.add_argument("--turns", type=float, nargs=2, default=(0.0, 0.0))
    options = parser.parse_args()
    on_s, every_s = options.turns
    try:
        # Shorter samples are taken for their own sake: told one by one.
        fine = options.interval_us < DEFAULT_INTERVAL_US
        asked = Asked(options.interval_us, on_s=on_s, every_s=every_s, fine=fine)
        switch(PmSource(asked=asked))
    except GnomonError as error:
        print(f"error: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
