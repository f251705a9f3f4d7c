"""Reads the record stream of ``gnomon-pm``; native/gnomon_pm/records.h lays it down.

Pure parsing: bytes in, records out, in whatever pieces they arrive.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from gnomon._errors import SourceError

MAGIC = 0x4D504E47
VERSION = 1
# The helper writes each record in one write of at most PIPE_BUF bytes.
LONGEST_PAYLOAD_BYTES = 4096

_HEADER = struct.Struct("<IHHIi")
_HELLO = struct.Struct("<IIII")
_GPU = struct.Struct("<16s16sIIII")
_ROW = struct.Struct("<qqqdqqII")
_LOSS = struct.Struct("<qqII")
_STATUS = struct.Struct("<Ii")


class StatusCode(IntEnum):
    """Why a GPU, or all of them, cannot be sampled."""

    BUSY = 1
    PRIVILEGES = 2
    UNSUPPORTED = 3
    LIBRARY_TOO_NEW = 4
    METRICS = 5
    LIBRARY = 6
    FAILED = 7


class LossReason(IntEnum):
    """Why samples are missing; the names are the words of the losses table."""

    OVERFLOW = 1
    BAD_SAMPLE = 2
    QUEUE_FULL = 3


@dataclass(frozen=True, slots=True)
class Hello:
    """The helper runs; ``driver_cuda`` is 13000 for CUDA 13.0."""

    cupti_api_version: int
    driver_cuda: int
    gpus: int


@dataclass(frozen=True, slots=True)
class GpuStarted:
    """Sampling of a GPU began, with metric set ``plan`` of those that were sent."""

    gpu: int
    uuid: str
    chip: str
    plan: int
    interval_us: int


@dataclass(frozen=True, slots=True)
class Row:
    """Sums over the samples of one row; ``sums`` and ``weights`` run along the plan's metrics."""

    gpu: int
    start_ns: int
    end_ns: int
    time_ns: int
    cycles: float
    link_only_ns: int
    cpu_ns: int
    samples: int
    sums: tuple[float, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Loss:
    """Samples that were taken, or should have been, and are missing."""

    gpu: int
    start_ns: int
    end_ns: int
    samples: int
    reason: LossReason


@dataclass(frozen=True, slots=True)
class Status:
    """A GPU (or, with ``gpu`` -1, the helper) cannot be sampled."""

    gpu: int
    code: StatusCode
    result: int
    text: str


Record = Hello | GpuStarted | Row | Loss | Status


class RecordReader:
    """Turns the byte stream into records; keeps the incomplete rest for the next call."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Record]:
        """Yield the records that ``data`` completes.

        Raises SourceError where the stream is not what this version of gnomon speaks.
        """
        self._rest += data
        while len(self._rest) >= _HEADER.size:
            magic, version, kind, payload_bytes, gpu = _HEADER.unpack_from(self._rest)
            if magic != MAGIC or payload_bytes > LONGEST_PAYLOAD_BYTES:
                raise SourceError("gnomon-pm sent bytes that are no record", "reinstall gnomon")
            if version != VERSION:
                raise SourceError(
                    f"gnomon-pm speaks version {version} of its records, gnomon {VERSION}",
                    "reinstall gnomon, so that both come from one build",
                )
            end = _HEADER.size + payload_bytes
            if len(self._rest) < end:
                return
            payload, self._rest = self._rest[_HEADER.size : end], self._rest[end:]
            try:
                record = _parse(kind, gpu, payload)
            except (struct.error, ValueError) as error:
                raise SourceError(
                    f"gnomon-pm sent a broken record of kind {kind}: {error}", "reinstall gnomon"
                ) from error
            yield record


def _parse(kind: int, gpu: int, payload: bytes) -> Record:
    if kind == 1:
        cupti_api_version, driver_cuda, gpus, _ = _HELLO.unpack(payload)
        return Hello(cupti_api_version, driver_cuda, gpus)
    if kind == 2:
        uuid, chip, plan, _, interval_us, _ = _GPU.unpack(payload)
        name = chip.split(b"\0")[0].decode("ascii", "replace")
        return GpuStarted(gpu, format_uuid(uuid), name, plan, interval_us)
    if kind == 3:
        return _parse_row(gpu, payload)
    if kind == 4:
        start_ns, end_ns, samples, reason = _LOSS.unpack(payload)
        return Loss(gpu, start_ns, end_ns, samples, LossReason(reason))
    if kind == 5:
        code, result = _STATUS.unpack_from(payload)
        text = payload[_STATUS.size :].decode("utf-8", "replace")
        return Status(gpu, StatusCode(code), result, text)
    raise ValueError("a kind that does not exist")


def _parse_row(gpu: int, payload: bytes) -> Row:
    *totals, samples, metrics = _ROW.unpack_from(payload)
    values = struct.unpack(f"<{2 * metrics}d", payload[_ROW.size :])
    start_ns, end_ns, time_ns, cycles, link_only_ns, cpu_ns = totals
    return Row(
        gpu=gpu,
        start_ns=start_ns,
        end_ns=end_ns,
        time_ns=time_ns,
        cycles=cycles,
        link_only_ns=link_only_ns,
        cpu_ns=cpu_ns,
        samples=samples,
        sums=values[:metrics],
        weights=values[metrics:],
    )


def format_uuid(raw: bytes) -> str:
    """Spell the 16 bytes of a CUuuid as NVML does: GPU-8-4-4-4-12 hexadecimal digits."""
    digits = raw.hex()
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "GPU-" + "-".join(parts)
