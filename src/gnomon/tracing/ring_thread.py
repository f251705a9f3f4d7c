"""A thread that empties the ring, so that it never waits for anything else that we do."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np
import numpy.typing as npt

from gnomon._errors import TracingError
from gnomon.tracing import layouts
from gnomon.tracing.maps import Map
from gnomon.tracing.ring import RingReader

Records = npt.NDArray[np.void]

PERIOD_S = 0.01
# What may wait to be looked at. Beyond it the ring fills, and the programs count what is lost.
MOST_RECORDS = 1 << 20
# Every record begins like this, and is as long as any other.
REST = f"V{layouts.CALL_RECORD.itemsize - layouts.RECORD.itemsize}"
ANY_RECORD = np.dtype([("record", layouts.RECORD), ("rest", REST)])


class RingThread:
    """Copies records out of the ring ``records`` every 10 ms; `take` hands them over."""

    def __init__(self, ring: Map) -> None:
        self._reader = RingReader(ring.fd, ring.spec.entries, ANY_RECORD)
        self._lock = threading.Lock()
        self._batches: deque[Records] = deque()
        self._waiting = 0
        self._taken = 0
        self._stop = threading.Event()
        self._error: TracingError | None = None
        self._thread = threading.Thread(target=self._run, name="gnomon-ring", daemon=True)
        self._thread.start()

    def take(self) -> Records:
        """All records that there are, in the order of the ring. Raises what the thread met."""
        if self._error is not None:
            raise self._error
        self._read()
        batches = [self._batches.popleft() for _ in range(len(self._batches))]
        self._taken += sum(map(len, batches))
        return np.concatenate(batches) if batches else np.empty(0, ANY_RECORD)

    def close(self) -> None:
        """Stop; what has not been taken is gone."""
        self._stop.set()
        self._thread.join()
        self._reader.close()

    def _run(self) -> None:
        while not self._stop.wait(PERIOD_S):
            try:
                self._read()
            except TracingError as error:
                self._error = error
                return

    def _read(self) -> None:
        if self._waiting - self._taken > MOST_RECORDS:
            return
        with self._lock:
            records = self._reader.read()
            if len(records):
                self._batches.append(records.copy())
                self._waiting += len(records)
            self._reader.release()


def of_kind(records: Records, kind: layouts.RecordKind, dtype: np.dtype[np.void]) -> Records:
    """The records of a kind, as what they are."""
    is_of_it = records["record"]["kind"] == kind
    count = int(np.count_nonzero(is_of_it))
    # A flood is of one kind: copying it would take as long as all else together.
    if count == len(records):
        return records.view(dtype)
    chosen: Records = records[is_of_it] if count else records[:0]
    return chosen.view(dtype)
