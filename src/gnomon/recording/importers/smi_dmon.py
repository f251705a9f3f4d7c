"""What ``nvidia-smi dmon`` prints, as text or CSV.

Two lines that begin with # name the columns and their units, and come again every so often. Times
are there where it was asked for them (``-o DT``), in whole seconds of the machine's own zone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from gnomon.recording.importers.counter_text import (
    MIB,
    Parsed,
    Reading,
    Target,
    WrongFileError,
    known,
    moment,
    number,
    take,
)
from gnomon.recording.importers.sink import BadLine

# Column -> target. Its "MB" of memory are MiB, as --query-gpu says of the same numbers.
TARGETS = {
    "pwr": Target("power_instant_watts"),
    "gtemp": Target("temperature_celsius"),
    "temp": Target("temperature_celsius"),
    "mtemp": Target("memory_temperature_celsius"),
    "sm": Target("busy_pct"),
    "mem": Target("memory_busy_pct"),
    "enc": Target("encoder_pct"),
    "dec": Target("decoder_pct"),
    "jpg": Target("jpeg_pct"),
    "ofa": Target("ofa_pct"),
    "mclk": Target("memory_clock_mhz"),
    "pclk": Target("sm_clock_mhz"),
    "fb": Target("vram_used_bytes", MIB),
    "sbecc": Target("ecc_corrected"),
    "dbecc": Target("ecc_uncorrected"),
    "rxpci": Target("pcie_rx_bytes_per_s", 1e6),
    "txpci": Target("pcie_tx_bytes_per_s", 1e6),
}
NOT_READINGS = ("gpu", "date", "time")
DATE_AND_TIME = "%Y%m%d %H:%M:%S"


def parse(
    lines: Iterable[str], zone: dt.tzinfo, columns: tuple[str, ...], unknown: set[str]
) -> Parsed:
    """Yield a reading a line. ``columns``: those of a text without its headings.

    Raises WrongFileError where no columns are named.
    """
    names = tuple(name.lower() for name in columns)
    for number_of_line, line in enumerate(lines, start=1):
        words = line.replace(",", " ").replace("#", " # ").split()
        if not words:
            continue
        if words[0] == "#":
            told = tuple(word.lower() for word in words[1:])
            if "gpu" in told:
                names = told
                known([name for name in names if name not in NOT_READINGS], TARGETS, unknown)
            continue
        if not names or "gpu" not in names:
            raise WrongFileError(
                "no line names the columns (# gpu pwr ...); where it was printed without, say "
                "them: --columns gpu,pwr,gtemp"
            )
        try:
            yield _reading(number_of_line, dict(zip(names, words, strict=True)), zone)
        except ValueError as error:
            reason = str(error)
            if len(words) != len(names):
                reason = f"{len(words)} values where {len(names)} columns are named"
            yield BadLine(number_of_line, reason)
    if not names:
        raise WrongFileError("no line names the columns (# gpu pwr ...)")


def _reading(line: int, told: dict[str, str], zone: dt.tzinfo) -> Reading:
    ts_ns = None
    if "date" in told and "time" in told:
        ts_ns = moment(f"{told['date']} {told['time']}", DATE_AND_TIME, zone)
    if not told["gpu"].isdecimal():
        raise ValueError(f"{told['gpu'][:20]!r} is not the index of a GPU")
    reading = Reading(line, told["gpu"], ts_ns, {})
    for name, text in told.items():
        target = TARGETS.get(name)
        if target is not None:
            take(reading, target, number(text, target))
    return reading
