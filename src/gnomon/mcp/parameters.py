"""Parameters that several tools take, with the words that an agent reads of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_TIME = (
    "Unix nanoseconds, 10s (from the start of the recording), -30s (before its end) or ISO 8601 "
    "(UTC where no zone is given)"
)

Since = Annotated[
    str | int | None, Field(description=f"Begin of the window: {_TIME}. Default: all of it.")
]
Until = Annotated[str | int | None, Field(description="End of the window, written as since.")]
Gpu = Annotated[
    str | int | None,
    Field(description="One GPU only: its index, its uuid, or the start of its uuid."),
]
Split = Annotated[
    str | None,
    Field(
        description="One entry a phase (phase) or a period (such as 500ms, 10s, 5m), instead of "
        "one for the whole window."
    ),
]
Model = Annotated[
    str | None,
    Field(
        description="Compare with what this model could reach at best: a known name such as "
        "Llama-3.1-8B. Default: the model that the server was started with, if any."
    ),
]


class Traffic(BaseModel):
    """What the model does; what is left out has the default of ``gnomon ceiling``."""

    model_config = ConfigDict(extra="forbid")

    phase: Literal["prefill", "decode", "serve", "train", "lora"] | None = Field(
        None, description="serve is a step of continuous batching, and the default."
    )
    batch: int | None = Field(None, ge=1, description="Sequences of one replica.")
    prompt: float | None = Field(None, description="New prompt tokens of a sequence.")
    output: float | None = Field(None, description="Output tokens of a sequence.")
    context: int | None = Field(None, description="decode: tokens that each new one sees.")
    cached_prefix: float | None = Field(None, description="Cached tokens before the prompt.")
    chunk: int | None = Field(None, description="prefill: most tokens in one pass.")
    dtype: str | None = Field(None, description="Weights: bf16, fp16, fp8, int8, int4, ...")
    kv_dtype: str | None = Field(None, description="KV cache: bf16, fp16, fp8, int8, int4.")
    count: int | None = Field(None, description="GPUs in all.")
    tp: int | None = Field(None, description="Tensor parallelism.")
    pp: int | None = Field(None, description="Pipeline parallelism.")
    ep: int | None = Field(None, description="Expert parallelism.")
    dp: int | None = Field(None, description="Replicas, or data parallelism.")


TrafficOf = Annotated[
    Traffic | None, Field(description="How the model is used; only together with a model.")
]
