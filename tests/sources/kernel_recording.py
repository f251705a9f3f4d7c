"""A program under the injected library, and a recorder whose windows a test opens itself."""

from __future__ import annotations

import time
from pathlib import Path

from gnomon.configuration import KernelsRequest
from gnomon.sources import _kernels_control as control
from gnomon.sources._kernels_ring import State
from gnomon.sources.kernels import KernelsSource
from tests.standins import activity

ALL_KINDS = sum(control.KINDS.values())
MS = 10**6


class Stage:
    """A directory in shared memory, a source that reads it, and programs that write there."""

    def __init__(self, built: activity.Built, root: Path, **options) -> None:
        self.built = built
        self.directory = control.make_directory(ALL_KINDS, root=root, **options)
        self.log = root / f"{self.directory.name}.log"
        # Its own windows never begin: a test opens them.
        self.source = KernelsSource(KernelsRequest(self.directory, 1.0, 10.0**9))
        self.source.open()
        self.source._turn = 0
        self.control = self.source._control
        self.rows: dict[str, list[dict]] = {}
        self._players: list[activity.Player] = []

    def play(self, **variables) -> activity.Player:
        """Start a program, its driver not yet initialised."""
        told = {
            "CUDA_INJECTION64_PATH": str(self.built.library),
            control.DIRECTORY_VARIABLE: str(self.directory),
            control.LIBRARY_VARIABLE: str(self.built.cupti),
            "STANDIN_LOG": str(self.log),
        }
        player = activity.Player(self.built, told | variables)
        self._players.append(player)
        return player

    def begin(self, duration_ns: int = 60 * 10**9, programs: int = 1) -> None:
        """Open a window and wait until so many programs are in it."""
        self.control.open_window(duration_ns)
        self.until(lambda: self.states().count("OPEN") >= programs)

    def end(self) -> None:
        """End the window and wait until it is closed everywhere."""
        self.control.end_window()
        self.until(lambda: "OPEN" not in self.states())

    def states(self) -> list[str]:
        self.read()
        return [State(one.ring.state).name for one in self.source._followed.values()]

    def until(self, condition, timeout_s: float = 5.0) -> None:
        deadline_s = time.monotonic() + timeout_s
        self.read()
        while not condition():
            assert time.monotonic() < deadline_s, self.states()
            time.sleep(0.005)
            self.read()
        # What came between the last reading and the change of state.
        self.read()

    def read(self) -> None:
        self.keep(self.source.read())

    def keep(self, batches) -> None:
        for batch in batches:
            rows = batch.arrow.to_pylist() if batch.arrow is not None else batch.rows
            self.rows.setdefault(batch.table, []).extend(rows)

    def of(self, table: str) -> list[dict]:
        return self.rows.get(table, [])

    def reasons(self) -> list[str]:
        return [one.reason for one in self.source.describe().missing]

    def calls(self) -> list[str]:
        """The functions of CUPTI that were called."""
        return self.log.read_text().split() if self.log.exists() else []

    def close(self) -> None:
        for player in self._players:
            player.close()
        self.source.close()
        control.remove_directory(self.directory)
