"""Every number of docs/common-mistakes.md, the right ones and the wrong, is computed here."""

import json
from dataclasses import replace
from itertools import count

from gnomon.hardware import profile, sku_facts
from gnomon.performance_model import cache, huggingface, parameters
from gnomon.performance_model.architecture import (
    Architecture,
    Experts,
    Formats,
    GroupedAttention,
    LayerGroup,
    Mlp,
    WeightFormat,
)
from gnomon.performance_model.capacity import capacity
from gnomon.performance_model.cost import gpus_needed, saving_pct
from gnomon.performance_model.operators import Execution, expected_distinct
from gnomon.performance_model.parallelism import Layout
from gnomon.performance_model.phases import Decode, Lora, Prefill, Serve, Train
from gnomon.performance_model.roofline import ridge_flop_per_byte
from tests.performance_model.models import FULL, H100, H200, bf16, rows, step
from tests.performance_model.pages import DOCS, Sentences, third_cells, worked

LLAMA_7B, LLAMA_8B, LLAMA_70B = (
    bf16(name) for name in ("Llama-2-7B", "Llama-3.1-8B", "Llama-3.1-70B")
)
DEEPSEEK, MIXTRAL, QWEN_MOE, QWEN = (
    bf16(name) for name in ("DeepSeek-V3", "Mixtral-8x7B", "Qwen3-30B-A3B", "Qwen3-32B")
)
GPT_OSS = huggingface.read("gpt-oss-120b").architecture
A100_40, A100_80 = (profile(sku_facts(f"A100-SXM4-{size}GB")) for size in (40, 80))
PEAK = H100.peak_flops["bf16"]
COUNTED_7B, COUNTED_8B = parameters.count(LLAMA_7B), parameters.count(LLAMA_8B)
LINEAR_8B = 2 * (COUNTED_8B.matmul_per_token + COUNTED_8B.lm_head)
INT8 = WeightFormat("int8", 1.0, "bf16")
W8A16 = replace(LLAMA_8B, formats=Formats(attention=INT8, feed_forward=INT8))
MPT = Architecture(
    "MPT-7B",
    4096,
    50_368,
    (LayerGroup(32, GroupedAttention(32, 32, 128), Mlp(16_384, is_gated=False)),),
    is_tied=True,
)
CONFIGS = DOCS.parent / "tests" / "data" / "models" / "published_configs.json"
# The window of its released config (arXiv 2503.19786, section 2).
GEMMA = next(
    huggingface.from_config({**model["config"], "sliding_window": 1024}, "Gemma").architecture
    for model in json.loads(CONFIGS.read_text())
    if model["name"] == "Gemma-3-27B"
)

statement, sentences = Sentences(), Sentences()


@statement
def two_flops_a_parameter():
    """linear layers alone: for Llama-3.1-8B {:.1f} % too high because the embedding is not
    multiplied, and without attention, which adds {:.0f} % at 4k of context, {:.0f} % at 8k and
    {:.0f} % at 32k
    """
    more = [step(LLAMA_8B, Decode(1, n)).flops / LINEAR_8B - 1 for n in (4096, 8192, 32_768)]
    return (100 * (2 * COUNTED_8B.total / LINEAR_8B - 1), *(100 * share for share in more))


@statement
def fifty_tokens():
    """{:.2f} %: the division is right, but one sequence on one H100 cannot have that rate (memory
    allows {:.0f}), and {:.0f} GB do not fit into its {:.0f}
    """
    answer = step(LLAMA_70B, Decode(1, 1), gpu=H100)
    room = capacity(LLAMA_70B, H100, Layout(), Decode(1, 1))
    return (
        100 * answer.flops * 50 / PEAK,
        H100.dram_bytes_per_s / answer.bytes.weights,
        room.weight_bytes / 1e9,
        room.vram_bytes / 1e9,
    )


@statement
def twenty_four_tokens():
    """{:.2f} with 140 GB, {:.2f} with the weights really read, {:.2f} with a cache of 2,048 tokens,
    {:.1f} attainable; it is a bound for each replica, and batching multiplies it
    """
    answer = step(LLAMA_70B, Decode(1, 2048), gpu=H100)
    return (
        H100.dram_bytes_per_s / 140e9,
        H100.dram_bytes_per_s / answer.bytes.weights,
        answer.roofline_tokens_per_s,
        answer.tokens_per_s,
    )


@statement
def mixed_phases():
    """it adds one decoded token's linear layers to a whole prompt's attention: {:.1f} TFLOP for
    Llama-2-7B and 2,048 tokens, where prefill takes {:.1f} and a decoded token {:.3f}
    """
    layers, tokens, hidden = LLAMA_7B.layers, 2048, LLAMA_7B.hidden
    said = 2 * COUNTED_7B.total + 4 * layers * tokens**2 * hidden
    flops = [step(LLAMA_7B, phase).flops for phase in (Prefill(1, tokens), Decode(1, tokens))]
    return said / 1e12, flops[0] / 1e12, flops[1] / 1e12


@statement
def bytes_of_one_tensor_a_layer():
    """one tensor a layer is {:.2f} GB for 2,048 tokens of Llama-3.1-8B, fused kernels move {:.1f},
    {:.0f} times as much; the KV term holds for MHA alone: {:.2f} GB for Llama-3.1-70B, which reads
    {:.2f}
    """
    layers, tokens = LLAMA_8B.layers, 2048
    said = 2 * tokens * LLAMA_8B.hidden * layers
    moved = step(LLAMA_8B, Prefill(1, tokens)).bytes.activations
    said_kv = 4 * tokens * LLAMA_70B.hidden * LLAMA_70B.layers
    read = cache.read_bytes(LLAMA_70B, tokens)
    return said / 1e9, moved / 1e9, moved / said, said_kv / 1e9, read / 1e9


@statement
def causal_core():
    """causal: {:.2f} L²D a layer at 4,096 tokens; the rectangle is {:.2f}"""
    tokens, width = 4096, LLAMA_7B.hidden
    cores = [
        rows(step(LLAMA_7B, Prefill(1, tokens), execution=Execution(attention=convention)))
        for convention in ("causal", "full")
    ]
    layer = tokens**2 * width * LLAMA_7B.layers
    return tuple(core["prefill_attention"].flops / layer for core in cores)


@statement
def layer_coefficients():
    """for MHA with a plain MLP of 4H; Llama-2-7B has {:.0f} and {:.1f} by luck, Llama-3.1-8B {:.0f}
    and {:.0f}; the core is half as much where it is causal
    """
    found = []
    for model in (LLAMA_7B, LLAMA_8B):
        counted, area = parameters.count(model), model.hidden**2 * model.layers
        found += [2 * counted.attention / area, 2 * counted.feed_forward / area]
    return tuple(found)


@statement
def intensity_of_a_prompt():
    """the core's {:.1f} % of the FLOPs over the bytes of the weights are {:.0f}; all FLOPs over the
    weights are {:,.0f}, over all traffic {:.0f}: far above the ridge of {:.0f}, bound by compute
    """
    answer = step(LLAMA_7B, Prefill(1, 2048, has_all_logits=True), gpu=H100)
    served = step(LLAMA_7B, Prefill(1, 2048), gpu=H100)
    weights = step(LLAMA_7B, Decode(1, 1)).bytes.weights
    core = rows(served)["prefill_attention"].flops
    return (
        100 * core / answer.flops,
        core / weights,
        answer.flops / weights,
        served.arithmetic_intensity_flop_per_byte,
        answer.ridge_flop_per_byte,
    )


@statement
def intensity_of_many_prompts():
    """32 times the wrong 75; with activations the intensity is {:,.0f} at 32 prompts and saturates
    ({:,.0f} at 1,024)
    """
    answers = [step(LLAMA_7B, Prefill(batch, 2048), gpu=H100) for batch in (32, 1024)]
    return tuple(answer.arithmetic_intensity_flop_per_byte for answer in answers)


@statement
def intensity_of_a_token():
    """{:.2f} FLOP/byte at a context of 2,048"""
    answer = step(LLAMA_7B, Decode(1, 2048))
    return (answer.flops / (answer.bytes.weights + answer.bytes.kv_read),)


@statement
def cache_of_2048():
    """{:,.0f} bytes a token, {:.2f} GiB"""
    return cache.bytes_per_token(LLAMA_7B), cache.read_bytes(LLAMA_7B, 2048) / 2**30


@statement
def ridges():
    """{:.0f} came from 3.0 TB/s; an H100 SXM has 3.35 and {:.0f}, an H200 {:.0f}; an A100-40GB
    {:.0f}, an A100-80GB {:.0f}
    """
    gpus = (H100, H200, A100_40, A100_80)
    return (PEAK / 3e12, *(ridge_flop_per_byte(gpu, "bf16") for gpu in gpus))


@statement
def savings():
    """cost is proportional to 1/MFU: 20 to 30 % saves {:.1f} %, 40 to 50 % saves {:.0f} %, a tenth
    more saves {:.1f} %
    """
    return saving_pct(20, 30), saving_pct(40, 50), saving_pct(100, 110)


@statement
def fewer_gpus():
    """{:.1f} GPUs, and 333 of them {:.2f} million a year"""
    work = 1000 * PEAK * 0.20
    fewer = gpus_needed(work, PEAK, 20) - gpus_needed(work, PEAK, 30)
    return fewer, 333 * 3 * 8760 / 1e6


@statement
def two_generations():
    """{:.1f} and {:.1f} TFLOP/s, a factor of {:.2f}"""
    old, new = 0.30 * A100_80.peak_flops["bf16"], 0.25 * PEAK
    return old / 1e12, new / 1e12, new / old


@statement
def capped_by_intensity():
    """impossible: memory caps MFU at intensity ÷ ridge, {:.2f} % at 0.8 and {:.1f} % at 12"""
    ridge = ridge_flop_per_byte(H100, "bf16")
    return 100 * 0.8 / ridge, 100 * 12 / ridge


@statement
def sequences_for_mfu():
    """by batching alone: {:.2f} % is attainable for one sequence of Llama-3.1-8B on an H100
    (context 1,024), 5 % from {} sequences on, 15 % from {}
    """

    def first(mfu_pct):
        reached = (
            step(LLAMA_8B, Decode(batch, 1024), gpu=H100).mfu_pct >= mfu_pct for batch in count(1)
        )
        return 1 + next(index for index, is_reached in enumerate(reached) if is_reached)

    return step(LLAMA_8B, Decode(1, 1024), gpu=H100).mfu_pct, first(5), first(15)


@statement
def weight_only():
    """only bytes halve: {:.2f} times the decoded tokens/s of Llama-3.1-8B (batch 1), {:.2f} times
    in prefill; the products run in {}
    """
    gains = [
        step(W8A16, phase).tokens_per_s / step(LLAMA_8B, phase).tokens_per_s
        for phase in (Decode(1, 1024), Prefill(8, 2048))
    ]
    return (*gains, *step(W8A16, Decode(1, 1024)).flops_by_dtype)


@statement
def doubled_sol():
    """tokens/s grew {:.2f} times and the SOL {:.2f} times, yet FLOPs a token are constant: it is no
    FLOP/s over datasheet; linear layers without and with LM head give {:.1f} to {:.1f} % before and
    {:.1f} to {:.1f} % after, and {:.0f} % is attainable in long prefill
    """
    before, after = 52_298, 73_903
    shares = [
        100 * rate / 2 * flops / H200.peak_flops["bf16"]
        for rate in (before, after)
        for flops in (2 * COUNTED_8B.matmul_per_token, LINEAR_8B)
    ]
    long_prompt = step(LLAMA_8B, Prefill(1, 8192)).compute_sol_pct
    return (after / before, 89 / 45, *shares, long_prompt)


@statement
def a_thousand_conversations():
    """plausible: {:.1f} % attainable for prompts and outputs of 512"""
    return (step(LLAMA_8B, Serve(1024, prompt=512, output=512)).compute_sol_pct,)


@sentences
def conventions():
    """MPT-7B, sequences of 65,536, 1,956 tokens/s on an H100: {:.1f} % MFU over the rectangle,
    {:.1f} % causal.
    """
    # MosaicML's N has the learned positions in it, one for each token of the sequence.
    per_token = [
        step(MPT, Train(1, 65_536), execution=execution).flops / 65_536 + 6 * 4096 * 65_536
        for execution in (FULL, None)
    ]
    return tuple(100 * flops * 1956 / 989.5e12 for flops in per_token)


@sentences
def heads_read():
    """Llama-3.1-70B, 32 sequences of 8,192 tokens: a step reads {:.1f} GB of cache, {:.0f} GB by
    query heads.
    """
    attention = LLAMA_70B.groups[0].attention
    right = cache.read_bytes(LLAMA_70B, 8192) * 32
    return right / 1e9, right * attention.query_heads / attention.kv_heads / 1e9


@sentences
def latent_cache():
    """DeepSeek-V3: {1:,.0f} bytes a token; expanded keys and values of 128 heads would be {0:,},
    {2:.0f} times as many.
    """
    mla = DEEPSEEK.groups[0].attention
    per_head = mla.nope_dim + mla.rope_dim + mla.value_dim
    said = DEEPSEEK.layers * mla.query_heads * per_head * 2
    right = cache.bytes_per_token(DEEPSEEK)
    return said, right, said / right


@sentences
def head_dimension():
    """Qwen3-32B: h ÷ n_q is {}, head_dim is {}; the cache would be {:,.0f} bytes a token and is
    {:,.0f}.
    """
    attention = QWEN.groups[0].attention
    said = QWEN.hidden // attention.query_heads
    right = cache.bytes_per_token(QWEN)
    return said, attention.head_dim, right * said / attention.head_dim, right


@sentences
def distinct():
    """8 tokens hit {:.1f} of Mixtral's 8 experts, 32 tokens {:.1f} of the 128 of Qwen3-30B-A3B and
    {:.1f} of the 256 of DeepSeek-V3, which reads {:.0f} GB of weights for one sequence, {:.0f} for
    32, and has {:,.0f}.
    """
    hit = expected_distinct(8, 2, 8), expected_distinct(128, 8, 32), expected_distinct(256, 8, 32)
    weights = step(DEEPSEEK, Decode(32, 1024)).bytes.weights
    active = step(DEEPSEEK, Decode(1, 1024)).bytes.weights
    return (*hit, active / 1e9, weights / 1e9, parameters.weight_bytes(DEEPSEEK) / 1e9)


@sentences
def clocks():
    """An H200 at a true clock of 1,332 MHz has a peak of {:.0f} TFLOP/s: a GEMM at 66.9 % of the
    datasheet is at {:.1f} % of that.
    """
    reference = H200.reference_clock_mhz("tensor")
    return PEAK * 1332 / reference / 1e12, 66.9 * reference / 1332


@sentences
def memory_clock():
    """3,201 MHz x 2 x 6,144 bit is {:.3f} TB/s, {:.1f} % above the datasheet's 4.8."""
    by_clock = 3201e6 * 2 * 6144 / 8
    return by_clock / 1e12, 100 * (by_clock / H200.dram_bytes_per_s - 1)


@sentences
def adapters_at_6n():
    """LoRA on q, k, v and o of Llama-3.1-8B (rank 16, sequences of 1,024): 6N is {:.1f} GFLOP a
    token, the work is {:.1f}, so that 6N reads {:.2f} times too high; at a measured 12,291 tokens/s
    {:.1f} instead of {:.1f} % MFU.
    """
    phase = Lora(8, 1024, targets=("q", "k", "v", "o"))
    flops, said = step(LLAMA_8B, phase).flops / 8192, 6 * COUNTED_8B.total
    shares = [100 * one * 12_291 / PEAK for one in (said, flops)]
    return said / 1e9, flops / 1e9, said / flops, *shares


@sentences
def sparse_peak():
    """Llama-3.1-8B at 6,667 tokens/s on an H100 (torchtitan): {:.1f} % of the dense peak, {:.1f} %
    of the sparse one.
    """
    flops = step(LLAMA_8B, Train(1, 8192), execution=FULL).flops / 8192
    return 100 * flops * 6667 / PEAK, 100 * flops * 6667 / 1979e12


@sentences
def embedding():
    """Of all parameters instead of the multiplied ones: {:.1f} % too many for Llama-3.1-8B, {:.1f}
    % for Gemma-3-27B, whose tied matrix ({:.1f} % of the parameters) is multiplied once, as LM
    head.
    """
    shares = []
    for model in (LLAMA_8B, GEMMA):
        counted = parameters.count(model)
        products = counted.matmul_per_token + counted.lm_head
        shares.append(100 * (counted.total / products - 1))
    return (*shares, 100 * parameters.count(GEMMA).embedding / parameters.count(GEMMA).total)


def _vllm_flops(model, new, flops):
    """Return a count without routers, which vLLM leaves out."""
    return flops - 2 * new * parameters.count(model).routers


@sentences
def vllm_prefill():
    """vLLM over exact FLOPs, prompts of 2k, 8k and 32k in one chunk: Llama-3.1-8B {:.2f}, {:.2f},
    {:.2f}; Qwen3-30B-A3B {:.2f}, {:.2f}, {:.2f}; DeepSeek-V3 {:.2f}, {:.2f}, {:.2f}; Gemma-3-27B
    {:.2f}, {:.2f}, {:.2f}.
    """
    shares = []
    for model in (LLAMA_8B, QWEN_MOE, DEEPSEEK, GEMMA):
        for tokens in (2048, 8192, 32_768):
            full = step(model, Prefill(1, tokens), execution=FULL).flops
            exact = step(model, Prefill(1, tokens)).flops
            shares.append(_vllm_flops(model, tokens, full) / exact)
    return tuple(shares)


@sentences
def vllm_latent():
    """vLLM over exact FLOPs of a decoded token of DeepSeek-V3 at 8k: {:.2f}."""
    exact = step(DEEPSEEK, Decode(1, 8192)).flops
    # 61 layers, 128 heads; 2,176 FLOP a pair absorbed, 640 naive.
    naive = exact - 61 * 128 * 8192 * (2176 - 640)
    return (_vllm_flops(DEEPSEEK, 1, naive) / exact,)


@sentences
def vllm_experts():
    """min(T k, E) experts instead of the expected distinct ones, in weight bytes: Mixtral {:.2f},
    Qwen3-30B-A3B {:.2f} and DeepSeek-V3 {:.2f} at 8 tokens, DeepSeek-V3 {:.2f} at 32.
    """

    def ratio(model, tokens):
        exact = step(model, Decode(tokens, 1)).bytes.weights
        more = 0.0
        for group in model.groups:
            experts = group.feed_forward
            if isinstance(experts, Experts):
                said = min(tokens * experts.active, experts.count)
                hit = expected_distinct(experts.count, experts.active, tokens)
                more += (
                    group.count
                    * (said - hit)
                    * parameters.mlp_weights(experts.expert, model.hidden)
                )
        return 1 + 2 * more / exact

    return ratio(MIXTRAL, 8), ratio(QWEN_MOE, 8), ratio(DEEPSEEK, 8), ratio(DEEPSEEK, 32)


@sentences
def vllm_mxfp4():
    """vLLM over exact weight bytes of a decode step of gpt-oss-120b: {:.2f} for 1 token, {:.2f} for
    8, {:.2f} for 32.
    """
    counted = parameters.count(GPT_OSS)
    experts = GPT_OSS.groups[0].feed_forward

    def ratio(tokens):
        read = min(tokens * experts.active, experts.count) / experts.count * counted.experts
        said = 0.5 * (counted.attention + read) + 2 * counted.lm_head
        return said / step(GPT_OSS, Decode(tokens, 1)).bytes.weights

    return ratio(1), ratio(8), ratio(32)


@sentences
def llm_viewer():
    """LLM-Viewer: the fused decode core of Llama-3.1-70B reads {:.0f} times the cache; its H100 has
    {:.2f} times the dense 16-bit peak and {:.2f} times the bandwidth.
    """
    attention = LLAMA_70B.groups[0].attention
    over = attention.query_heads / (2 * attention.kv_heads)
    return over, 1979e12 / PEAK, 3072e9 / H100.dram_bytes_per_s


@sentences
def vidur():
    """vidur: an H100 has {:,.1f} TFLOP/s, so that MFU reads {:.0f} % low; the LM head that it
    leaves out is {:.0f} % of what a decoded token of Llama-3.1-8B multiplies.
    """
    head = 100 * COUNTED_8B.lm_head / (COUNTED_8B.matmul_per_token + COUNTED_8B.lm_head)
    return 1000 * 2**40 / 1e12, 100 * (1 - PEAK / (1000 * 2**40)), head


@sentences
def calflops():
    """calflops: 1,700.06 GFLOP for Llama-2-7B and 128 tokens; by the rectangle with all logits
    {:,.2f} here.
    """
    forward = step(LLAMA_7B, Prefill(1, 128, has_all_logits=True), execution=FULL)
    return (forward.flops / 1e9,)


def test_every_statement_gets_the_number_that_is_computed():
    assert third_cells("common-mistakes.md") == statement.filled()


def test_every_worked_number_of_the_page_is_the_one_computed():
    assert worked("common-mistakes.md") == sentences.filled()
