"""What the user should hear once about a trace: what is missing in it, and why."""

from collections.abc import Sequence
from typing import NamedTuple

from gnomon.enums import Severity


class Notice(NamedTuple):
    """One thing to hear. (``kind``, ``subject``) tells it from others; ``remedy`` may be empty.

    The message of a kind that counts, such as late_attach, changes as ``times`` grows.
    """

    severity: Severity
    message: str
    kind: str
    subject: str = ""
    remedy: str = ""
    times: int = 1


class Notices:
    """Notices in the order in which they came up, each once."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str], Notice] = {}

    def tell(self, notice: Notice) -> None:
        """Add a notice, or replace the one of its kind and subject."""
        self._said[notice.kind, notice.subject] = notice

    def all(self) -> Sequence[Notice]:
        """All so far."""
        return tuple(self._said.values())
