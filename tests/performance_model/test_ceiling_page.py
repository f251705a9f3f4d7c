"""Every worked number of docs/ceiling.md is the one that the program computes."""

from gnomon.hardware import profile, sku_facts
from gnomon.performance_model import cache, huggingface, parameters
from gnomon.performance_model._kept_activations import kept_numbers
from gnomon.performance_model._lora import adapter_parameters
from gnomon.performance_model.attention_pairs import pairs
from gnomon.performance_model.capacity import capacity
from gnomon.performance_model.cost import cost, gpus_needed, saving_pct
from gnomon.performance_model.operators import Execution, Kind, expected_distinct
from gnomon.performance_model.parallelism import Layout, dispatch_copies, pipeline_stretch
from gnomon.performance_model.phases import Decode, Lora, Prefill, Serve, Train, Verify
from gnomon.performance_model.roofline import ridge_flop_per_byte
from tests.performance_model.models import FULL, H100, H200, bf16, rows, step
from tests.performance_model.pages import Sentences, worked

LLAMA, LLAMA_70B, DEEPSEEK, QWEN = (
    bf16(name) for name in ("Llama-3.1-8B", "Llama-3.1-70B", "DeepSeek-V3", "Qwen3-30B-A3B")
)
GPT_OSS = huggingface.read("gpt-oss-120b").architecture
DEEPSEEK_FP8 = huggingface.read("DeepSeek-V3").architecture
A100 = profile(sku_facts("A100-SXM4-80GB"))
CORES = (Kind.PREFILL_ATTENTION, Kind.DECODE_ATTENTION)
ALL_LINEAR = Lora(1, 2048)

sentences = Sentences()


@sentences
def dense_parameters():
    """Llama-3.1-8B: {:,} parameters; every token meets {:,} of them in the layers' products, and
    {:,} in the LM head where it needs logits.
    """
    counted = parameters.count(LLAMA)
    return counted.total, counted.matmul_per_token, counted.lm_head


@sentences
def sparse_parameters():
    """DeepSeek-V3: {:,} parameters, {:.1f} billion active with the input embedding and {:.1f}
    without; a token leaves {} numbers in the cache of a layer.
    """
    counted = parameters.count(DEEPSEEK)
    return (
        counted.total,
        counted.active / 1e9,
        counted.active_without_embedding / 1e9,
        counted.kv_values_per_token // DEEPSEEK.layers,
    )


@sentences
def prompt_flops():
    """Llama-3.1-8B, a prompt of 2,048 tokens: layers {:.2f} TFLOP, causal core {:.2f}, LM head for
    the last token {:.3f}, together {:.2f}; the full rectangle would add {:.2f}.
    """
    answer = step(LLAMA, Prefill(1, 2048))
    found = rows(answer)
    core = sum(row.flops for row in found.values() if row.kind in CORES)
    head = found["lm_head"].flops
    full = step(LLAMA, Prefill(1, 2048), execution=FULL).flops
    parts = (answer.flops - core - head, core, head, answer.flops, full - answer.flops)
    return tuple(flops / 1e12 for flops in parts)


@sentences
def pairs_with_a_cached_prefix():
    """5 new tokens after 3 cached ones: {:.0f} causal pairs, {:.0f} in the rectangle, {:.0f} with a
    window of 4.
    """
    return (pairs(5, 3, None), pairs(5, 3, None, "full"), pairs(5, 3, 4))


@sentences
def windows():
    """gpt-oss-120b at a context of 131,072: the 18 windowed layers read {:.1f} MB of cache for a
    token, the 18 full ones {:,.0f} MB.
    """
    found = rows(step(GPT_OSS, Decode(1, 131_072)))
    whole, windowed = found["decode_attention"], found["decode_attention_window_128"]
    return windowed.kv_read_bytes / 1e6, whole.kv_read_bytes / 1e6


@sentences
def latent_pairs():
    """DeepSeek-V3: {} FLOP for a head and pair naive, {:,} absorbed ({:.1f} times as many); to
    expand one cached token would take {:,} FLOP a head, as many as absorption adds in {:.0f} pairs.
    """
    mla = DEEPSEEK.groups[0].attention
    naive = 2 * (mla.nope_dim + mla.rope_dim + mla.value_dim)
    absorbed = 2 * (mla.kv_rank + mla.rope_dim + mla.kv_rank)
    expansion = 2 * mla.kv_rank * (mla.nope_dim + mla.value_dim)
    per_pair = rows(step(DEEPSEEK, Decode(1, 8192)))["decode_attention"].flops / (61 * 128 * 8192)
    assert per_pair == absorbed
    return naive, absorbed, absorbed / naive, expansion, expansion / (absorbed - naive)


@sentences
def mixture():
    """Qwen3-30B-A3B has {:.1f} billion weights in experts, and a token meets {:.2f} billion of
    them.
    """
    counted = parameters.count(QWEN)
    met = sum(
        row.flops
        for name, row in rows(step(QWEN, Decode(1, 1))).items()
        if name in {"experts_gate_up", "experts_down"}
    )
    return counted.experts / 1e9, met / 2e9


@sentences
def verified():
    """Llama-3.1-70B on 4 H200, 8 sequences, 3 drafted and 2 of them accepted: {:.2f} times the
    FLOPs, {:.2f} times the weight bytes, {:.2f} times the tokens/s.
    """
    plain = step(LLAMA_70B, Decode(8, 2048), tp=4)
    drafted = step(LLAMA_70B, Verify(8, 2048, 3, accepted=2), tp=4)
    return (
        drafted.flops / plain.flops,
        drafted.bytes.weights / plain.bytes.weights,
        drafted.tokens_per_s / plain.tokens_per_s,
    )


@sentences
def hit():
    """DeepSeek-V3 (256 experts, 8 active): 32 tokens hit {:.1f} experts of a layer, 256 tokens
    {:.1f}; in bf16 a decode step reads {:.0f} GB of weights for 1 sequence, {:.0f} for 32 and
    {:,.0f} for 256.
    """
    weights = [step(DEEPSEEK, Decode(batch, 1024)).bytes.weights / 1e9 for batch in (1, 32, 256)]
    return (expected_distinct(256, 8, 32), expected_distinct(256, 8, 256), *weights)


@sentences
def cached_tokens():
    """KV bytes a token, bf16: Llama-3.1-8B {:,.0f}, Llama-3.1-70B {:,.0f}, DeepSeek-V3 {:,.0f}."""
    return tuple(cache.bytes_per_token(one) for one in (LLAMA, LLAMA_70B, DEEPSEEK))


@sentences
def activations():
    """Llama-3.1-8B: {:,.0f} numbers a token and layer, {:.1f} MB a token; for a prompt of 2,048
    that is {:.1f} GB beside {:.1f} GB of weights.
    """
    answer = step(LLAMA, Prefill(1, 2048))
    outside = ("embedding", "final_norm", "lm_head", "sampling")
    moved = sum(
        row.total_bytes - row.weight_bytes - row.kv_read_bytes
        for name, row in rows(answer).items()
        if name not in outside
    )
    return (
        moved / 2048 / 32 / 2,
        moved / 2048 / 1e6,
        answer.bytes.activations / 1e9,
        answer.bytes.weights / 1e9,
    )


@sentences
def unfused():
    """Llama-3.1-8B, a prompt of 8,192: {:.0f} GB with a fused core, {:,.0f} GB without."""
    eager = Execution(is_attention_fused=False)
    both = (step(LLAMA, Prefill(1, 8192), execution=one) for one in (None, eager))
    return tuple(answer.bytes.total / 1e9 for answer in both)


@sentences
def trained():
    """Llama-3.1-8B, sequences of 2,048, GFLOP a token: full {:.1f}, with full recompute {:.1f},
    LoRA of rank 16 on all linear layers {:.1f}, with full recompute {:.1f}; the adapters have
    {:,.0f} parameters.
    """
    phases = (
        Train(1, 2048),
        Train(1, 2048, "full"),
        ALL_LINEAR,
        Lora(1, 2048, recompute="full"),
    )
    per_token = [step(LLAMA, phase).flops / 2048e9 for phase in phases]
    return (*per_token, adapter_parameters(LLAMA, ALL_LINEAR, Layout()))


@sentences
def reduced():
    """Llama-3.1-70B on 4 GPUs, a decode step of 32 sequences: {:.0f} all-reduces, in which each GPU
    sends {:.0f} MB.
    """
    found = rows(step(LLAMA_70B, Decode(32, 4096), tp=4))["tensor_parallel_all_reduce"]
    return found.count, found.collective_bytes / 1e6


@sentences
def dispatched():
    """DeepSeek-V3 over 8 expert ranks: a token is sent to {:.2f} other ranks expert by expert, to
    {:.2f} without duplicates.
    """
    experts = DEEPSEEK.groups[-1].feed_forward
    plain, once = (
        dispatch_copies(experts, Layout(dp=8, ep=8, is_dispatch_deduplicated=dedup))
        for dedup in (False, True)
    )
    return plain, once


@sentences
def exposed():
    """Llama-3.1-8B trained on 2 H200, one sequence of 512 tokens each: forward {:.1f} ms, backward
    {:.1f} ms, gradients {:.1f} ms on the wire: a step of {:.1f} ms, {:.1f} of them waiting.
    """
    answer = step(LLAMA, Train(1, 512), dp=2)
    wire = next(one for one in answer.operators if one.operator.name == "gradients_exchange")
    seconds = [0.0, 0.0]
    for one in answer.operators:
        if one is not wire:
            seconds[one.operator.is_backward] += one.time_s
    waited_s = answer.time_s - sum(seconds)
    return tuple(1e3 * one for one in (*seconds, wire.time_s, answer.time_s, waited_s))


@sentences
def bubble():
    """4 stages and 8 microbatches: {:.1f} % of the time is bubble."""
    stretch = pipeline_stretch(Layout(pp=4), 8, is_steady=False)
    return (100 * (1 - 1 / stretch),)


@sentences
def one_operator():
    """`mlp_gate_up` of Llama-3.1-8B on an H200, 32 sequences: {:.0f} kernels, {:.2f} TFLOP, {:.2f}
    GB; launch {:.2f} ms + max(compute {:.2f} ms, memory {:.2f} ms) = {:.2f} ms.
    """
    answer = step(LLAMA, Decode(32, 1024))
    row = next(one for one in answer.operators if one.operator.name == "mlp_gate_up")
    return (
        row.operator.count,
        row.operator.flops / 1e12,
        row.operator.total_bytes / 1e9,
        row.launch_s * 1e3,
        row.compute_s * 1e3,
        row.memory_s * 1e3,
        row.time_s * 1e3,
    )


@sentences
def decoded():
    """The whole step at a context of 1,024: {:.2f} ms, {:,.0f} tokens/s attainable; {:,.0f} at the
    bare peaks, {:,.0f} typical.
    """
    answer = step(LLAMA, Decode(32, 1024))
    return (
        answer.tpot_s * 1e3,
        answer.tokens_per_s,
        answer.roofline_tokens_per_s,
        answer.typical_tokens_per_s,
    )


@sentences
def whole_step_roofline():
    """512 sequences: {:,.0f} tokens/s by the roofline of the whole step, {:,.0f} by the sum of the
    operators' rooflines, {:,.0f} attainable.
    """
    answer = step(LLAMA, Decode(512, 1024))
    whole_s = max(answer.flops / H200.peak_flops["bf16"], answer.bytes.total / 4.8e12)
    return 512 / whole_s, answer.roofline_tokens_per_s, answer.tokens_per_s


@sentences
def prefilled():
    """Attainable compute SOL of a prompt of 512, 2,048, 8,192 and 32,768 tokens (Llama-3.1-8B,
    bf16, H200): {:.0f}, {:.0f}, {:.0f} and {:.0f} %.
    """
    answers = [step(LLAMA, Prefill(1, prompt)) for prompt in (512, 2048, 8192, 32_768)]
    return tuple(answer.compute_sol_pct for answer in answers)


@sentences
def mixed_dtypes():
    """DeepSeek-V3 in fp8, a prompt of 4,096 on 8 H200: compute SOL {:.1f} % with each product at
    its own peak, {:.1f} % with all of them at the fp8 peak.
    """
    answer = step(DEEPSEEK_FP8, Prefill(1, 4096), tp=8)
    by_fp8 = 100 * answer.executed_flops / H200.peak_flops["fp8"] / answer.time_s
    return answer.compute_sol_pct, by_fp8


@sentences
def utilisations():
    """Training Llama-3.1-8B with full recompute on an H200, sequences of 4,096, at the ceiling: MFU
    {:.1f} %, HFU {:.1f} %, compute SOL {:.1f} %.
    """
    answer = step(LLAMA, Train(1, 4096, "full"))
    return answer.mfu_pct, answer.hfu_pct, answer.compute_sol_pct


@sentences
def measured_mfu():
    """LoRA of rank 16 on q, k, v and o, 8 sequences of 1,024, measured on an H200 (driver 580) at
    12,291 tokens/s: {:.2f} GFLOP a token, MFU {:.2f} %.
    """
    flops = step(LLAMA, Lora(8, 1024, targets=("q", "k", "v", "o"))).flops / 8192
    return flops / 1e9, 100 * flops * 12_291 / H200.peak_flops["bf16"]


@sentences
def bandwidth():
    """gpt-fast's 104.9 tokens/s of Llama-2-7B on an A100 (its README) read {:.2f} GB each: MBU
    {:.1f} %.
    """
    read = step(bf16("Llama-2-7B"), Decode(1, 1), gpu=A100).bytes.weights
    return read / 1e9, 100 * read * 104.9 / A100.dram_bytes_per_s


@sentences
def ridges():
    """bf16 ridges: A100-80GB {:.0f}, H100 SXM {:.0f}, H200 {:.0f} FLOP/byte; an H200 at a true
    clock of 1,435 MHz {:.0f}.
    """
    gpus = (A100, H100, H200)
    slowed = ridge_flop_per_byte(H200, "bf16", sm_clock_mhz=1435)
    return (*(ridge_flop_per_byte(gpu, "bf16") for gpu in gpus), slowed)


@sentences
def served():
    """Llama-3.1-8B on an H200, 256 running sequences, prompts of 1,000 and outputs of 250: a step
    carries 256 decoded tokens at a mean context of {1:,.0f} and {0:,.0f} of prompts, takes {2:.1f}
    ms, and gives {3:,.0f} tokens/s at a compute SOL of {4:.0f} and a memory SOL of {5:.0f} %.
    """
    phase = Serve(256, prompt=1000, output=250)
    answer = step(LLAMA, phase)
    return (
        phase.step().tokens - 256,
        phase.context,
        answer.time_s * 1e3,
        answer.tokens_per_s,
        answer.compute_sol_pct,
        answer.memory_sol_pct,
    )


@sentences
def kept():
    """Kept for the backward pass, bytes a token and layer in bf16: Llama-3.1-8B {:,.0f} ({:.1f} h),
    Llama-2-7B {:,.0f} ({:.1f} h), Qwen3-30B-A3B {:,.0f} ({:.1f} h).
    """
    numbers = []
    for model in (LLAMA, bf16("Llama-2-7B"), QWEN):
        size = 2 * kept_numbers(model, Layout(), "none") / model.layers
        numbers += [size, size / model.hidden]
    return tuple(numbers)


@sentences
def fits():
    """Llama-3.1-70B in bf16 on 2 H200: {:.1f} GB of weights on each, {:.2f} GB for a sequence of
    8,192 tokens, {:.1f} GB usable: {} sequences.
    """
    room = capacity(LLAMA_70B, H200, Layout(tp=2), Decode(1, 8192))
    return (
        room.weight_bytes / 1e9,
        cache.occupied_bytes(LLAMA_70B, 8192, 2, 1, 2.0) / 1e9,
        room.usable_bytes / 1e9,
        room.max_batch,
    )


@sentences
def trains():
    """Llama-3.1-8B on 8 GPUs: {:.0f} GB of weights, gradients and Adam on each without ZeRO, {:.0f}
    in stage 1, {:.0f} in stage 3.
    """
    states = [capacity(LLAMA, H200, Layout(dp=8, zero=zero), Train(1, 2048)) for zero in (0, 1, 3)]
    return tuple((room.weight_bytes + room.state_bytes) / 1e9 for room in states)


@sentences
def costs():
    """The served step above at 3 an hour and 700 W: {:.3f} for a million output tokens, and {:.0f}
    kJ.
    """
    answer = step(LLAMA, Serve(256, prompt=1000, output=250))
    price = cost(answer.tokens_per_s, 1, gpu_hour_cost=3.0, watts_per_gpu=700)
    return price.money_per_million_tokens, price.joules_per_million_tokens / 1e3


@sentences
def needed():
    """1 EFLOP/s of useful work: {:,.0f} H100 at 20 % MFU, {:,.0f} at 30 %, {:.1f} % fewer."""
    return gpus_needed(1e18, 989.4e12, 20), gpus_needed(1e18, 989.4e12, 30), saving_pct(20, 30)


def test_every_worked_number_of_the_page_is_the_one_computed():
    assert worked("ceiling.md") == sentences.filled()
