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
VERSION = 2
# The helper writes each record in one write of at most PIPE_BUF bytes.
LONGEST_PAYLOAD_BYTES = 4096
# Of a sample beside its metrics: when it ended, and its length.
SAMPLE_TIMES_BYTES = 12
METRIC_BYTES = 4

_HEADER = struct.Struct("<IHHIi")
_HELLO = struct.Struct("<IIII")
_GPU = struct.Struct("<16s16sII")
_SET = struct.Struct("<HHH")
_ROW = struct.Struct("<qqqdqqIHH")
_SAMPLES = struct.Struct("<IHH")
_LOSS = struct.Struct("<qqII")
_STATUS = struct.Struct("<Ii")
_STATISTICS = struct.Struct("<qqqII")


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
    """Why samples are missing."""

    OVERFLOW = 1
    BAD_SAMPLE = 2
    PIPE_FULL = 3
    SAMPLES_PIPE_FULL = 4


@dataclass(frozen=True, slots=True)
class Hello:
    """The helper runs; ``driver_cuda`` is 13000 for CUDA 13.0."""

    cupti_api_version: int
    driver_cuda: int
    gpus: int


@dataclass(frozen=True, slots=True)
class StartedSet:
    """What is sampled of counter set ``number`` of the plan that was sent.

    ``metrics`` are numbers of metrics in the plan, in the order of every row and sample; none: the
    set is left out. ``lacking`` are places of wishes in the set.
    """

    number: int
    metrics: tuple[int, ...]
    lacking: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GpuStarted:
    """Sampling of a GPU began."""

    gpu: int
    uuid: str
    chip: str
    interval_us: int
    sets: tuple[StartedSet, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """Sums over the samples of one row; ``sums`` and ``weights`` run along the set's metrics."""

    gpu: int
    set_number: int
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
class Samples:
    """Samples one by one.

    ``columns``: their ends (int64, Unix ns), their lengths (uint32, ns), then each metric of the
    set (float32), little-endian.
    """

    gpu: int
    set_number: int
    samples: int
    metrics: int
    columns: bytes


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


@dataclass(frozen=True, slots=True)
class Statistics:
    """The helper on its own work on a GPU, since it began.

    ``gaps``: places where samples are missing; ``overflows``: decodes that found the hardware
    buffer full.
    """

    gpu: int
    samples: int
    lost: int
    decoding_ns: int
    gaps: int
    overflows: int


Record = Hello | GpuStarted | Row | Samples | Loss | Status | Statistics


class RecordReader:
    """Turns the byte stream into records; keeps the incomplete rest for the next call."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Record]:
        """Yield the records that ``data`` completes.

        Raises SourceError where the stream is not what this version of gnomon speaks.
        """
        data = self._rest + data
        begin = 0
        while begin + _HEADER.size <= len(data):
            kind, gpu, payload_bytes = _head(data, begin)
            end = begin + _HEADER.size + payload_bytes
            if end > len(data):
                break
            payload = data[begin + _HEADER.size : end]
            begin = end
            try:
                record = _parse(kind, gpu, payload)
            except (struct.error, ValueError) as error:
                raise SourceError(
                    f"gnomon-pm sent a broken record of kind {kind}: {error}", "reinstall gnomon"
                ) from error
            yield record
        self._rest = data[begin:]


def _head(data: bytes, begin: int) -> tuple[int, int, int]:
    """Return kind, GPU and length of the record that begins there."""
    magic, version, kind, payload_bytes, gpu = _HEADER.unpack_from(data, begin)
    if magic != MAGIC or payload_bytes > LONGEST_PAYLOAD_BYTES:
        raise SourceError("gnomon-pm sent bytes that are no record", "reinstall gnomon")
    if version != VERSION:
        raise SourceError(
            f"gnomon-pm speaks version {version} of its records, gnomon {VERSION}",
            "reinstall gnomon, so that both come from one build",
        )
    return kind, gpu, payload_bytes


def _parse(kind: int, gpu: int, payload: bytes) -> Record:  # noqa: PLR0911  one a kind
    if kind == 1:
        cupti_api_version, driver_cuda, gpus, _ = _HELLO.unpack(payload)
        return Hello(cupti_api_version, driver_cuda, gpus)
    if kind == 2:
        return _parse_gpu(gpu, payload)
    if kind == 3:
        return _parse_row(gpu, payload)
    if kind == 4:
        start_ns, end_ns, samples, reason = _LOSS.unpack(payload)
        return Loss(gpu, start_ns, end_ns, samples, LossReason(reason))
    if kind == 5:
        code, result = _STATUS.unpack_from(payload)
        text = payload[_STATUS.size :].decode("utf-8", "replace")
        return Status(gpu, StatusCode(code), result, text)
    if kind == 6:
        return _parse_samples(gpu, payload)
    if kind == 7:
        return Statistics(gpu, *_STATISTICS.unpack(payload))
    raise ValueError("a kind that does not exist")


def _parse_gpu(gpu: int, payload: bytes) -> GpuStarted:
    uuid, chip, interval_us, sets = _GPU.unpack_from(payload)
    started: list[StartedSet] = []
    at = _GPU.size
    for _ in range(sets):
        number, metrics, lacking = _SET.unpack_from(payload, at)
        numbers = struct.unpack_from(f"<{metrics + lacking}H", payload, at + _SET.size)
        started.append(StartedSet(number, numbers[:metrics], numbers[metrics:]))
        at += _SET.size + 2 * len(numbers)
    name = chip.split(b"\0")[0].decode("ascii", "replace")
    return GpuStarted(gpu, format_uuid(uuid), name, interval_us, tuple(started))


def _parse_row(gpu: int, payload: bytes) -> Row:
    *totals, samples, metrics, set_number = _ROW.unpack_from(payload)
    values = struct.unpack(f"<{2 * metrics}d", payload[_ROW.size :])
    start_ns, end_ns, time_ns, cycles, link_only_ns, cpu_ns = totals
    return Row(
        gpu=gpu,
        set_number=set_number,
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


def _parse_samples(gpu: int, payload: bytes) -> Samples:
    samples, metrics, set_number = _SAMPLES.unpack_from(payload)
    columns = payload[_SAMPLES.size :]
    if len(columns) != samples * (SAMPLE_TIMES_BYTES + METRIC_BYTES * metrics):
        raise ValueError(f"{len(columns)} bytes for {samples} samples of {metrics} metrics")
    return Samples(gpu, set_number, samples, metrics, columns)


def format_uuid(raw: bytes) -> str:
    """Spell the 16 bytes of a CUuuid as NVML does: GPU-8-4-4-4-12 hexadecimal digits."""
    digits = raw.hex()
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "GPU-" + "-".join(parts)
