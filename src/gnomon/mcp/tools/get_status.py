"""What is recorded, and what is not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gnomon.analysis.coverage import Gap, gaps, losses, sources
from gnomon.mcp.desk import NS_PER_S, Desk, iso
from gnomon.mcp.reply import Answer, marked, said
from gnomon.recording.base import Meta

# A recorder flushes every second.
LIVE_WITHIN_S = 10
HOST_FACTS = (
    "hostname",
    "os",
    "kernel",
    "cpu_model",
    "cpu_count",
    "memory_total_bytes",
    "driver_version",
    "cuda_driver_version",
)
GPU_FACTS = (
    "name",
    "index",
    "vram_total_bytes",
    "sm_count",
    "compute_capability",
    "power_limit_watts",
    "mig_mode",
)


def answer(desk: Desk) -> Answer:
    """Say what this recording holds: ask this first.

    Times (Unix ns, and UTC), whether it is being written right now, the host, the GPUs, each
    source with its state and failed readings, gaps in which a GPU was not measured, rows that
    were lost, metrics that are unavailable with the reason and the remedy, and files that cannot
    be read. A metric named under unavailable was not measured: it is not zero.
    """
    recording = desk.recording
    meta = recording.meta()
    from_ns, to_ns = desk.bounds()
    age_s = (time.time_ns() - to_ns) / NS_PER_S
    found_gaps = gaps(recording, from_ns=from_ns, to_ns=to_ns)
    return Answer(
        facts={
            "from_ns": from_ns,
            "to_ns": to_ns,
            "from": iso(from_ns),
            "to": iso(to_ns),
            "duration_s": (to_ns - from_ns) / NS_PER_S,
            "is_live": 0 <= age_s < LIVE_WITHIN_S,
            "newest_row_age_s": age_s,
            "host": marked({name: meta.host[name] for name in HOST_FACTS if name in meta.host}),
        },
        lists={
            "gpus": _gpus(meta, found_gaps),
            "sources": _sources(desk, meta, from_ns, to_ns),
            "unavailable": [marked(_known(asdict(each))) for each in meta.unavailable],
            "losses": [
                marked(asdict(each)) for each in losses(recording, from_ns=from_ns, to_ns=to_ns)
            ],
            "skipped_files": [said(f"{each.path}: {each.reason}") for each in recording.skipped()],
            "gaps": [
                marked(asdict(gap)) | {"duration_s": (gap.to_ns - gap.from_ns) / NS_PER_S}
                for gap in found_gaps
            ],
        },
        advice="run_sql on source_health, losses and gpu_counters shows the rest",
    )


def _gpus(meta: Meta, found_gaps: Sequence[Gap]) -> list[dict[str, Any]]:
    return [
        marked({"uuid": uuid} | {name: facts[name] for name in GPU_FACTS if name in facts})
        | {
            "not_measured_s": sum(
                (gap.to_ns - gap.from_ns) / NS_PER_S for gap in found_gaps if gap.gpu_uuid == uuid
            )
        }
        for uuid, facts in sorted(meta.gpus.items(), key=lambda item: item[1].get("index", 0))
    ]


def _sources(desk: Desk, meta: Meta, from_ns: int, to_ns: int) -> list[dict[str, Any]]:
    """Return the books of each source; of an import, which kept none, what its meta says."""
    kept = sources(desk.recording, from_ns=from_ns, to_ns=to_ns)
    rows = [marked(_known(asdict(one))) | {"reason": said(one.reason)} for one in kept]
    named = {one.source for one in kept}
    rows += [
        marked({"source": name} | _known(dict(facts)))
        | {"reason": said(facts.get("reason") or None)}
        for name, facts in meta.sources.items()
        if name not in named
    ]
    return [_known(row) for row in rows]


def _known(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None and value != ""}
