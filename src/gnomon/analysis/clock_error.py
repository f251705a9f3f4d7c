"""How far the clocks of hosts are apart, from what their ranks did together.

All ranks leave a collective at the same moment, when the last one has come. A host sees that moment
where the thread that enqueued the collective next waits for its GPU: the ends of these waits on two
hosts are the same instant by two clocks. Their median difference is the error; how far single ones
stray from it bounds what it is good for, because a rank may have had more to finish than the other.

The estimate must also be possible: no rank leaves a collective before the other has entered it, so
that (entered there - left here) is below the error and (left there - entered here) above it, for
every collective. An estimate outside of these bounds is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gnomon.analysis.collectives import WHOLE
from gnomon.analysis.intervals import Ints
from gnomon.analysis.operations import CUDA_LAYERS, Kind, condition
from gnomon.analysis.questions import Scope, literal
from gnomon.recording.base import Session

# With fewer shared collectives the spread says nothing.
FEWEST_SHARED = 5
# Of all strays, how many the stated uncertainty covers.
COVERED = 0.95
# A long job ties its hosts together in any part of it.
MOST_COLLECTIVES = 20_000

HOSTS_SQL = "SELECT DISTINCT host FROM nccl_calls WHERE {where}"
# One rank a host is enough: all of them share its clock. NULL where no wait follows.
LEFT_SQL = """\
WITH entered AS (
  SELECT host, pid, tid, communicator, sequence, ts_ns, ts_ns - duration_ns AS entered_ns
  FROM nccl_calls
  WHERE {where} AND {whole}
  QUALIFY row_number() OVER (PARTITION BY host, communicator, sequence ORDER BY rank) = 1
  ORDER BY ts_ns LIMIT {most}
), waits AS (
  SELECT host, pid, tid, ts_ns AS left_ns FROM host_calls
  WHERE {where} AND {waits} AND layer IN ({layers})
)
SELECT entered.host AS host, communicator, sequence, entered_ns, left_ns
FROM entered ASOF LEFT JOIN waits
  ON entered.host IS NOT DISTINCT FROM waits.host AND entered.pid = waits.pid
  AND entered.tid = waits.tid AND waits.left_ns >= entered.ts_ns"""


@dataclass(frozen=True, slots=True)
class ClockError:
    """A host's clock: ``ahead_ns`` of the reference's, known within +- ``uncertainty_ns``.

    ``shared``: from how many collectives.
    """

    host: str | None
    ahead_ns: int
    uncertainty_ns: int
    shared: int


def clock_errors(session: Session, scope: Scope) -> Mapping[str | None, ClockError]:
    """Return host -> its clock against the host that shares most; hosts that nothing ties are out.

    The reference itself is in it, with an error of 0. Where one host is all there is, so is it.
    """
    where = f"{scope.condition} AND {WHOLE}"
    hosts = [row["host"] for row in session.rows(HOSTS_SQL.format(where=where))]
    if len(hosts) < 2:
        return {host: ClockError(host, 0, 0, 0) for host in hosts}
    seen = _seen(session, scope)
    reference = min(seen, key=lambda host: (-_ties(seen, host), host is None, str(host)))
    found = {reference: ClockError(reference, 0, 0, len(seen[reference]))}
    for host, theirs in seen.items():
        if host != reference:
            error = _error(host, seen[reference], theirs)
            if error is not None:
                found[host] = error
    return found


Collective = tuple[str, int]


def _seen(
    session: Session, scope: Scope
) -> dict[str | None, dict[Collective, tuple[int, int | None]]]:
    """Return host -> collective -> when a rank of it entered and left."""
    query = LEFT_SQL.format(
        where=scope.condition,
        whole=WHOLE,
        waits=condition(Kind.SYNCHRONIZATION),
        layers=", ".join(literal(layer.value) for layer in CUDA_LAYERS),
        most=MOST_COLLECTIVES,
    )
    found: dict[str | None, dict[Collective, tuple[int, int | None]]] = {}
    for row in session.rows(query):
        key = row["communicator"], row["sequence"]
        found.setdefault(row["host"], {})[key] = row["entered_ns"], row["left_ns"]
    return found


def _ties(seen: Mapping[str | None, Mapping[Collective, object]], host: str | None) -> int:
    """Return how many collectives a host shares with others."""
    return sum(
        len(seen[host].keys() & other.keys()) for name, other in seen.items() if name != host
    )


def _error(
    host: str | None,
    ours: Mapping[Collective, tuple[int, int | None]],
    theirs: Mapping[Collective, tuple[int, int | None]],
) -> ClockError | None:
    shared = [
        (*ours[one], *theirs[one])
        for one in ours.keys() & theirs.keys()
        if ours[one][1] is not None and theirs[one][1] is not None
    ]
    if len(shared) < FEWEST_SHARED:
        return None
    return estimate(host, np.array(shared, dtype=np.int64))


def estimate(host: str | None, shared: Ints) -> ClockError | None:
    """Return the error of their clock against ours; None where the ends contradict the entries.

    ``shared``, shape (n, 4): when we entered and left, when they entered and left, ns, each by its
    own clock.
    """
    entered, left, entered_there, left_there = shared.T
    differences = left_there - left
    ahead_ns = int(np.median(differences))
    uncertainty_ns = int(np.quantile(np.abs(differences - ahead_ns), COVERED))
    least, most = int(np.max(entered_there - left)), int(np.min(left_there - entered))
    if not least - uncertainty_ns <= ahead_ns <= most + uncertainty_ns:
        return None
    return ClockError(host, ahead_ns, uncertainty_ns, len(shared))
