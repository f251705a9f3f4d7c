"""Switches PM sampling on and off on command, through gnomon's own source.

    python -m benchmarks.pm_switch [INTERVAL_US]

Reads lines "on" and "off"; answers "on" once a row has come, "off" once rows have ceased to, or
"error: ..." and ends. A stopped helper process would not do: the hardware would sample on.
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
QUIET_S = 0.2


def switch(interval_us: int) -> None:
    """Serve commands until the input ends. Raises GnomonError where sampling fails."""
    source = PmSource(interval_us=interval_us)
    running = is_open = False
    try:
        while True:
            command = _command(DRAIN_EVERY_S if running else None)
            if command == "on" and not running:
                if is_open:
                    source.resume()
                else:
                    source.open()
                    is_open = True
                _wait_for_row(source)
                running = True
                print("on", flush=True)
            elif command == "off":
                if running:
                    source.pause()
                    _wait_for_silence(source)
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


def _wait_for_silence(source: PmSource) -> None:
    """Return once nothing has come for two periods of the helper's decoding."""
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < QUIET_S:
        if source.read():
            quiet_since = time.monotonic()
        time.sleep(0.02)


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
