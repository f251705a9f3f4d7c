"""What GPUs ran, on the tracks of their streams: kernels, copies and fills, waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from gnomon.exporters.launches import FLOW, Launches
from gnomon.exporters.places import Places
from gnomon.exporters.rows import BEGAN, PROCESS, Chosen, Row, by_begin, known
from gnomon.recording.base import Session

PLACE = f"""{BEGAN}, 0 AS depth, {PROCESS}, pid, gpu_uuid, mig_uuid, context_id, stream_id,
  source, correlation_id, graph_id, graph_node_id, enqueued_ns"""
OPERATIONS_SQL = f"""\
SELECT 'kernels' AS kind, {PLACE}, {FLOW}, name_hash,
  concat_ws(' x ', grid_x, grid_y, grid_z) AS grid,
  concat_ws(' x ', block_x, block_y, block_z) AS block,
  cluster_size, registers_per_thread, static_shared_bytes, dynamic_shared_bytes,
  local_bytes_per_thread, theoretical_occupancy_pct, occupancy_limiter, waves,
  NULL::VARCHAR AS operation, NULL::VARCHAR AS direction, NULL::BIGINT AS bytes,
  NULL::VARCHAR AS source_memory, NULL::VARCHAR AS destination_memory,
  NULL::VARCHAR AS peer_gpu_uuid
FROM kernels WHERE {{where}}
UNION ALL BY NAME
SELECT 'copies' AS kind, {PLACE}, {FLOW}, operation, direction, bytes, source_memory,
  destination_memory, peer_gpu_uuid
FROM copies WHERE {{where}}"""
WAITS_SQL = f"""\
SELECT {PLACE}, operation, event_id FROM gpu_synchronizations WHERE {{where}}"""
# One name a hash, the demangled one where anybody knows it.
NAMES_SQL = """\
SELECT name_hash, min(coalesce(name, mangled_name)) AS name, min(family) AS family
FROM kernel_names GROUP BY name_hash"""

PLACE_ARGS = ("source", "correlation_id", "graph_id", "graph_node_id", "enqueued_ns")
KERNEL_ARGS = (
    "cluster_size",
    "registers_per_thread",
    "static_shared_bytes",
    "dynamic_shared_bytes",
    "local_bytes_per_thread",
    "theoretical_occupancy_pct",
    "occupancy_limiter",
    "waves",
    *PLACE_ARGS,
)
COPY_ARGS = (
    "bytes",
    "direction",
    "source_memory",
    "destination_memory",
    "peer_gpu_uuid",
    *PLACE_ARGS,
)
WAIT_ARGS = ("event_id", *PLACE_ARGS)


def write(
    session: Session, places: Places, chosen: Chosen, launches: Launches, written: Counter[str]
) -> None:
    """Write what ran, and count it by its table; ``flows``: operations whose call is known."""
    names = {row["name_hash"]: row for row in session.rows(NAMES_SQL)}
    select = OPERATIONS_SQL.format(where=chosen.gpu_condition)
    for row in by_begin(session, select, chosen.span, launches.of_operations):
        is_kernel = row["kind"] == "kernels"
        places.stream(row).add(
            row["begin_ns"],
            row["end_ns"],
            _kernel_name(row, names) if is_kernel else _copy_name(row),
            _kernel_args(row, names) if is_kernel else known(row, COPY_ARGS),
            ends_flow=row["ends_flow"],
        )
        written[row["kind"]] += 1
        written["flows"] += row["ends_flow"] is not None
    waits = WAITS_SQL.format(where=chosen.gpu_condition)
    for row in by_begin(session, waits, chosen.span):
        name = f"{row['operation'] or 'unknown'} wait"
        places.stream(row, ", waits for it").add(
            row["begin_ns"], row["end_ns"], name, known(row, WAIT_ARGS)
        )
        written["gpu_synchronizations"] += 1


def _kernel_name(row: Row, names: Mapping[int, Row]) -> str:
    found = names.get(row["name_hash"], {}).get("name")
    return found or f"kernel {row['name_hash'] or 'without a name'}"


def _kernel_args(row: Row, names: Mapping[int, Row]) -> dict[str, int | float | str]:
    found = {name: row[name] for name in ("grid", "block") if row[name]}
    family = names.get(row["name_hash"], {}).get("family")
    if family is not None:
        found["family"] = family
    if row["enqueued_ns"] is not None:
        found["launch_to_start_ns"] = row["begin_ns"] - row["enqueued_ns"]
    return found | known(row, KERNEL_ARGS)


def _copy_name(row: Row) -> str:
    return " ".join(filter(None, (row["operation"] or "copy", row["direction"])))
