"""The exceptions of gnomon. Messages say what could not be done, on what, and what to try."""


class GnomonError(Exception):
    """Base of every error that gnomon raises on purpose; shown to users without a traceback."""


class SourceError(GnomonError):
    """A source could not be opened or read.

    ``remedy`` tells the user what would make it work, or is empty where nothing would.
    """

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy


class TracingError(SourceError):
    """Programs could not be brought into the kernel, or what they need or write is not readable."""


class RefusedError(TracingError):
    """The kernel refused an operation of the tracer; ``errno`` says how."""

    def __init__(self, reason: str, errno: int, remedy: str = "") -> None:
        super().__init__(reason, remedy)
        self.errno = errno


class RecordingError(GnomonError):
    """A recording could not be written or read."""


class ModelError(GnomonError):
    """A model's description, or what is asked of it, makes no sense; names the field."""


class CommandError(GnomonError):
    """A command line could not be carried out; carries the exit status."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
