"""Checks tokenizer_config.json and generation_config.json.

Chat templates (which are code), file names, and keys that make transformers load another class are
not allowed. The sender of a bundle keeps only the keys listed here.
"""

from collections.abc import Mapping
from typing import Any

from offsite.families import kinds
from offsite.families.kinds import Kind, problems

TOKENIZER_CLASSES = frozenset(
    {"TokenizersBackend", "PreTrainedTokenizerFast", "CodeGenTokenizer", "CodeGenTokenizerFast"}
    | {"GPT2Tokenizer", "GPT2TokenizerFast", "GPTNeoXTokenizer", "GPTNeoXTokenizerFast"}
    | {"BloomTokenizer", "BloomTokenizerFast", "LlamaTokenizer", "LlamaTokenizerFast"}
    | {"Qwen2Tokenizer", "Qwen2TokenizerFast", "GemmaTokenizer", "GemmaTokenizerFast"}
)

_TOKEN_KINDS: Mapping[str, Kind] = {
    "__type": kinds.among({"AddedToken"}),
    "content": kinds.TEXT,
    **dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized", "special"), kinds.BOOL),
}


def _is_token(value: Any) -> bool:
    if isinstance(value, dict):
        return "content" in value and not problems(value, _TOKEN_KINDS)
    return kinds.TEXT.test(value)


def _is_vocabulary(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(key, str) and key.isascii() and key.isdecimal() and _is_token(token)
        for key, token in value.items()
    )


_TOKEN = Kind("a token", _is_token)
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")
_TOKENIZER_SWITCHES = (
    *("add_bos_token", "add_eos_token", "add_prefix_space", "clean_up_tokenization_spaces"),
    *("legacy", "split_special_tokens", "spaces_between_special_tokens", "trim_offsets"),
    *("use_default_system_prompt", "is_local", "local_files_only", "from_slow", "do_lower_case"),
)
_SIDE = kinds.among({"left", "right"})

TOKENIZER_KEYS: Mapping[str, Kind] = {
    "tokenizer_class": kinds.among(TOKENIZER_CLASSES),
    "backend": kinds.among({"tokenizers"}),
    **dict.fromkeys((*_SPECIAL, "mask_token"), _TOKEN.or_null()),
    **dict.fromkeys(("extra_special_tokens", "additional_special_tokens"), kinds.lists(_TOKEN)),
    "added_tokens_decoder": Kind("a table of tokens", _is_vocabulary),
    **dict.fromkeys(_TOKENIZER_SWITCHES, kinds.BOOL.or_null()),
    "model_max_length": kinds.POSITIVE.or_null(),
    "vocab_size": kinds.SIZE,
    **dict.fromkeys(("padding_side", "truncation_side"), _SIDE),
    "errors": kinds.among({"ignore", "replace", "strict"}),
    "model_input_names": kinds.lists(
        kinds.among({"attention_mask", "input_ids", "token_type_ids"})
    ),
    # no options of SentencePiece
    "sp_model_kwargs": Kind("an empty table", lambda v: v == {}),
}
"""The allowed keys of tokenizer_config.json, and the kind of each value."""

_TOKEN_IDS = (
    *("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"),
    *("forced_bos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens"),
)
_GENERATION_COUNTS = (
    *("max_length", "max_new_tokens", "min_length", "min_new_tokens", "top_k", "num_beams"),
    *("num_beam_groups", "num_return_sequences", "no_repeat_ngram_size"),
)
_GENERATION_NUMBERS = (
    *("temperature", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"),
    *("repetition_penalty", "length_penalty", "diversity_penalty", "penalty_alpha"),
)
_GENERATION_SWITCHES = (
    *("do_sample", "use_cache", "early_stopping", "renormalize_logits", "remove_invalid_values"),
    *("output_attentions", "output_hidden_states", "output_scores", "output_logits"),
    *("return_dict_in_generate", "_from_model_config"),
)

GENERATION_KEYS: Mapping[str, Kind] = {
    "transformers_version": kinds.TEXT.or_null(),
    **dict.fromkeys(_TOKEN_IDS, kinds.TOKENS),
    **dict.fromkeys(_GENERATION_COUNTS, kinds.COUNT.or_null()),
    **dict.fromkeys(_GENERATION_NUMBERS, kinds.NUMBER.or_null()),
    **dict.fromkeys(_GENERATION_SWITCHES, kinds.BOOL.or_null()),
}
"""The allowed keys of generation_config.json, and the kind of each value."""


def tokenizer_problems(config: Mapping[str, Any]) -> list[str]:
    """List all problems of a tokenizer_config.json, each with the path of its key."""
    missing = [] if "tokenizer_class" in config else ["tokenizer_class: is missing"]
    return missing + problems(config, TOKENIZER_KEYS)


def generation_problems(config: Mapping[str, Any]) -> list[str]:
    """List all problems of a generation_config.json, each with the path of its key."""
    return problems(config, GENERATION_KEYS)
