"""A ceiling as the JSON that ``gnomon ceiling --json`` prints."""

from __future__ import annotations

from typing import Any

from gnomon.performance_model import cache
from gnomon.performance_model.architecture import Architecture
from gnomon.performance_model.capacity import Capacity
from gnomon.performance_model.ceiling import Ceiling
from gnomon.performance_model.constants import Constants
from gnomon.performance_model.cost import Cost
from gnomon.performance_model.operators import Execution
from gnomon.performance_model.parameters import count
from gnomon.performance_model.roofline import Timed
from gnomon.performance_model.typical import TYPICAL

SCHEMA = 1


def as_dict(
    answer: Ceiling,
    architecture: Architecture,
    room: Capacity,
    price: Cost,
    execution: Execution | None = None,
) -> dict[str, Any]:
    """Return everything about a ceiling in plain types; units are in the names.

    FLOPs and bytes are those of one GPU and one step; ``roofline`` and ``typical`` beside the
    attainable figures. What is not known is None.
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
        },
        "constants": _constants(answer.constants),
        "warnings": [*answer.warnings, *([room.warning] if room.warning else [])],
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
    typical = TYPICAL.get(answer.phase)
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


def _constants(constants: Constants) -> dict[str, Any]:
    return {
        "source": constants.source,
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
