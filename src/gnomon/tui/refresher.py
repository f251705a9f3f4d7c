"""One thread that answers the newest request: a slow analysis never queues up."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gnomon.tui.snapshot import Request, Snapshot


class Refresher:
    """Runs ``answer`` on a thread of its own.

    A request that comes while another is being answered replaces the one that waits, so at most
    one waits however slow the answers are.
    """

    def __init__(self, answer: Callable[[Request], Snapshot]) -> None:
        self._answer = answer
        self._wanted: Request | None = None
        self._latest: Snapshot | None = None
        self._listener: Callable[[Snapshot], object] | None = None
        self._stopped = False
        self._changed = threading.Condition()
        # A daemon: quitting must not wait for an analysis that hangs.
        self._thread = threading.Thread(target=self._run, name="gnomon-refresh", daemon=True)
        self._thread.start()

    def listen(self, listener: Callable[[Snapshot], object]) -> None:
        """Hand every answer to ``listener``, at once the newest if there is one already.

        The listener is called on the refresher's thread (the first time perhaps on this one).
        """
        with self._changed:
            self._listener = listener
            latest = self._latest
        if latest is not None:
            listener(latest)

    def request(self, request: Request) -> None:
        with self._changed:
            self._wanted = request
            self._changed.notify()

    def stop(self, timeout_s: float = 1.0) -> None:
        """Ask the thread to end and wait a moment for it."""
        with self._changed:
            self._stopped = True
            self._listener = None
            self._changed.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or self._wanted is not None)
                if self._stopped:
                    return
                request, self._wanted = self._wanted, None
            if request is None:
                continue
            answer = self._answer(request)
            with self._changed:
                self._latest = answer
                listener = self._listener
            if listener is not None:
                listener(answer)
