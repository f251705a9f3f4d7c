"""What one step of a phase brings: which tokens, after how many, and how often weights are read.

A phase is what a user asks for (prefill of a batch, one token for every sequence, a micro-step of
training); its ``step()`` is what ``operators`` counts. All batches are those of one data-parallel
replica. Prompts are counted without their cached prefix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from gnomon.performance_model._checks import MOST_SEQUENCES, MOST_TOKENS, number, one_of, whole

RECOMPUTE = ("none", "selective", "full")
"""What the backward pass computes again: nothing, the attention core, or the layers whole."""

MOST_CHUNKS = 10_000


class Sequences(NamedTuple):
    """``batch`` sequences, each with ``new`` tokens after ``cached`` ones; all may be means."""

    batch: float
    new: float
    cached: float


@dataclass(frozen=True, slots=True)
class Step:
    """The work of one step of one replica.

    ``prefilled`` are sequences with many new tokens (MLA: naive), ``decoded`` those with few
    against a long cache (MLA: absorbed). ``passes`` is how often the layers' weights are read,
    ``head_passes`` the LM head's, ``logit_rows`` how many tokens go through the head.
    ``output_tokens`` is what throughput counts, ``useful_share`` the part of the work that is not
    thrown away (drafts that were rejected are).
    """

    prefilled: tuple[Sequences, ...]
    decoded: tuple[Sequences, ...]
    logit_rows: float
    output_tokens: float
    passes: float = 1
    head_passes: float = 1
    useful_share: float = 1.0

    @property
    def tokens(self) -> float:
        """New tokens of the step, over all of its passes."""
        return sum(part.batch * part.new for part in (*self.prefilled, *self.decoded))


@dataclass(frozen=True, slots=True)
class Prefill:
    """``batch`` prompts of ``prompt`` new tokens each, after ``cached_prefix`` that are cached.

    ``chunk``: the most tokens of a prompt in one pass; every chunk reads the weights, and the
    cache of those before it, again. ``has_all_logits`` sends every token through the LM head, as
    a bare forward pass does; serving needs the last one's only.
    """

    batch: int
    prompt: int
    cached_prefix: int = 0
    chunk: int | None = None
    has_all_logits: bool = False

    name = "prefill"

    def __post_init__(self) -> None:
        whole("--batch", self.batch, 1, MOST_SEQUENCES)
        whole("--prompt", self.prompt, 1, MOST_TOKENS)
        whole("--cached-prefix", self.cached_prefix, 0, MOST_TOKENS)
        if self.chunk is not None:
            whole("--chunk", self.chunk, math.ceil(self.prompt / MOST_CHUNKS), MOST_TOKENS)

    @property
    def longest(self) -> float:
        """The tokens of the longest sequence, cached ones included."""
        return self.cached_prefix + self.prompt

    def step(self) -> Step:
        """Return the step that fills the cache for all prompts."""
        chunk = min(self.chunk or self.prompt, self.prompt)
        chunks = math.ceil(self.prompt / chunk)
        last = self.prompt - (chunks - 1) * chunk
        parts = [
            Sequences(self.batch, chunk, self.cached_prefix + number * chunk)
            for number in range(chunks - 1)
        ]
        parts.append(Sequences(self.batch, last, self.cached_prefix + self.prompt - last))
        tokens = self.batch * self.prompt
        return Step(
            prefilled=tuple(parts),
            decoded=(),
            logit_rows=tokens if self.has_all_logits else self.batch,
            output_tokens=tokens,
            passes=chunks,
            head_passes=chunks if self.has_all_logits else 1,
        )


@dataclass(frozen=True, slots=True)
class Decode:
    """One token for each of ``batch`` sequences; it sees ``context`` tokens, itself included."""

    batch: int
    context: int

    name = "decode"

    def __post_init__(self) -> None:
        whole("--batch", self.batch, 1, MOST_SEQUENCES)
        whole("--context", self.context, 1, MOST_TOKENS)

    @property
    def longest(self) -> float:
        """The tokens of the longest sequence, cached ones included."""
        return self.context

    def step(self) -> Step:
        """Return the step that makes one token for every sequence."""
        return Step(
            prefilled=(),
            decoded=(Sequences(self.batch, 1, self.context - 1),),
            logit_rows=self.batch,
            output_tokens=self.batch,
        )


@dataclass(frozen=True, slots=True)
class Serve:
    """Continuous batching in its steady state: ``batch`` running sequences, means of lengths.

    For ``output`` steps of a request there is one prompt, so that a step carries ``batch`` decode
    tokens at the mean context cached_prefix + prompt + output / 2, and batch x prompt / output
    prompt tokens.
    """

    batch: int
    prompt: float
    output: float
    cached_prefix: float = 0

    name = "serve"

    def __post_init__(self) -> None:
        whole("--batch", self.batch, 1, MOST_SEQUENCES)
        number("--prompt", self.prompt, 1, MOST_TOKENS)
        number("--output", self.output, 1, MOST_TOKENS)
        number("--cached-prefix", self.cached_prefix, 0, MOST_TOKENS)

    @property
    def context(self) -> float:
        """The mean number of tokens that a decode token sees."""
        return self.cached_prefix + self.prompt + self.output / 2

    @property
    def longest(self) -> float:
        """The tokens of the longest sequence, cached ones included."""
        return self.cached_prefix + self.prompt + self.output

    def alone(self) -> Prefill:
        """Return the prefill of one prompt of mean length."""
        return Prefill(1, round(self.prompt), round(self.cached_prefix))

    def step(self) -> Step:
        """Return the mean step."""
        prompts = self.batch / self.output
        return Step(
            prefilled=(Sequences(prompts, self.prompt, self.cached_prefix),),
            decoded=(Sequences(self.batch, 1, self.context - 1),),
            logit_rows=self.batch + prompts,
            output_tokens=self.batch,
        )


@dataclass(frozen=True, slots=True)
class Verify:
    """A speculative step: ``drafted`` tokens a sequence are checked, ``accepted`` on average kept.

    Counted is the large model's step with 1 + drafted new tokens a sequence; the first of them
    sees ``context`` tokens. What makes the drafts is a model of its own.
    """

    batch: int
    context: int
    drafted: int
    accepted: float

    name = "verify"

    def __post_init__(self) -> None:
        whole("--batch", self.batch, 1, MOST_SEQUENCES)
        whole("--context", self.context, 1, MOST_TOKENS)
        whole("--drafted", self.drafted, 1, 1000)
        number("--accepted", self.accepted, 0, self.drafted)

    @property
    def longest(self) -> float:
        """The tokens of the longest sequence, cached ones included."""
        return self.context + self.drafted

    def step(self) -> Step:
        """Return the step that checks the drafts of every sequence."""
        new = 1 + self.drafted
        return Step(
            prefilled=(),
            decoded=(Sequences(self.batch, new, self.context - 1),),
            logit_rows=self.batch * new,
            output_tokens=self.batch * (1 + self.accepted),
            useful_share=(1 + self.accepted) / new,
        )


class MicroStep:
    """What training of any kind shares: all tokens of all sequences, forward and backward."""

    __slots__ = ()

    batch: int
    sequence: int
    recompute: str
    accumulation: int

    def __post_init__(self) -> None:
        whole("--batch", self.batch, 1, MOST_SEQUENCES)
        whole("--prompt", self.sequence, 1, MOST_TOKENS)
        whole("--accumulation", self.accumulation, 1, MOST_SEQUENCES)
        one_of("--recompute", self.recompute, RECOMPUTE)

    @property
    def longest(self) -> float:
        """The tokens of the longest sequence, cached ones included."""
        return self.sequence

    def step(self) -> Step:
        """Return the forward part; all tokens go through the LM head."""
        tokens = self.batch * self.sequence
        return Step(
            prefilled=(Sequences(self.batch, self.sequence, 0),),
            decoded=(),
            logit_rows=tokens,
            output_tokens=tokens,
        )


@dataclass(frozen=True, slots=True)
class Train(MicroStep):
    """Forward and backward of one micro-step, without the optimizer.

    Gradients are exchanged once in ``accumulation`` micro-steps.
    """

    batch: int
    sequence: int
    recompute: str = "none"
    accumulation: int = 1

    name = "train"


@dataclass(frozen=True, slots=True)
class Lora(MicroStep):
    """A micro-step that trains low-rank adapters and leaves the model's weights alone.

    ``targets`` are names of matrices as PEFT knows them ("q_proj", ...), or ("all",).
    ``is_quantised``: QLoRA, whose 4-bit weights are unpacked to 16 bits at every use.
    """

    batch: int
    sequence: int
    rank: int = 16
    targets: tuple[str, ...] = ("all",)
    recompute: str = "none"
    is_quantised: bool = False
    accumulation: int = 1

    name = "lora"

    def __post_init__(self) -> None:
        MicroStep.__post_init__(self)
        whole("--lora-rank", self.rank, 1, 10**5)


Phase = Prefill | Decode | Serve | Verify | Train | Lora
