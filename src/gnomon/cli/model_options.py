"""The options that describe a model and its traffic, and the ``Workload`` that they mean.

``ceiling``, ``roofline``, ``top`` and ``summary`` share them. A command takes ``@model_options``
and gets one ``asked``; with the GPU it came to by ``gpus`` or by a recording,
``asked.workload(gpu)`` is what the performance model computes of.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from gnomon._errors import CommandError, GnomonError, ModelError
from gnomon.cli.base import Decorated

if TYPE_CHECKING:
    from gnomon.hardware import HardwareProfile
    from gnomon.performance_model.constants import Constants
    from gnomon.performance_model.workload import Workload

NEAR_NAMES = 4


class Tokens(click.ParamType[Any]):
    """A number of tokens; a mean may have a fraction."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number", param, ctx)
        return int(number) if number.is_integer() else number


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for on the command line. ``options``: those that were given, by name."""

    model: str | None
    constants: str
    options: dict[str, Any]

    def workload(self, gpu: HardwareProfile, gpu_uuid: str | None = None) -> Workload:
        """Return the workload on a GPU; with ``gpu_uuid`` its own calibration is preferred.

        Raises CommandError (a usage error) that names the option.
        """
        return self.workloads((gpu,), gpu_uuid)[0]

    def workloads(
        self, gpus: Sequence[HardwareProfile], gpu_uuid: str | None = None
    ) -> tuple[Workload, ...]:
        """Return the workload on each of several kinds of GPUs; reads the model once."""
        from gnomon.performance_model import huggingface  # noqa: PLC0415  only where asked for
        from gnomon.performance_model.workload import Request, workload  # noqa: PLC0415

        with usage_errors():
            if self.model is None:
                raise ModelError(
                    "--model is missing: a config.json, its folder, or a name such as Llama-3.1-8B"
                )
            reading = huggingface.read(self.model)
            request = Request(**self.options)
            return tuple(
                workload(
                    request,
                    reading.architecture,
                    gpu,
                    read_constants(self.constants, gpu, gpu_uuid),
                    reading.warnings,
                )
                for gpu in gpus
            )


_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "phase",
        {
            "help": "prefill, decode, serve (one step of continuous batching), train or lora. "
            "[default: serve]"
        },
    ),
    (
        "batch",
        {"type": int, "help": "Sequences of one replica; serve: running. [default: 1 or 32]"},
    ),
    (
        "prompt",
        {
            "type": Tokens(),
            "help": "New prompt tokens of a sequence; serve: their mean; decode: with half of "
            "--output, the context.",
        },
    ),
    ("output", {"type": Tokens(), "help": "Output tokens of a sequence: their mean."}),
    (
        "context",
        {
            "type": int,
            "help": "decode: the tokens that each new one sees. [default: 2048, or by --prompt]",
        },
    ),
    ("cached-prefix", {"type": Tokens(), "help": "Tokens before the prompt that are cached."}),
    ("chunk", {"type": int, "help": "prefill: the most tokens of a prompt in one pass."}),
    ("dtype", {"help": "Weights: bf16, fp16, fp8, int8, int4, ... [default: as the model has]"}),
    ("kv-dtype", {"help": "KV cache: bf16, fp16, fp8, int8 or int4. [default: bf16]"}),
    ("count", {"type": int, "help": "GPUs in all: what --tp and --pp leave of them is --dp."}),
    ("tp", {"type": int, "help": "Tensor parallelism."}),
    ("pp", {"type": int, "help": "Pipeline parallelism."}),
    ("ep", {"type": int, "help": "Expert parallelism."}),
    ("dp", {"type": int, "help": "Replicas, or data parallelism in training."}),
    ("zero", {"type": int, "help": "train, lora: the stage of ZeRO, 0 to 3. [default: 0]"}),
    ("recompute", {"help": "train, lora: none, selective or full."}),
    ("lora-rank", {"type": int, "help": "lora: the rank. [default: 16]"}),
    ("lora-targets", {"help": "lora: names of matrices, such as q_proj,v_proj. [default: all]"}),
    ("attention", {"help": "Count attention causal (exact) or full. [default: causal]"}),
)


def model_options(function: Decorated) -> Decorated:
    """Add the options of model, traffic, layout and constants; they arrive as ``asked: Asked``."""

    @functools.wraps(function)
    def collected(*args: Any, **given: Any) -> Any:
        names = [name.replace("-", "_") for name, _ in _OPTIONS]
        options = {name: given.pop(name) for name in names}
        options["is_eager"] = given.pop("is_eager") or None
        options["is_attention_fused"] = False if given.pop("is_attention_unfused") else None
        said = {name: value for name, value in options.items() if value is not None}
        asked = Asked(given.pop("model"), given.pop("constants"), said)
        return function(*args, asked=asked, **given)

    decorated: Any = click.option(
        "--constants",
        default="default",
        metavar="default|shipped|calibrated|FILE",
        help="Kernel efficiencies: of the best public kernels, of a GPU of this kind as we "
        "measured it, of one that `gnomon calibrate` measured here, or of a calibration's file. "
        "[default: default]",
    )(collected)
    decorated = click.option(
        "--unfused-attention",
        "is_attention_unfused",
        is_flag=True,
        help="The engine has no fused attention kernel: scores go through memory.",
    )(decorated)
    decorated = click.option(
        "--eager", "is_eager", is_flag=True, help="The engine launches every kernel from Python."
    )(decorated)
    for name, settings in reversed(_OPTIONS):
        decorated = click.option(f"--{name}", **settings)(decorated)
    model = click.option(
        "--model", metavar="PATH|NAME", help="A config.json, its folder, or a known name."
    )
    return cast("Decorated", model(decorated))


def gpu_option(function: Decorated) -> Decorated:
    """Add ``--gpu``, one name or several with commas; ``gpus`` makes profiles of it."""
    return click.option(
        "--gpu",
        metavar="NAME[,NAME...]",
        required=True,
        help="A GPU by its name in the GPU table (H200-SXM-141GB) or by NVML's (NVIDIA H200).",
    )(function)


def gpus(names: str) -> tuple[HardwareProfile, ...]:
    """Return the GPUs of these names, which are separated by commas.

    Raises CommandError (a usage error) with the nearest names where there is none.
    """
    wanted = [name.strip() for name in names.split(",")]
    if not all(wanted):
        raise CommandError("--gpu: a name is missing; separate names by one comma", exit_code=2)
    return tuple(_gpu(name) for name in wanted)


def _gpu(name: str) -> HardwareProfile:
    from gnomon.hardware import load, match, profile, sku_facts  # noqa: PLC0415  reads the table

    by_sku = {sku.casefold(): sku for sku in load()}
    sku = by_sku.get(name.casefold())
    if sku is not None:
        return profile(sku_facts(sku))
    spec = match(name)
    if spec is None:
        raise CommandError(
            f"--gpu {name}: no GPU of this name; did you mean {_near(name, list(load()))}?",
            exit_code=2,
        )
    # A MIG device's own number of SMs is not in the table: without it it has no peaks.
    facts = {} if " MIG " in name.upper() else sku_facts(spec.sku)
    return profile({**facts, "name": name})


def _near(name: str, skus: Sequence[str]) -> str:
    """Return the nearest SKUs: those that contain the name, then those that look like it."""
    wanted = name.casefold().replace("nvidia", "").strip()
    containing = [sku for sku in skus if wanted and wanted in sku.casefold()]
    by_look = difflib.get_close_matches(
        wanted, [sku.casefold() for sku in skus], n=NEAR_NAMES, cutoff=0.0
    )
    looking = [sku for near in by_look for sku in skus if sku.casefold() == near]
    *most, last = list(dict.fromkeys([*containing, *looking]))[:NEAR_NAMES]
    return f"{', '.join(most)} or {last}"


def read_constants(choice: str, gpu: HardwareProfile, gpu_uuid: str | None = None) -> Constants:
    """Return the constants of ``--constants``.

    "shipped" is what comes with us for a GPU of that kind. "calibrated" is the calibration of
    ``gpu_uuid`` where there is one, else the newest of a GPU of that kind. Raises GnomonError
    where there is none, or the file cannot be used.
    """
    from gnomon import configuration  # noqa: PLC0415
    from gnomon.hardware import calibration_files  # noqa: PLC0415
    from gnomon.performance_model.constants import (  # noqa: PLC0415
        DEFAULT,
        read_calibration,
        shipped,
    )

    if choice == "default":
        return DEFAULT
    if choice == "shipped":
        ours = shipped(gpu)
        if ours is None:
            raise CommandError(
                f"--constants shipped: no {gpu.name} was measured by us; leave it out, or run "
                "gnomon calibrate on one",
                exit_code=2,
            )
        return ours
    if choice != "calibrated":
        return read_calibration(Path(choice), gpu)
    state_directory = configuration.load().state_directory
    own = calibration_files.path_of(state_directory, gpu_uuid or "")
    if gpu_uuid is not None and own.is_file():
        return read_calibration(own, gpu)
    found = calibration_files.newest(state_directory, gpu.name)
    if found is None:
        raise CommandError(
            f"--constants calibrated: no {gpu.name} has been calibrated here ({state_directory}); "
            "run gnomon calibrate on a machine with one, or name its file",
            exit_code=2,
        )
    return read_calibration(found.path, gpu)


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turn what the model refuses into an error of usage: exit status 2, one line."""
    try:
        yield
    except CommandError:
        raise
    except GnomonError as error:
        raise CommandError(str(error), exit_code=2) from error
