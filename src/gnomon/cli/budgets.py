"""``--model`` of ``summary`` and ``top``: the ceiling of each GPU that was measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gnomon._errors import CommandError
from gnomon.analysis.summary_types import GpuSummary
from gnomon.cli.model_options import Asked, usage_errors
from gnomon.recording.base import Meta

if TYPE_CHECKING:
    from gnomon.analysis.budget import CeilingOf, Target

# The options that are not called as what they mean.
SWITCHES = {"is_eager": "eager", "is_attention_fused": "unfused-attention"}


def ceilings(asked: Asked, meta_of: Callable[[], Meta]) -> CeilingOf | None:
    """Return what gives each GPU its ceiling; None where no model was named.

    A GPU whose peaks are not known has none. Raises CommandError (a usage error) for options of
    traffic without a model, and for a model or traffic that makes no sense.
    """
    if asked.model is None:
        if asked.options:
            name = next(iter(asked.options))
            option = SWITCHES.get(name, name.replace("_", "-"))
            raise CommandError(f"--{option} describes what a model does: add --model", exit_code=2)
        return None
    _check(asked.model, asked)
    from gnomon.analysis.budget import Target  # noqa: PLC0415
    from gnomon.cli.ceiling_text import traffic_text  # noqa: PLC0415  rich
    from gnomon.hardware import profile  # noqa: PLC0415

    known: dict[tuple[str, str | None], Target] = {}

    def ceiling_of(summary: GpuSummary) -> Target | None:
        key = summary.uuid, summary.mig_uuid
        if key not in known:
            gpu = profile(meta_of().gpus.get(summary.uuid, {}), mig_uuid=summary.mig_uuid)
            if not gpu.peak_flops or not gpu.dram_bytes_per_s:
                return None
            with usage_errors():
                workload = asked.workload(gpu, summary.uuid)
                traffic = traffic_text(workload.phase)
                known[key] = Target(workload.base.name, traffic, workload.ceiling())
        return known[key]

    return ceiling_of


def _check(model: str, asked: Asked) -> None:
    """Find at the start what is wrong on any GPU: a screen is no place for usage errors."""
    from gnomon.performance_model import huggingface  # noqa: PLC0415
    from gnomon.performance_model.workload import Request  # noqa: PLC0415

    with usage_errors():
        huggingface.read(model)
        request = Request(**asked.options)
        request.traffic()
        request.layout()
