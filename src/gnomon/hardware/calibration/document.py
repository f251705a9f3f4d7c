"""A calibration as it is stored: built, checked, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gnomon.hardware.calibration.fitting import constants
from gnomon.hardware.calibration.measuring import Measured
from gnomon.hardware.calibration.points import CalibrationError

SCHEMA = 1
# Without these two no ceiling can be said to be calibrated.
NEEDED = ("flops", "memory_bytes_per_s")
# Which runs agree is said of these alone: floors of microseconds jitter by more than roofs do.
ROOFS = ("memory_bytes_per_s", "attention_flops", "decode_attention_bytes_per_s")


@dataclass(frozen=True, slots=True)
class Device:
    """What a calibration is true of."""

    gpu_uuid: str
    gpu_name: str
    sku: str | None
    driver: str
    torch: str
    cuda: str
    power_limit_watts: float | None = None


def build(device: Device, measured: Measured, created_ns: int, took_s: float) -> dict[str, Any]:
    """Return the document. Raises CalibrationError where the points give no compute roof or rate.

    Fields: those of ``Device``, the constants of ``fitting.constants``, ``points``, ``failures``.
    """
    document = {
        "schema": SCHEMA,
        "created_ns": created_ns,
        "took_s": round(took_s, 1),
        **asdict(device),
        **constants(measured.points),
        "points": [point.to_json() for point in measured.points],
        "failures": [asdict(failure) for failure in measured.failures],
    }
    missing = [name for name in NEEDED if name not in document]
    if missing:
        first = measured.failures[0] if measured.failures else None
        why = f"; {first.name}: {first.reason}" if first else ""
        raise CalibrationError(
            f"{device.gpu_name} ({device.gpu_uuid}): too few points could be measured for "
            f"{' and '.join(missing)}{why}"
        )
    return document


def write(document: Mapping[str, Any], path: Path) -> None:
    """Write a calibration so that a reader sees the old file or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        text = json.dumps(document, indent=1, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def largest_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return the roof in which two calibrations differ most, and by how many % of the former.

    None where they share no roof.
    """
    changes = {
        name: 100 * (value / _roofs(before)[name] - 1)
        for name, value in _roofs(after).items()
        if name in _roofs(before)
    }
    if not changes:
        return None
    name = max(changes, key=lambda key: abs(changes[key]))
    return name, changes[name]


def _roofs(document: Mapping[str, Any]) -> dict[str, float]:
    roofs = {name: document[name] for name in ROOFS if document.get(name)}
    for dtype, both in document.get("flops", {}).items():
        roofs |= {f"{dtype} {which}": value for which, value in both.items()}
    return roofs
