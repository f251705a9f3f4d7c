"""What is true of a recording as a whole: one JSON file a writer, merged when read."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from gnomon import tables
from gnomon._errors import RecordingError
from gnomon.recording import layout
from gnomon.recording.base import Meta, Unavailable


def merged(root: Path, skipped: MutableMapping[Path, str]) -> Meta:
    """Merge the meta of all writers, later ones over earlier ones.

    Damaged files are noted in ``skipped``. Raises RecordingError where a writer used a newer
    schema than this gnomon reads.
    """
    host: dict[str, Any] = {}
    gpus: dict[str, dict[str, Any]] = {}
    versions: dict[str, str] = {}
    sources: dict[str, Any] = {}
    unavailable: dict[Unavailable, None] = {}
    for path in layout.meta_paths(root):
        document = _load(path, skipped)
        if document is None:
            continue
        host |= document.get("host") or {}
        versions |= document.get("versions") or {}
        sources |= document.get("sources") or {}
        for uuid, facts in (document.get("gpus") or {}).items():
            gpus.setdefault(uuid, {}).update(facts)
        for entry in document.get("unavailable") or ():
            unavailable[_unavailable(entry)] = None
    return Meta(tables.SCHEMA_VERSION, host, gpus, versions, sources, tuple(unavailable))


def _load(path: Path, skipped: MutableMapping[Path, str]) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_bytes())
        version = int(document["schema_version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        skipped[path] = f"damaged: {error}"
        return None
    if version > tables.SCHEMA_VERSION:
        raise RecordingError(
            f"{path} was written with schema {version}; this gnomon reads up to "
            f"{tables.SCHEMA_VERSION}: use a newer gnomon"
        )
    return dict(document)


def _unavailable(entry: dict[str, Any]) -> Unavailable:
    return Unavailable(
        metric=str(entry.get("metric", "")),
        reason=str(entry.get("reason", "")),
        remedy=str(entry.get("remedy", "")),
        source=str(entry.get("source", "")),
        gpu_uuid=entry.get("gpu_uuid"),
        from_ns=entry.get("from_ns"),
        to_ns=entry.get("to_ns"),
    )
