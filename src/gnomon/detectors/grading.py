"""How bad a loss is: the only thresholds that decide between silence, info, warning, critical.

``share`` is what was lost of the time in which it could be lost (a thread's active time, the
window), 0 to 1.
"""

from __future__ import annotations

from gnomon.enums import Severity

INFO_SHARE = 0.01
WARNING_SHARE = 0.05
CRITICAL_SHARE = 0.25
# A shorter loss is not worth a word, whatever its share: of a thread that was active for a moment
# a moment is much.
SHORTEST_NS = 10_000_000


def severity_of(share: float, *, at_most: Severity = Severity.CRITICAL) -> Severity | None:
    """Return the severity of a share that was lost; None where it is not worth a word."""
    if share < INFO_SHARE:
        return None
    if share < WARNING_SHARE or at_most is Severity.INFO:
        return Severity.INFO
    if share < CRITICAL_SHARE or at_most is Severity.WARNING:
        return Severity.WARNING
    return Severity.CRITICAL


def milder(severity: Severity, at_most: Severity) -> Severity:
    """Return a severity, lowered to what it may be at most."""
    order = list(Severity)
    return min(severity, at_most, key=order.index)
