"""What is asked about: a model at some traffic, on GPUs of one kind.

``Request`` has the words of the command line, with None for what was not said; ``Workload`` is
what they mean, and what a ceiling is computed of. Sweeps and remedies change a request and ask
again, so that every point is checked alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from gnomon._errors import ModelError
from gnomon.hardware import HardwareProfile
from gnomon.performance_model._checks import MOST_GPUS, MOST_TOKENS, number, one_of, whole
from gnomon.performance_model._memory_need import MemoryNeed
from gnomon.performance_model.architecture import Architecture
from gnomon.performance_model.capacity import USABLE_PCT, Capacity, capacity
from gnomon.performance_model.ceiling import Ceiling, ceiling
from gnomon.performance_model.constants import DEFAULT, Constants
from gnomon.performance_model.operators import Execution
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import Decode, Lora, Phase, Prefill, Serve, Train
from gnomon.performance_model.retiming import launched_eagerly, retimed
from gnomon.performance_model.weight_formats import with_weights

PHASES = ("prefill", "decode", "serve", "train", "lora")

DECODE_CONTEXT = 2048
"""The context of ``decode`` where nothing is said."""

# What a phase takes, and its value where nothing is said.
_TAKES: dict[str, dict[str, int | str | None]] = {
    "prefill": {"batch": 1, "prompt": 2048, "cached_prefix": 0, "chunk": None},
    "decode": {"batch": 32, "context": None, "prompt": None, "output": None},
    "serve": {"batch": 32, "prompt": 1024, "output": 256, "cached_prefix": 0},
    "train": {"batch": 1, "prompt": 4096, "recompute": "none", "zero": 0},
    "lora": {
        "batch": 1,
        "prompt": 4096,
        "recompute": "none",
        "zero": 0,
        "lora_rank": 16,
        "lora_targets": "",
    },
}
_OF_PHASES = sorted({name for taken in _TAKES.values() for name in taken})


@dataclass(frozen=True, slots=True)
class Request:
    """Options as they are given; None is "not said".

    ``prompt`` are new tokens, without ``cached_prefix``. ``count`` is the number of GPUs: what
    tp x pp leave of them are replicas. ``lora_targets``: names of matrices, with commas.
    ``is_eager``: kernels are launched one by one from Python; ``is_attention_fused`` False: the
    scores go through memory.
    """

    phase: str = "serve"
    batch: int | None = None
    prompt: float | None = None
    output: float | None = None
    context: int | None = None
    cached_prefix: float | None = None
    chunk: int | None = None
    recompute: str | None = None
    lora_rank: int | None = None
    lora_targets: str | None = None
    count: int | None = None
    tp: int = 1
    pp: int = 1
    ep: int = 1
    dp: int | None = None
    zero: int | None = None
    dtype: str | None = None
    kv_dtype: str = "bf16"
    attention: str = "causal"
    is_eager: bool = False
    is_attention_fused: bool = True

    def traffic(self) -> Phase:
        """Return the phase. Raises ModelError for options that contradict it, or make no sense."""
        one_of("--phase", self.phase, PHASES)
        values = self._of_phase()
        if self.phase == "prefill":
            return Prefill(**values)
        if self.phase == "decode":
            return self._decode(**values)
        if self.phase == "serve":
            return Serve(**values)
        del values["zero"]  # the layout's
        values["sequence"] = values.pop("prompt")
        if self.phase == "train":
            return Train(**values)
        values["rank"] = values.pop("lora_rank")
        named = str(values.pop("lora_targets"))
        targets = tuple(name.strip() for name in named.split(",") if name.strip()) or ("all",)
        return Lora(**values, targets=targets, is_quantised=self.dtype == "nf4")

    def _of_phase(self) -> dict[str, Any]:
        """Return the values of the options that this phase takes; ModelError for any other."""
        taken = _TAKES[self.phase]
        for name in _OF_PHASES:
            if name not in taken and getattr(self, name) is not None:
                others = ", ".join(phase for phase, takes in _TAKES.items() if name in takes)
                own = ", ".join(map(_option, taken))
                raise ModelError(
                    f"{_option(name)} is for --phase {others}, and this is {self.phase}, which "
                    f"takes {own}: leave it out"
                )
        given = {name: getattr(self, name) for name in taken}
        return {name: taken[name] if given[name] is None else given[name] for name in taken}

    def _decode(
        self, batch: int, context: int | None, prompt: float | None, output: float | None
    ) -> Decode:
        """Return the step at a context, or at the mean one while an output follows a prompt."""
        if prompt is None and output is None:
            return Decode(batch, DECODE_CONTEXT if context is None else context)
        if context is not None or prompt is None:
            raise ModelError(
                "--context is what a decoded token sees, and --prompt, with or without --output, "
                "says the same by lengths: give one of the two"
            )
        number("--prompt", prompt, 1, MOST_TOKENS)
        number("--output", output or 0, 0, MOST_TOKENS)
        return Decode(batch, round(prompt + (output or 0) / 2))

    def layout(self) -> Layout:
        """Return how the model lies on the GPUs. Raises ModelError where they are not enough."""
        dp = 1 if self.dp is None else self.dp
        if self.count is not None:
            whole("--count", self.count, 1, MOST_GPUS)
            taken = Layout(self.tp, self.pp, dp=dp).gpus
            if self.dp is None and self.count % taken == 0:
                dp = self.count // taken
            elif taken != self.count:
                raise ModelError(
                    f"--count is {self.count}, and tp x pp x dp takes {taken} "
                    f"({self.tp} x {self.pp} x {dp}): make them agree, or leave --count out"
                )
        return Layout(self.tp, self.pp, self.ep, dp, zero=self.zero or 0)

    def execution(self) -> Execution:
        """Return how the engine runs it."""
        return Execution(
            kv_dtype=self.kv_dtype,
            attention=self.attention,
            is_attention_fused=self.is_attention_fused,
        )


@dataclass(frozen=True, slots=True)
class Workload:
    """A model, its traffic, and what it runs on and how; ``request`` is what it was made of.

    ``base`` is the model as it was read, ``architecture`` as it is stored. ``warnings`` are those
    of reading.
    """

    request: Request
    base: Architecture
    architecture: Architecture
    gpu: HardwareProfile
    layout: Layout
    phase: Phase
    execution: Execution
    constants: Constants = DEFAULT
    warnings: tuple[str, ...] = ()

    def ceiling(self, first_token_s: float | None = None) -> Ceiling:
        """Return what it could reach. Raises ModelError as ``ceiling.ceiling`` does.

        ``first_token_s`` is the TTFT, where it is known of another batch or output.
        """
        if self.request.is_eager and isinstance(self.phase, Serve) and first_token_s is None:
            first_token_s = replace(self, phase=self.phase.alone()).ceiling().time_s
        answer = ceiling(
            self.architecture,
            self.gpu,
            self.layout,
            self.phase,
            self.constants,
            self.execution,
            first_token_s,
        )
        if not self.request.is_eager:
            return answer
        return retimed(answer, map(launched_eagerly, answer.operators))

    def capacity(self) -> Capacity:
        """Return what it needs of the GPUs' memory."""
        return capacity(self.architecture, self.gpu, self.layout, self.phase, self.execution)

    def fits(self) -> bool | None:
        """Return whether it fits, as ``capacity`` says, at a tenth of its cost."""
        spec = self.gpu.spec
        if spec is None or spec.memory_bytes is None:
            return None
        need = MemoryNeed(self.architecture, self.layout, self.phase, self.execution)
        total = need.total_bytes(self.phase.batch, self.phase.longest)
        return total <= spec.memory_bytes * USABLE_PCT / 100

    def changed(self, **options: object) -> Workload:
        """Return the same with other options: fields of ``Request``. Raises ModelError."""
        request = replace(self.request, **options)  # type: ignore[arg-type]
        return workload(request, self.base, self.gpu, self.constants, self.warnings)


def workload(
    request: Request,
    architecture: Architecture,
    gpu: HardwareProfile,
    constants: Constants = DEFAULT,
    warnings: tuple[str, ...] = (),
) -> Workload:
    """Return what a request means for a model and a GPU.

    Raises ModelError, naming the option, for what contradicts itself or makes no sense.
    """
    stored = architecture
    if request.dtype == "nf4" and request.phase != "lora":
        raise ModelError("--dtype nf4 is QLoRA's, for --phase lora: take int4, or another phase")
    if request.dtype not in (None, "nf4"):
        stored = with_weights(architecture, request.dtype)
    return Workload(
        request=request,
        base=architecture,
        architecture=stored,
        gpu=gpu,
        layout=request.layout(),
        phase=request.traffic(),
        execution=request.execution(),
        constants=constants,
        warnings=warnings,
    )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
