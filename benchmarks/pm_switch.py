"""Switches PM sampling on and off on command, through gnomon's own source.

    python -m benchmarks.pm_switch [INTERVAL_US]

Reads lines "on" and "off" and repeats them once they are done, or says "error: ..." and ends. An
"off" is only said when rows of the time since "on" have come: sampling that silently did nothing
would look free. A stopped helper process would not do: the hardware would sample on.
"""

from __future__ import annotations

import os
import select
import sys
import time

from gnomon._errors import GnomonError
from gnomon.sources.pm import DEFAULT_INTERVAL_US, PmSource

DRAIN_EVERY_S = 0.1
ROW_WITHIN_S = 15.0
# A signal reaches the helper, and the helper its library.
SWITCH_S = 0.05


def switch(interval_us: int) -> None:
    """Serve commands until the input ends. Raises GnomonError where sampling fails."""
    source = PmSource(interval_us=interval_us)
    try:
        source.open()
        _wait_for_row(source)
        running = True
        rows = 1  # the one just waited for: an "off" may come before the next
        while (command := _command(DRAIN_EVERY_S)) != "":
            rows += _rows(source)
            if command == "on" and not running:
                source.resume()
                time.sleep(SWITCH_S)
                running, rows = True, 0
            elif command == "off" and running:
                source.pause()
                time.sleep(SWITCH_S)
                if rows == 0:
                    _wait_for_row(source)
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


def _rows(source: PmSource) -> int:
    return sum(len(batch.rows) for batch in source.read() if batch.table == "gpu_counters")


def _wait_for_row(source: PmSource) -> None:
    deadline = time.monotonic() + ROW_WITHIN_S
    while time.monotonic() < deadline:
        if _rows(source):
            return
        time.sleep(0.02)
    reasons = "; ".join(missing.reason for missing in source.describe().missing)
    raise GnomonError(f"no PM row within {ROW_WITHIN_S:.0f} s: {reasons or 'no reason given'}")


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
