"""Which keys and values the JSON files of a received model may have."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from offsite.families import (
    FAMILIES,
    Family,
    config_problems,
    family_of,
    generation_problems,
    tokenizer_problems,
)
from offsite_testing.tiny import sent_config

each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)


def row(name: str) -> Family:
    return family_of({"model_type": name})


LOADS_SOMETHING = (
    *("auto_map", "attn_implementation", "_attn_implementation", "quantization_config"),
    *("_attn_implementation_internal", "experts_implementation", "per_layer_config"),
    *("base_model_pp_plan", "base_model_tp_plan", "transformers_weights", "adapter_config"),
    *("configuration_files", "custom_pipelines", "extra_files", "task_specific_params"),
)


@pytest.mark.parametrize("key", LOADS_SOMETHING)
@each_family
def test_no_family_lets_a_config_load_something(family: Family, key: str) -> None:
    assert config_problems(sent_config(family)) == []
    assert config_problems({**sent_config(family), key: {}}) == [f"{key}: is not allowed"]
    within = f"{family.config_under}." if family.config_under else ""
    assert config_problems(sent_config(family, **{key: {}})) == [f"{within}{key}: is not allowed"]


WRONG: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("llama", {"model_type": "bert"}, "model_type: must be one of"),
    ("llama", {"model_type": ["llama"]}, "model_type: must be one of"),
    ("llama", {"architectures": ["GPT2LMHeadModel"]}, "architectures: must be"),
    ("llama", {"architectures": None}, "architectures: must be"),
    ("llama", {"architectures": ["LlamaForCausalLM"] * 2}, "architectures: must be"),
    ("llama", {"hidden_act": "prelu"}, "hidden_act: must be one of"),
    ("llama", {"hidden_act": {"a": 1}}, "hidden_act: must be one of"),
    ("llama", {"dtype": "Tensor"}, "dtype: must be one of"),
    ("llama", {"rms_norm_eps": float("nan")}, "rms_norm_eps: must be a number"),
    ("llama", {"rms_norm_eps": {"__float__": "Infinity"}}, "rms_norm_eps: must be a number"),
    ("llama", {"attention_dropout": 2}, "attention_dropout: must be a number"),
    ("llama", {"attention_bias": 1}, "attention_bias: must be true or false"),
    ("llama", {"eos_token_id": [1, "2"]}, "eos_token_id: must be"),
    ("llama", {"pad_token_id": 96}, "pad_token_id: 96 is beyond the vocabulary"),
    ("llama", {"num_attention_heads": 5}, "num_attention_heads: 5 does not divide"),
    ("llama", {"num_key_value_heads": 3}, "num_key_value_heads: 3 does not divide"),
    ("llama", {"return_dict": False}, "return_dict: must be true"),
    ("llama", {"sliding_window": 5}, "sliding_window: is not allowed"),
    ("llama", {"rope_parameters": 1}, "rope_parameters: must be a table"),
    ("llama", {"rope_parameters": {"rope_type": "mine"}}, "rope_parameters.rope_type: must be"),
    ("llama", {"rope_parameters": {"rope_theta": 0}}, "rope_parameters.rope_theta: must be"),
    ("llama", {"rope_scaling": {"type": "linear"}}, "rope_scaling.factor: is missing"),
    ("llama", {"rope_scaling": {"f": 1}}, "rope_scaling.f: is not allowed"),
    ("gpt2", {"rope_scaling": None}, "rope_scaling: is not allowed"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx: each"),
    ("gpt2", {"add_cross_attention": True}, "add_cross_attention: the model"),
    ("bloom", {"slow_but_exact": True}, "slow_but_exact: the block"),
    ("gemma", {"use_bidirectional_attention": True}, "use_bidirectional_attention: the model"),
    ("gemma2", {"layer_types": ["full_attention"]}, "layer_types: has 1 entries for 6 blocks"),
    ("gemma2", {"layer_types": ["conv"] * 6}, "layer_types: must be a list"),
    ("gemma2", {"sliding_window": None}, "layer_types: has sliding_attention, but"),
    ("vit", {"num_channels": 1}, "num_channels: must be 3"),
    ("vit", {"num_attention_heads": 5}, "num_attention_heads: 5 does not divide the width 32"),
    ("vit", {"out_features": ["stage6"]}, "out_features: is not allowed"),
    ("beit", {"use_mean_pooling": False}, "use_mean_pooling: must be true"),
    ("dinov2", {"use_swiglu_ffn": True}, "use_swiglu_ffn: the gated blocks"),
    ("dinov2", {"patch_size": [4, 4]}, "patch_size: must be a whole number"),
    ("clip", {"hidden_act": "prelu"}, "vision_config.hidden_act: must be one of"),
    ("clip", {"id2label": {}}, "vision_config.id2label"),
    ("siglip2", {"num_patches": 26}, "num_patches: 26 is not a square number"),
    ("siglip2", {"image_size": 20}, "vision_config.image_size: is not allowed"),
    ("gemma3_text", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping: the attention"),
    ("gemma3_text", {"sliding_window_pattern": 0}, "sliding_window_pattern: must be"),
    ("gemma3_text", {"rope_parameters": {"rope_theta": 1e4}}, "rope_parameters: must be a table"),
    (
        "gemma3_text",
        {"rope_parameters": {"full_attention": {"factor": "8"}}},
        "rope_parameters.full_attention.factor: must be",
    ),
)


@pytest.mark.parametrize(("name", "over", "problem"), WRONG)
def test_a_wrong_config_is_told_with_its_key(name: str, over: dict[str, Any], problem: str) -> None:
    found = config_problems(sent_config(row(name), **over))
    assert any(one.startswith(problem) for one in found), found


@pytest.mark.parametrize("part", [None, [], "tower", 5])
def test_a_part_of_a_config_that_is_no_table_is_told(part: object) -> None:
    config = {**sent_config(row("clip")), "vision_config": part}
    assert config_problems(config) == ["vision_config: must be a table"]
    del config["vision_config"]
    assert config_problems(config) == ["vision_config: must be a table"]


def test_old_rope_scaling_is_allowed() -> None:
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0}
    llama3 |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    config = sent_config(row("llama"), rope_scaling=llama3, rope_theta=500000.0)
    assert config_problems({**config, "torch_dtype": "bfloat16"}) == []
    nested = {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}}
    assert config_problems(sent_config(row("gemma3_text"), rope_parameters=nested)) == []


def test_saved_tokenizer_passes_the_allow_list(tmp_path: Path) -> None:
    vocabulary = {"<s>": 0, "</s>": 1, "a": 2, "<x>": 3}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<s>")),
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=["<x>"],
    )
    tokenizer.save_pretrained(tmp_path)
    PreTrainedTokenizerFast.from_pretrained(tmp_path).save_pretrained(tmp_path)
    assert tokenizer_problems(json.loads((tmp_path / "tokenizer_config.json").read_text())) == []


TOKEN = {"content": "<x>", "lstrip": False, "special": True}


@pytest.mark.parametrize(
    "over",
    [
        {"pad_token": TOKEN, "added_tokens_decoder": {"0": TOKEN}},
        {"model_max_length": int(1e30), "additional_special_tokens": [TOKEN, "<y>"]},
    ],
)
def test_tokenizers_of_older_versions_are_allowed(over: dict[str, Any]) -> None:
    assert tokenizer_problems({"tokenizer_class": "LlamaTokenizerFast", **over}) == []


@pytest.mark.parametrize(
    "over",
    [
        {"tokenizer_class": "MyTokenizer"},
        {"auto_map": {"AutoTokenizer": ["mine.py", None]}},
        {"chat_template": "{{ x }}"},
        {"vocab_file": "/etc/passwd"},
        {"tokenizer_file": "../other.json"},
        {"extra_special_tokens": {"image_token": "<i>"}},
        {"pad_token": {"content": "<x>", "code": "1"}},
        {"added_tokens_decoder": {"x": TOKEN}},
        {"model_max_length": 10**400},
        {"sp_model_kwargs": {"model_file": "x"}},
    ],
)
def test_a_wrong_tokenizer_is_told_with_its_key(over: dict[str, Any]) -> None:
    found = tokenizer_problems({"tokenizer_class": "LlamaTokenizerFast", **over})
    assert len(found) == 1
    assert next(iter(over)) in found[0]


@pytest.mark.parametrize(
    "over", [{"custom_generate": "mine"}, {"compile_config": {}}, {"temperature": float("inf")}]
)
def test_a_wrong_generation_config_is_told_with_its_key(over: dict[str, Any]) -> None:
    assert next(iter(over)) in generation_problems({"do_sample": True, **over})[0]
