"""Switches PM sampling on and off on command, through gnomon's own source.

    python -m benchmarks.pm_switch [INTERVAL_US]

Reads lines "on" and "off"; answers "on" once the first row of a GPU has come, "off" once the
helper has gone, or "error: ..." and ends. A stopped helper process would not do: the hardware
would sample on.
"""

from __future__ import annotations

import os
import select
import sys
import time

from gnomon._errors import GnomonError
from gnomon.sources.pm import DEFAULT_INTERVAL_US, PmSource

DRAIN_EVERY_S = 0.1
FIRST_ROW_WITHIN_S = 15.0


def switch(interval_us: int) -> None:
    """Serve commands until the input ends. Raises GnomonError where sampling fails."""
    source = PmSource(interval_us=interval_us)
    running = False
    try:
        while True:
            command = _command(DRAIN_EVERY_S if running else None)
            if command == "on" and not running:
                source.open()
                _wait_for_row(source)
                running = True
                print("on", flush=True)
            elif command == "off":
                source.close()
                running = False
                print("off", flush=True)
            elif command == "":
                return
            elif running:
                source.read()
    finally:
        source.close()


def _command(timeout_s: float | None) -> str | None:
    """Return the next line, "" at the end of the input, None where none came in time."""
    ready, _, _ = select.select([sys.stdin], [], [], timeout_s)
    if not ready:
        return None
    return os.read(sys.stdin.fileno(), 64).decode().strip()


def _wait_for_row(source: PmSource) -> None:
    deadline = time.monotonic() + FIRST_ROW_WITHIN_S
    while time.monotonic() < deadline:
        if any(batch.table == "gpu_counters" and batch.rows for batch in source.read()):
            return
        time.sleep(0.02)
    reasons = "; ".join(missing.reason for missing in source.describe().missing)
    raise GnomonError(
        f"no PM row within {FIRST_ROW_WITHIN_S:.0f} s: {reasons or 'no reason given'}"
    )


def main() -> int:
    interval_us = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_INTERVAL_US
    try:
        switch(interval_us)
    except GnomonError as error:
        print(f"error: {error}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
