"""Reading configs: what they omit, what they mean by a field, and what is wrong with them."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon._errors import ModelError
from gnomon.performance_model import known, parameters
from gnomon.performance_model.architecture import Experts, LatentAttention, Mlp
from gnomon.performance_model.huggingface import INDEX, Reading, from_config, read

CONFIGS = {name: known.config(name) for name in known.names()}
LLAMA = CONFIGS["Llama-3.1-8B"]
NEMO = {**LLAMA, "head_dim": 128, "num_hidden_layers": 12}


def _first(config):
    return from_config(config, "model").architecture.groups[0]


def _windows(**fields):
    groups = from_config({**NEMO, **fields}, "model").architecture.groups
    return {group.attention.window: group.count for group in groups}


def _without(config, *keys):
    return {key: value for key, value in config.items() if key not in keys}


def _checkpoint(folder, config, **metadata):
    (folder / "config.json").write_text(json.dumps(config))
    (folder / INDEX).write_text(json.dumps({"metadata": metadata, "weight_map": {}}))
    return folder


def test_head_dimensions_are_read_and_not_derived():
    attention = _first(CONFIGS["Qwen3-32B"]).attention

    assert attention.head_dim == 128 != 5120 // attention.query_heads


def test_latent_attention_ignores_the_number_of_kv_heads():
    attention = _first(CONFIGS["DeepSeek-V3"]).attention

    assert isinstance(attention, LatentAttention)
    assert (attention.kv_rank, attention.rope_dim) == (512, 64)


def test_the_first_layers_of_deepseek_are_dense():
    dense, sparse = from_config(CONFIGS["DeepSeek-V3"], "v3").architecture.groups

    assert (dense.count, dense.feed_forward) == (3, Mlp(18432))
    assert (sparse.count, sparse.feed_forward.shared) == (58, Mlp(2048))


def test_the_intermediate_size_of_gpt_oss_is_that_of_an_expert():
    feed_forward = _first(CONFIGS["gpt-oss-120b"]).feed_forward

    assert feed_forward == Experts(128, 4, Mlp(2880, has_bias=True), router_bias=128)


@pytest.mark.parametrize(
    ("fields", "windows"),
    [
        ({"model_type": "gpt_oss"}, {128: 6, None: 6}),
        ({"model_type": "gemma3_text", "sliding_window": 512}, {512: 10, None: 2}),
        ({"model_type": "mistral"}, {4096: 12}),
        ({"model_type": "mistral", "sliding_window": None}, {None: 12}),
        ({"model_type": "qwen2", "sliding_window": 32768}, {None: 12}),
        ({"model_type": "qwen2", "use_sliding_window": False, "sliding_window": 8}, {None: 12}),
        ({"model_type": "llama", "sliding_window": 8}, {None: 12}),
    ],
    ids=str,
)
def test_windows_follow_the_family_where_the_config_lists_no_layers(fields, windows):
    if fields["model_type"] == "gpt_oss":
        fields = {**fields, "num_local_experts": 8, "num_experts_per_tok": 2}

    assert _windows(**fields) == windows


def test_listed_layers_overrule_the_family():
    listed = ["sliding_attention"] * 3 + ["full_attention"] * 9

    assert _windows(model_type="mistral", sliding_window=64, layer_types=listed) == {
        64: 3,
        None: 9,
    }


def test_the_language_model_of_a_multimodal_one_is_read_with_its_class_defaults():
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34}
    config = {
        "model_type": "gemma3",
        "text_config": {**text, "intermediate_size": 10240, "sliding_window": 1024},
        "vision_config": {"hidden_size": 1152},
    }
    reading = from_config(config, "gemma-3-4b")

    # The 4,300,079,472 of the safetensors metadata, less 416,866,032 of the vision tower and
    # 2,950,272 of its projector.
    assert parameters.count(reading.architecture).total == 3_880_263_168
    assert "multimodal" in reading.warnings[0]


def test_a_nested_model_inherits_the_quantisation_of_the_whole():
    text = {"model_type": "llama", "vocab_size": 32064}
    config = {"text_config": text, "quantization_config": {"quant_method": "fp8"}}

    assert from_config(config, "llava").architecture.formats.attention.name == "fp8"


def test_a_model_without_its_type_is_known_by_its_class():
    config = {**_without(CONFIGS["Qwen3-32B"], "model_type"), "architectures": ["Qwen3ForCausalLM"]}

    assert from_config(config, "model") == from_config(CONFIGS["Qwen3-32B"], "model")


def test_an_unknown_family_is_read_like_llama_with_a_warning():
    reading = from_config({**LLAMA, "model_type": "novel"}, "model")

    assert reading.architecture == from_config(LLAMA, "model").architecture
    assert "'novel' is not known" in reading.warnings[0]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"index_topk": 2048}, "attention is sparse"),
        ({"model_type": "llama4_text", "attention_chunk_size": 8192}, "within chunks"),
    ],
)
def test_attention_that_is_only_approximated_is_a_warning(fields, words):
    config = {**CONFIGS["Mixtral-8x7B"], "intermediate_size_mlp": 4096, **fields}

    assert words in from_config(config, "model").warnings[0]


@pytest.mark.parametrize(
    ("base", "fields", "words"),
    [
        ("Llama-3.1-8B", {"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
        ("Llama-3.1-8B", {"num_hidden_layers": -1}, "num_hidden_layers is -1"),
        ("Llama-3.1-8B", {"hidden_size": 4096.5}, "hidden_size is 4096.5"),
        ("Llama-3.1-8B", {"vocab_size": True}, "vocab_size is True"),
        ("Llama-3.1-8B", {"num_key_value_heads": 5}, "num_key_value_heads is 5"),
        ("Llama-3.1-8B", {"num_attention_heads": 24, "num_key_value_heads": 8}, "head_dim"),
        ("Llama-3.1-8B", {"mlp_bias": "yes"}, "mlp_bias is 'yes'"),
        ("Llama-3.1-8B", {"hidden_size": None}, "has no hidden_size"),
        ("Llama-3.1-8B", {"is_encoder_decoder": True}, "encoder-decoder"),
        ("Llama-3.1-8B", {"ssm_state_size": 128}, "ssm_state_size"),
        ("Mixtral-8x7B", {"num_experts_per_tok": 9}, "num_experts_per_tok is 9"),
        ("Mixtral-8x7B", {"num_experts_per_tok": None}, "has no num_experts_per_tok"),
        ("gpt-oss-120b", {"layer_types": ["full_attention"]}, "layer_types is"),
        ("gpt-oss-120b", {"layer_types": ["linear_attention"] * 36}, "layer_types is"),
        ("DeepSeek-V3", {"v_head_dim": 0}, "v_head_dim is 0"),
    ],
)
def test_a_wrong_field_is_refused_with_its_name_its_value_and_the_file(base, fields, words):
    with pytest.raises(ModelError, match=r"^some/config\.json") as refused:
        from_config({**CONFIGS[base], **fields}, "model", "some/config.json")

    assert words in str(refused.value)


def test_a_renamed_field_is_refused_by_the_name_that_the_file_has():
    config = {"model_type": "gpt2", "n_embd": 768, "n_layer": 0, "n_head": 12, "vocab_size": 9}

    with pytest.raises(ModelError, match="n_layer is 0"):
        from_config(config, "gpt2")


def test_a_folder_its_config_and_its_index_are_the_same_model(tmp_path):
    folder = _checkpoint(tmp_path, LLAMA, total_size=16_060_522_496)

    readings = [read(path) for path in (folder, folder / "config.json", folder / INDEX)]

    assert readings[0].architecture.name == tmp_path.name
    assert readings[0].warnings == ()
    assert readings == [readings[0]] * 3


def test_an_index_of_other_sums_is_a_warning(tmp_path):
    folder = _checkpoint(tmp_path, LLAMA, total_size=9e9, total_parameters=9_000_000_000)

    bytes_differ, parameters_differ = read(folder).warnings

    assert "states 9,000,000,000 bytes, the config gives 16,060,522,496" in bytes_differ
    assert "the config gives 8,030,261,248" in parameters_differ


def test_the_quantisation_file_of_modelopt_is_read_beside_the_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    quantised = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4"}}
    (tmp_path / "hf_quant_config.json").write_text(json.dumps(quantised))

    assert read(tmp_path).architecture.formats.feed_forward.name == "nvfp4"


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00", "[" * 10**5], ids=range(5))
def test_a_file_that_is_no_config_is_refused_by_name(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)

    with pytest.raises(ModelError, match=r"config\.json"):
        read(path)


@pytest.mark.parametrize("source", ["../no/such", "/no/such/Llama-3.1-8B", "x.json", "a" * 5000])
def test_a_path_that_is_not_there_is_never_taken_for_a_name(source):
    with pytest.raises(ModelError):
        read(source)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=4,
)


def _places(config):
    """Return every object inside of a config, itself included."""
    nested = [value for value in config.values() if isinstance(value, dict)]
    return [config, *(place for value in nested for place in _places(value))]


@given(st.data())
def test_any_damage_to_a_config_gives_a_reading_or_an_error_of_gnomon(data):
    config = copy.deepcopy(CONFIGS[data.draw(st.sampled_from(sorted(CONFIGS)))])
    families = ["falcon", "mpt", "opt", "llama4_text", "novel", "gpt2", config["model_type"]]
    config["model_type"] = data.draw(st.sampled_from(families))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.sampled_from(_places(config)))
        key = data.draw(st.sampled_from(sorted(place)) if place else st.just("bits"))
        if data.draw(st.booleans()):
            place.pop(key, None)
        else:
            place[key] = data.draw(VALUES)
    try:
        reading = from_config(config, "damaged")
    except ModelError:
        return

    assert isinstance(reading, Reading)
