"""Libraries that may have been called before they were probed."""

from collections.abc import Collection

from gnomon.enums import Severity
from gnomon.tracing.libraries import Key
from gnomon.tracing.notices import Notice, Notices


class LateLibraries:
    """Tells of them, each file once however many processes load it."""

    def __init__(self, notices: Notices) -> None:
        self._notices = notices
        self._keys: set[Key] = set()
        self._longest_s = 0.0

    def note(self, keys: Collection[Key], since_s: float) -> None:
        """These were probed at most ``since_s`` after a process had loaded them."""
        self._keys.update(keys)
        self._longest_s = max(self._longest_s, since_s)
        self._notices.tell(
            Notice(
                Severity.INFO,
                f"libraries that were probed late: {len(self._keys)}, up to "
                f"{self._longest_s * 1e3:.0f} ms after being loaded; calls before that are missing",
                "late_attach",
                times=len(self._keys),
            )
        )
