"""Ceilings, and what is made of several, as the JSON that ``gnomon ceiling --json`` prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

from gnomon.performance_model import cache
from gnomon.performance_model.architecture import Architecture
from gnomon.performance_model.capacity import Capacity
from gnomon.performance_model.ceiling import Ceiling
from gnomon.performance_model.comparison import MEASURES, Candidate, caveats, ranks
from gnomon.performance_model.constants import Constants
from gnomon.performance_model.cost import Cost, cost, saving_pct
from gnomon.performance_model.operators import Execution
from gnomon.performance_model.parameters import count
from gnomon.performance_model.phases import Lora
from gnomon.performance_model.roofline import Timed
from gnomon.performance_model.sweep import Climb, Point
from gnomon.performance_model.what_if import WhatIf
from gnomon.performance_model.workload import Workload

SCHEMA = 1
NS_PER_S = 1_000_000_000


def as_dict(
    answer: Ceiling,
    architecture: Architecture,
    room: Capacity,
    price: Cost,
    execution: Execution | None = None,
    *,
    now_ns: int | None = None,
) -> dict[str, Any]:
    """Return everything about a ceiling in plain types; units are in the names.

    FLOPs and bytes are those of one GPU and one step; ``roofline`` and ``typical`` beside the
    attainable figures. What is not known is None. ``now_ns`` (Unix) gives the constants an age.
    """
    return {
        "schema": SCHEMA,
        "model": _model(architecture, (execution or Execution()).kv_bytes),
        "phase": answer.phase,
        "per_gpu": True,
        "gpus": answer.gpus,
        **_work(answer),
        **_speed(answer),
        "fits": _fits(room),
        "cost": {
            "gpu_hour_cost": price.gpu_hour_cost,
            "money_per_million_tokens": price.money_per_million_tokens,
            "joules_per_million_tokens": price.joules_per_million_tokens,
            "saving_from_typical_pct": _saving_from_typical_pct(answer),
        },
        "constants": _constants(answer.constants, now_ns),
        "warnings": [*warnings_of(answer), *([room.warning] if room.warning else [])],
        "operators": [_operator(one) for one in answer.operators],
    }


def _model(architecture: Architecture, kv_bytes: float) -> dict[str, Any]:
    counted = count(architecture)
    return {
        "name": architecture.name,
        "params_total": counted.total,
        "params_active": counted.active,
        "kv_bytes_per_token": _plain(cache.bytes_per_token(architecture, kv_bytes)),
    }


def _work(answer: Ceiling) -> dict[str, Any]:
    moved = answer.bytes
    return {
        "flops": _plain(answer.flops),
        "useful_flops": _plain(answer.useful_flops),
        "executed_flops": _plain(answer.executed_flops),
        "flops_by_dtype": {dtype: _plain(done) for dtype, done in answer.flops_by_dtype.items()},
        "bytes": {
            "weights": _plain(moved.weights),
            "kv_read": _plain(moved.kv_read),
            "kv_write": _plain(moved.kv_write),
            "activations": _plain(moved.activations),
            "gradients": _plain(moved.gradients),
            "total": _plain(moved.total),
        },
        "collective_bytes": _plain(answer.collective_bytes),
        "arithmetic_intensity_flop_per_byte": answer.arithmetic_intensity_flop_per_byte,
        "ridge_flop_per_byte": answer.ridge_flop_per_byte,
    }


def _speed(answer: Ceiling) -> dict[str, Any]:
    typical = answer.typical
    return {
        "time_s": answer.time_s,
        "tokens_per_s": answer.tokens_per_s,
        "tokens_per_s_per_gpu": answer.tokens_per_s_per_gpu,
        "roofline": {
            "time_s": answer.roofline_time_s,
            "tokens_per_s": answer.roofline_tokens_per_s,
        },
        "typical": {
            "tokens_per_s": answer.typical_tokens_per_s,
            "source": typical.source if typical else None,
        },
        "ttft_s": answer.ttft_s,
        "tpot_s": answer.tpot_s,
        "compute_sol_pct": answer.compute_sol_pct,
        "memory_sol_pct": answer.memory_sol_pct,
        "mfu_pct": answer.mfu_pct,
        "mbu_pct": answer.mbu_pct,
        "hfu_pct": answer.hfu_pct,
        "bubble_pct": answer.bubble_pct,
        "bound_by": str(answer.bound_by),
    }


def _fits(room: Capacity) -> dict[str, Any]:
    return {
        "fits": room.fits,
        "vram_bytes": room.vram_bytes,
        "needed_bytes": _plain(room.needed_bytes),
        "weight_bytes": _plain(room.weight_bytes),
        "kv_bytes": _plain(room.kv_bytes),
        "activation_bytes": _plain(room.activation_bytes),
        "state_bytes": _plain(room.state_bytes),
        "max_batch": room.max_batch,
        "max_context": room.max_context,
    }


def warnings_of(answer: Ceiling) -> tuple[str, ...]:
    """Return the warnings of a ceiling, and what it assumes of models that run in fp32."""
    return (*answer.warnings, *assumptions(answer))


def assumptions(answer: Ceiling) -> tuple[str, ...]:
    """Return what is assumed of the rest of a step whose products are of fp32 weights."""
    if "fp32" not in answer.flops_by_dtype:
        return ()
    has_cache = answer.phase not in {"train", "lora"}
    cached = ", and the cache as --kv-dtype says" if has_cache else ""
    assumed = (
        "fp32 weights: their products are counted in fp32 (not TF32); attention and activations "
        f"are assumed in 16 bits{cached}"
    )
    return (assumed,)


def _saving_from_typical_pct(answer: Ceiling) -> float | None:
    typical = answer.typical_tokens_per_s
    return None if typical is None else saving_pct(typical, answer.tokens_per_s)


def _constants(constants: Constants, now_ns: int | None) -> dict[str, Any]:
    return {
        "source": constants.source,
        "age_s": age_s(constants, now_ns),
        "compute": dict(constants.compute),
        "burst": dict(constants.burst),
        "memory": constants.memory,
        "attention_compute": constants.attention_compute,
        "decode_attention": constants.decode_attention,
        "launch_s": constants.launch_s,
        "collective_s": constants.collective_s,
        "link": constants.link,
        "gpu_name": constants.gpu_name,
        "gpu_uuid": constants.gpu_uuid,
        "driver": constants.driver,
        "created_ns": constants.created_ns,
        "origins": dict(constants.origins),
    }


def age_s(constants: Constants, now_ns: int | None) -> float | None:
    """Return how old a calibration is, in seconds; None for constants that are shipped."""
    if constants.created_ns is None or now_ns is None:
        return None
    return max(0.0, (now_ns - constants.created_ns) / NS_PER_S)


def _operator(timed: Timed) -> dict[str, Any]:
    one = timed.operator
    return {
        "name": one.name,
        "count": _plain(one.count),
        "flops": _plain(one.flops),
        "bytes_read": _plain(one.bytes_read),
        "bytes_written": _plain(one.bytes_written),
        "collective_bytes": _plain(one.collective_bytes),
        "dtype": one.dtype,
        "time_s": timed.time_s,
        "bound_by": str(timed.bound_by),
    }


def _plain(value: float) -> int | float:
    """Return a whole number as an int: FLOPs and bytes mostly are."""
    return int(value) if float(value).is_integer() else value


def full(workload: Workload, answer: Ceiling, price: Cost, now_ns: int) -> dict[str, Any]:
    """Return ``as_dict`` of a workload, with what was asked: GPU, layout, traffic and formats."""
    document = as_dict(
        answer,
        workload.architecture,
        workload.capacity(),
        price,
        workload.execution,
        now_ns=now_ns,
    )
    warnings = [*workload.warnings, *document["warnings"]]
    return {**document, "warnings": warnings, "asked": asked(workload)}


def asked(workload: Workload) -> dict[str, Any]:
    """Return what a ceiling was computed of, in plain types."""
    gpu = workload.gpu
    return {
        "gpu": {"name": gpu.name, "sku": gpu.sku, "peak_source": gpu.peak_source},
        "layout": asdict(workload.layout),
        "traffic": asdict(workload.phase),
        "weights": stored_as(workload),
        "kv_dtype": workload.execution.kv_dtype,
        "attention": workload.execution.attention,
        "is_attention_fused": workload.execution.is_attention_fused,
        "is_eager": workload.request.is_eager,
    }


def stored_as(workload: Workload) -> dict[str, str]:
    """Return the weight format of each part of the model, by name.

    QLoRA stores the layers' matrices in NF4, whatever the model came in.
    """
    formats, phase = workload.architecture.formats, workload.phase
    names = {part.name: getattr(formats, part.name).name for part in fields(formats)}
    if isinstance(phase, Lora) and phase.is_quantised:
        names |= dict.fromkeys(("attention", "feed_forward", "experts"), "nf4")
    return names


def several(
    workload: Workload, key: str, points: Iterable[dict[str, Any]], now_ns: int
) -> dict[str, Any]:
    """Return a document with many points of one workload, under ``key``.

    ``warnings`` are those of reading the model and of all points, each once.
    """
    rows = list(points)
    told = (warning for row in rows for warning in row.get("warnings", ()))
    return {
        "schema": SCHEMA,
        "model": _model(workload.architecture, workload.execution.kv_bytes),
        "phase": workload.phase.name,
        "asked": asked(workload),
        "constants": _constants(workload.constants, now_ns),
        "warnings": list(dict.fromkeys((*workload.warnings, *told))),
        key: rows,
    }


def figures(answer: Ceiling, gpu_hour_cost: float | None = None) -> dict[str, Any]:
    """Return the figures by which points are compared; money at ``gpu_hour_cost``."""
    price = cost(answer.tokens_per_s, answer.gpus, gpu_hour_cost)
    return {
        "time_s": answer.time_s,
        "tokens_per_s": answer.tokens_per_s,
        "tokens_per_s_per_gpu": answer.tokens_per_s_per_gpu,
        "roofline_tokens_per_s": answer.roofline_tokens_per_s,
        "ttft_s": answer.ttft_s,
        "tpot_s": answer.tpot_s,
        "arithmetic_intensity_flop_per_byte": answer.arithmetic_intensity_flop_per_byte,
        "compute_sol_pct": answer.compute_sol_pct,
        "memory_sol_pct": answer.memory_sol_pct,
        "mfu_pct": answer.mfu_pct,
        "mbu_pct": answer.mbu_pct,
        "bound_by": str(answer.bound_by),
        "money_per_million_tokens": price.money_per_million_tokens,
        "warnings": list(warnings_of(answer)),
    }


def point(one: Point, gpu_hour_cost: float | None) -> dict[str, Any]:
    """Return a point of a sweep; without figures, and with ``error``, where it cannot be."""
    found = {} if one.ceiling is None else figures(one.ceiling, gpu_hour_cost)
    return {"values": dict(one.values), **found, "fits": one.fits, "error": one.error}


def step_of_climb(one: Climb, gpu_hour_cost: float | None) -> dict[str, Any]:
    """Return one concurrency with the figures of the sequences that run."""
    found = figures(one.ceiling, gpu_hour_cost)
    return {"clients": one.clients, "running": one.running, **found}


def remedies(found: WhatIf) -> dict[str, Any]:
    """Return remedies, what the ceiling takes for granted, and what does not apply, and why."""
    return {
        "remedies": [asdict(one) for one in found.remedies],
        "assumed": [asdict(one) for one in found.assumed],
        "not_applicable": dict(found.not_applicable),
    }


def comparison(found: Sequence[Candidate], now_ns: int) -> dict[str, Any]:
    """Return GPUs side by side, each with its constants and its place in every measure."""
    places = ranks(found)
    rows = (
        {
            "gpu": one.workload.gpu.name,
            "sku": one.workload.gpu.sku,
            "gpu_hour_cost": one.gpu_hour_cost,
            **{measure: getattr(one, measure) for measure in MEASURES},
            "ranks": {measure: places[measure][at] for measure in MEASURES},
            **figures(one.ceiling, one.gpu_hour_cost),
            "fits": one.fits,
            "constants": _constants(one.ceiling.constants, now_ns),
        }
        for at, one in enumerate(found)
    )
    document = several(found[0].workload, "gpus", rows, now_ns)
    # These are of a GPU, and there are several.
    del document["asked"]["gpu"], document["constants"]
    document["warnings"] += caveats(found)
    return document
