"""The helper of a recorder: traces in a process of its own, which may die alone.

``python -m gnomon.tracing --fd N`` reads one line from its standard input, a `Plan` as JSON, and
writes `stream` messages to descriptor N. It ends with SIGTERM, with its standard input, and with
the reader of its pipe; then it takes its probes away and tells the rest. It is called gnomon-bpf.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import sys
import time

from gnomon._errors import TracingError
from gnomon.tracing.plan import Plan
from gnomon.tracing.stream import StreamWriter

NAME = b"gnomon-bpf"
PR_SET_NAME = 15  # <linux/prctl.h>
REFUSED = 3
# What is still to be told at the end waits for a reader this long.
LAST_WORDS_S = 1.0
ALIVE_EVERY_S = 0.5
# A crowded processor, which is what is to be explained, must not starve who explains it.
PRIORITY = -10


def main() -> int:
    """Trace until told to end; return the exit status."""
    parser = argparse.ArgumentParser(prog="gnomon-bpf", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="where to write")
    arguments = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_NAME, NAME, 0, 0, 0)
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    # Ctrl-C reaches the whole group; the recorder tells us when it is time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    writer = StreamWriter(arguments.fd)
    try:
        plan = Plan.from_json(sys.stdin.readline())
        _trace(plan, writer)
    except TracingError as error:
        writer.say({"refused": error.reason, "remedy": error.remedy})
        writer.flush()
        return REFUSED
    except BrokenPipeError:
        pass  # whoever would read is gone
    return 0


def _trace(plan: Plan, writer: StreamWriter) -> None:
    from gnomon.tracing.session import Session  # noqa: PLC0415  numpy, and quick to refuse without

    told, tell = os.pipe()
    signal.signal(signal.SIGTERM, lambda _number, _frame: os.write(tell, b"."))
    with Session(plan, writer.batch) as session:
        writer.say(session.description())
        said_s = 0.0
        while _wait(told, session.turn(), writer):
            for table, rows in writer.take_lost().items():
                session.count_loss(table, "pipe_full", rows)
            if time.monotonic() - said_s > ALIVE_EVERY_S:
                said_s = time.monotonic()
                writer.say({"is_alive": True})
            writer.flush()
        session.finish()
        deadline_s = time.monotonic() + LAST_WORDS_S
        while not writer.flush() and time.monotonic() < deadline_s:
            time.sleep(0.005)
        # All is told, though old kernels take seconds to let go of the probes.
        writer.close()


def _wait(told: int, wait_s: float, writer: StreamWriter) -> bool:
    """Wait, writing what the pipe has room for; False when it is time to end.

    That is when SIGTERM has come, or our standard input is at its end.
    """
    deadline_s = time.monotonic() + wait_s
    while True:
        left_s = max(0.0, deadline_s - time.monotonic())
        ready, room, _ = select.select([sys.stdin, told], writer.room_wanted(), [], left_s)
        if ready or not room:
            return not ready
        writer.flush()


if __name__ == "__main__":
    sys.exit(main())
