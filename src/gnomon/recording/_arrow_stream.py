"""Arrow IPC streams that may end anywhere, because their writer may die anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# Continuation marker and a length of 0 (Arrow columnar format, "IPC Streaming Format").
END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


class TornStreamError(Exception):
    """The stream stops making sense at ``offset``; everything before it is whole."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"torn at byte {offset}: {reason}")
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole record batch and the bytes [offset, end) that it was read from."""

    offset: int
    end: int
    batch: Any


def read_schema(source: Any) -> Any:
    """Read the schema a stream starts with; raises TornStreamError where there is none."""
    import pyarrow as pa  # noqa: PLC0415

    try:
        schema = pa.ipc.read_schema(source)
        has_time = "ts_ns" in schema.names and schema.field("ts_ns").type == pa.int64()
    except (pa.ArrowException, OSError, ValueError, EOFError) as error:
        raise TornStreamError(0, first_line(error)) from error
    if not has_time:
        raise TornStreamError(0, "the schema has no ts_ns column")
    return schema


def read_frames(source: Any, schema: Any) -> Iterator[Frame]:
    """Yield the whole batches from where ``source`` stands; every one is validated.

    Raises TornStreamError at the first byte that is not part of a whole batch.
    """
    import pyarrow as pa  # noqa: PLC0415

    size = source.size()
    while (offset := source.tell()) < size:
        try:
            batch = pa.ipc.read_record_batch(pa.ipc.read_message(source), schema)
            batch.validate(full=True)
            if batch.column("ts_ns").null_count:
                raise ValueError("rows without a ts_ns")  # noqa: TRY301  told as any other damage
        except EOFError:
            if source.tell() < size:
                raise TornStreamError(offset, "bytes after the end of the stream") from None
            if size - offset != len(END_OF_STREAM):
                raise TornStreamError(offset, "an incomplete message") from None
            return
        except (pa.ArrowException, OSError, ValueError) as error:
            raise TornStreamError(offset, first_line(error)) from error
        yield Frame(offset, source.tell(), batch)


def first_line(error: Exception) -> str:
    """Return the first line of an error's text; the libraries below write several."""
    return (str(error).splitlines() or [type(error).__name__])[0]
