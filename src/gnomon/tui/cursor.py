"""Where in time the screen looks: at the newest, a while behind it, or frozen. Pure.

Two kinds share one set of keys. A feed that only grows (or has ended) is looked at through a
window that follows its end, like a video recorder. A replay has a clock of its own that can be
stopped and set.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from gnomon.tui.snapshot import Snapshot


@runtime_checkable
class Player(Protocol):
    """The controls of a replay (``recording/replay.py``)."""

    def now_ns(self) -> int: ...
    def seek(self, ts_ns: int, /) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Cursor:
    """The position in a feed without controls of its own."""

    is_replay = False
    is_at_end = False

    def __init__(self) -> None:
        self.frozen_ns: int | None = None
        self.behind_ns = 0

    @property
    def is_paused(self) -> bool:
        return self.frozen_ns is not None

    def toggle_pause(self, shown: Snapshot | None) -> None:
        """Freeze at what is shown, or play on from there."""
        if self.frozen_ns is None:
            self.frozen_ns = shown.at_ns if shown else None
        elif shown is not None and shown.end_ns is not None:
            self.behind_ns = max(0, shown.end_ns - self.frozen_ns)
            self.frozen_ns = None

    def move(self, step_ns: int, shown: Snapshot | None) -> None:
        """Freeze ``step_ns`` away from what is shown; past the end is live again."""
        if shown is None or shown.at_ns is None:
            return
        start_ns, end_ns = shown.start_ns or 0, shown.end_ns or shown.at_ns
        wanted = (shown.at_ns if self.frozen_ns is None else self.frozen_ns) + step_ns
        if wanted >= end_ns:
            self.live(shown)
        else:
            self.frozen_ns = max(wanted, min(start_ns + shown.window_ns, end_ns))

    def live(self, shown: Snapshot | None) -> None:  # noqa: ARG002  same keys as a replay
        self.frozen_ns = None
        self.behind_ns = 0


class ReplayCursor:
    """The position in a replay: its own clock, which this stops, starts and sets."""

    is_replay = True
    behind_ns = 0
    frozen_ns: int | None = None

    def __init__(self, player: Player) -> None:
        self._player = player
        self.is_paused = False

    def toggle_pause(self, shown: Snapshot | None) -> None:  # noqa: ARG002
        self._set_paused(not self.is_paused)

    def move(self, step_ns: int, shown: Snapshot | None) -> None:
        """Set the clock ``step_ns`` away, staying inside the recording; playing goes on."""
        wanted = self._player.now_ns() + step_ns
        if shown is not None and shown.start_ns is not None:
            wanted = max(wanted, shown.start_ns + min(shown.window_ns, 1_000_000_000))
        self._player.seek(wanted)

    def live(self, shown: Snapshot | None) -> None:  # noqa: ARG002
        self._set_paused(False)

    @property
    def is_at_end(self) -> bool:
        """Whether all of the recording has been played; a replay that loops never is."""
        whole_bounds = getattr(self._player, "whole_bounds", None)
        return whole_bounds is not None and self._player.now_ns() >= whole_bounds()[1]

    def _set_paused(self, paused: bool) -> None:  # noqa: FBT001
        self.is_paused = paused
        if paused:
            self._player.pause()
        else:
            self._player.resume()


def cursor_for(feed: object) -> Cursor | ReplayCursor:
    return ReplayCursor(feed) if isinstance(feed, Player) else Cursor()
