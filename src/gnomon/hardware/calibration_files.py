"""Where calibrations are kept: one JSON file a GPU, in the state directory.

It is ``calibrations/<gpu uuid>.json``; its fields are ``performance_model/constants``'s business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnomon._errors import GnomonError
from gnomon.hardware.matching import match

FOLDER = "calibrations"


@dataclass(frozen=True, slots=True)
class CalibrationFile:
    """A calibration that is there: of which GPU, and when it was made (Unix ns)."""

    path: Path
    gpu_uuid: str
    gpu_name: str
    created_ns: int


def path_of(state_directory: Path, gpu_uuid: str) -> Path:
    """Return where the calibration of a GPU belongs."""
    return state_directory / FOLDER / f"{gpu_uuid}.json"


def calibrations(state_directory: Path) -> tuple[CalibrationFile, ...]:
    """Return all calibrations, the newest first.

    Raises GnomonError, naming the file, for one that cannot be read.
    """
    found = [_described(path) for path in sorted((state_directory / FOLDER).glob("*.json"))]
    return tuple(sorted(found, key=lambda file: file.created_ns, reverse=True))


def newest(state_directory: Path, gpu_name: str) -> CalibrationFile | None:
    """Return the newest calibration of a GPU of this NVML name or its SKU; None where none is."""
    wanted = match(gpu_name)
    for file in calibrations(state_directory):
        same_sku = wanted is not None and match(file.gpu_name) is wanted
        if same_sku or file.gpu_name.casefold() == gpu_name.casefold():
            return file
    return None


def load(path: Path) -> Mapping[str, Any]:
    """Return what is in a calibration. Raises GnomonError where it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GnomonError(
            f"cannot read the calibration {path} ({error}): remove it and run gnomon calibrate"
        ) from error
    if not isinstance(content, dict):
        raise GnomonError(f"the calibration {path} is not an object: run gnomon calibrate again")
    return content


def _described(path: Path) -> CalibrationFile:
    content = load(path)
    created_ns = content.get("created_ns")
    return CalibrationFile(
        path=path,
        gpu_uuid=str(content.get("gpu_uuid") or path.stem),
        gpu_name=str(content.get("gpu_name") or ""),
        created_ns=created_ns if isinstance(created_ns, int) else 0,
    )
