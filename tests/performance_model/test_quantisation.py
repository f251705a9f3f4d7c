"""Weight formats of quantised checkpoints, with configs as their makers publish them."""

import pytest

from gnomon._errors import ModelError
from gnomon.performance_model.architecture import BF16
from gnomon.performance_model.quantisation import formats

LAYERS = {"num_hidden_layers": 61, "torch_dtype": "bfloat16"}
INT4_GROUPS = {
    "weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32},
    "input_activations": None,
    "targets": ["Linear"],
}
FP8_GROUPS = {
    "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
    "input_activations": {"num_bits": 8, "type": "float", "dynamic": True},
    "targets": ["Linear"],
}
NVFP4_GROUPS = {
    "weights": {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16},
    "input_activations": {"num_bits": 4, "type": "float", "dynamic": "local"},
    "targets": ["re:.*mlp.*"],
}


def _formats(**quantised):
    return formats({**LAYERS, "quantization_config": quantised})


def _groups(*groups, ignore=()):
    named = {f"group_{index}": group for index, group in enumerate(groups)}
    return _formats(quant_method="compressed-tensors", config_groups=named, ignore=list(ignore))


@pytest.mark.parametrize(
    ("quantised", "bytes_per_weight", "compute_dtype", "quantizes_activations"),
    [
        ({"quant_method": "fp8", "activation_scheme": "static"}, 1, "fp8", False),
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 1.000244140625, "fp8", True),
        ({"quant_method": "fbgemm_fp8"}, 1, "fp8", True),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, 0.515625, "bf16", False),
        ({"quant_method": "gptq", "bits": 8, "group_size": -1}, 1, "bf16", False),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, 0.51953125, "bf16", False),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 1, "int8", True),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 0.5625, "bf16", False),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, 0.5625, "fp4", True),
        ({"quant_method": "modelopt", "quantization": {"quant_algo": "FP8"}}, 1, "fp8", False),
    ],
    ids=lambda value: value["quant_method"] if isinstance(value, dict) else "",
)
def test_a_scheme_has_its_bytes_and_its_arithmetic(
    quantised, bytes_per_weight, compute_dtype, quantizes_activations
):
    stored = _formats(**quantised).attention

    assert stored.bytes_per_weight == bytes_per_weight
    assert (stored.compute_dtype, stored.quantizes_activations) == (
        compute_dtype,
        quantizes_activations,
    )


def test_embedding_head_and_routers_are_left_alone_by_default():
    found = _formats(quant_method="fp8")

    assert (found.embedding, found.lm_head, found.rest) == (BF16, BF16, BF16)
    assert _formats(quant_method="gptq", bits=4, lm_head=True).lm_head.bytes_per_weight == 0.5


def test_of_an_mxfp4_checkpoint_only_the_experts_are_quantised():
    found = _formats(quant_method="mxfp4", modules_to_not_convert=["model.layers.*.self_attn"])

    assert found.experts.bytes_per_weight == 0.53125
    assert {found.attention, found.feed_forward, found.lm_head} == {BF16}


def test_layers_at_the_ends_that_are_left_alone_do_not_speak_for_the_rest():
    ends = [f"model.layers.{layer}.mlp.{name}_proj" for layer in (0, 60) for name in ("up", "down")]
    attention = [f"model.layers.{layer}.self_attn.{p}_proj" for layer in range(61) for p in "qkvo"]
    found = _formats(quant_method="fbgemm_fp8", modules_to_not_convert=ends + attention)

    assert (found.attention, found.feed_forward.name) == (BF16, "fp8")


@pytest.mark.parametrize(
    "ignored", ["re:.*self_attn.*", "model.layers.*.self_attn*", "self_attn", "*self_attn.*"]
)
def test_each_way_to_name_what_is_left_alone_is_understood(ignored):
    found = _groups(INT4_GROUPS, ignore=["lm_head", ignored])

    assert (found.attention, found.feed_forward.name) == (BF16, "int4-g32")


def test_shared_experts_can_be_left_alone_beside_routed_ones():
    kimi = {
        **LAYERS,
        "n_shared_experts": 1,
        "kv_lora_rank": 512,
        "quantization_config": {
            "quant_method": "compressed-tensors",
            "config_groups": {"group_0": INT4_GROUPS},
            "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*"],
        },
    }
    found = formats(kimi)

    assert (found.attention, found.feed_forward) == (BF16, BF16)
    assert found.experts.bytes_per_weight == 0.5 + 2 / 32


def test_groups_with_targets_of_their_own_give_parts_different_formats():
    found = _groups(NVFP4_GROUPS, FP8_GROUPS)

    assert (found.feed_forward.name, found.feed_forward.compute_dtype) == ("nvfp4", "fp4")
    assert (found.attention.name, found.attention.compute_dtype) == ("fp8", "fp8")


@pytest.mark.parametrize(
    ("dtype", "bytes_per_weight"), [("float16", 2), ("torch.float32", 4), (None, 2)]
)
def test_what_is_not_quantised_is_in_the_dtype_of_the_config(dtype, bytes_per_weight):
    assert formats({"dtype": dtype}).attention.bytes_per_weight == bytes_per_weight


@pytest.mark.parametrize(
    ("quantised", "words"),
    [
        ({"quant_method": "hqq"}, "'hqq' is none of"),
        ({"quant_method": "gptq", "bits": 0}, "bits is 0"),
        ({"quant_method": "gptq"}, "has no bits"),
        ({"quant_method": "fp8", "weight_block_size": [128]}, "weight_block_size is"),
        ({"quant_method": "fp8", "ignore": ["re:("]}, "ignore is"),
        ({"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}, "quant_algo is"),
        ({"config_groups": {"group_0": {"weights": 4}}}, "group_0: weights is 4"),
    ],
)
def test_a_scheme_that_makes_no_sense_is_refused_by_its_field(quantised, words):
    with pytest.raises(ModelError, match="quantization_config") as refused:
        _formats(**quantised)

    assert words in str(refused.value)
