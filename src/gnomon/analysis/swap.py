"""When a host moved memory to its swap, and which waits for a disk that explains.

A wait whose stack is known says itself whether it was for a page. Of others, those that ended while
swap in use grew by ``SMALLEST_BYTES`` and more from one reading to the next are put down to it.
"""

from __future__ import annotations

from collections.abc import Sequence

from gnomon.analysis.questions import Span
from gnomon.recording.base import Session

SMALLEST_BYTES = 16 << 20
# Stretches in which swap grew, the longest first: enough for any real case.
MOST_STRETCHES = 50

GROWING_SQL = """\
SELECT from_ns, to_ns FROM (
  SELECT lag(ts_ns) OVER (ORDER BY ts_ns) AS from_ns, ts_ns AS to_ns,
    swap_used_bytes - lag(swap_used_bytes) OVER (ORDER BY ts_ns) AS grown_bytes
  FROM host_samples WHERE {where}
) WHERE grown_bytes >= {smallest} ORDER BY to_ns"""


def swap_growth(session: Session, span: Span) -> Sequence[Span]:
    """Return when swap in use grew: readings that follow each other as one, the longest first."""
    rows = session.rows(GROWING_SQL.format(where=span.condition, smallest=SMALLEST_BYTES))
    found: list[Span] = []
    for row in rows:
        if found and found[-1].to_ns == row["from_ns"]:
            found[-1] = Span(found[-1].from_ns, row["to_ns"])
        else:
            found.append(Span(row["from_ns"], row["to_ns"]))
    return sorted(found, key=lambda one: one.from_ns - one.to_ns)[:MOST_STRETCHES]


def while_growing(growing: Sequence[Span]) -> str:
    """As it stands in a WHERE: stays of which no stack tells, while swap grew."""
    stretches = " OR ".join(f"({one.condition})" for one in growing)
    return (
        f"({stretches}) AND (stack_hash IS NULL "
        "OR stack_hash NOT IN (SELECT stack_hash FROM stacks WHERE stack_hash IS NOT NULL))"
    )
