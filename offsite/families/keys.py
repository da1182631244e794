"""Lists the keys that config.json may have, for all families and each one, with their kinds.

A key is listed if transformers writes it, or if older checkpoints have it and it is harmless. Keys
that make transformers load code, another implementation or other files are not listed, and so are
refused: `auto_map`, `attn_implementation`, `quantization_config`, `per_layer_config`, parallel
plans, file names.
"""

from collections.abc import Mapping

from offsite.families import kinds
from offsite.families.kinds import Kind

COMMON_KEYS = frozenset(
    {"model_type", "architectures", "transformers_version", "_name_or_path", "dtype"}
    | {"torch_dtype", "use_cache", "tie_word_embeddings", "output_hidden_states"}
    | {"output_attentions", "return_dict", "chunk_size_feed_forward", "is_encoder_decoder"}
    | {"is_decoder", "problem_type", "id2label", "label2id", "gradient_checkpointing"}
    | {"vocab_size", "initializer_range", "attention_dropout"}
    | {"bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id"}
)
NESTED_KEYS = frozenset({"model_type", "dtype", "initializer_range", "attention_dropout"})
"""The common keys that the part of a nested config with the sizes may have."""

_SIZED = frozenset(
    {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"}
    | {"max_position_embeddings", "hidden_act"}
)
_ROTARY = frozenset({"rope_parameters", "rope_scaling", "rope_theta", "partial_rotary_factor"})
_SLIDING = frozenset({"sliding_window", "layer_types"})
_GATED = _SIZED | _ROTARY | {"num_key_value_heads", "head_dim", "rms_norm_eps"}
_QWEN = _GATED | _SLIDING | {"use_sliding_window", "max_window_layers"}

GPT2 = frozenset(
    {"n_positions", "n_ctx", "n_embd", "n_layer", "n_head", "n_inner", "activation_function"}
    | {"resid_pdrop", "embd_pdrop", "attn_pdrop", "layer_norm_epsilon", "scale_attn_weights"}
    | {"scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn", "add_cross_attention"}
    | {"summary_type", "summary_use_proj", "summary_activation", "summary_proj_to_labels"}
    | {"summary_first_dropout"}
)
OPT = frozenset(
    {"hidden_size", "num_hidden_layers", "ffn_dim", "num_attention_heads", "dropout"}
    | {"max_position_embeddings", "do_layer_norm_before", "_remove_final_layer_norm"}
    | {"word_embed_proj_dim", "activation_dropout", "activation_function", "layerdrop"}
    | {"init_std", "enable_bias", "layer_norm_elementwise_affine", "prefix"}
)
BLOOM = frozenset(
    {"hidden_size", "n_layer", "n_head", "n_inner", "layer_norm_epsilon", "hidden_dropout"}
    | {"apply_residual_connection_post_layernorm", "pretraining_tp", "slow_but_exact"}
    | {"attention_softmax_in_fp32", "bias_dropout_fusion", "masked_softmax_fusion"}
    | {"offset_alibi", "seq_length", "skip_bias_add", "skip_bias_add_qkv"}
)
GPT_NEOX = (
    _SIZED
    | _ROTARY
    | {"hidden_dropout", "classifier_dropout", "layer_norm_eps", "use_parallel_residual"}
    | {"attention_bias", "rotary_pct", "rotary_emb_base"}
)
PHI = (
    _SIZED
    | _ROTARY
    | {"num_key_value_heads", "resid_pdrop", "embd_pdrop", "layer_norm_eps", "qk_layernorm"}
)
LLAMA = (
    _GATED
    | {"attention_bias", "mlp_bias", "pretraining_tp"}
    # SmolLM has these two
    | {"rope_interleaved", "is_llama_config"}
)
MISTRAL = _GATED | {"sliding_window"}
QWEN2 = _QWEN | {"use_mrope"}
QWEN3 = _QWEN | {"attention_bias"}
GEMMA = _GATED | {"attention_bias", "hidden_activation", "use_bidirectional_attention"}
GEMMA2 = (
    GEMMA
    | _SLIDING
    | {"query_pre_attn_scalar", "final_logit_softcapping", "attn_logit_softcapping"}
)
GEMMA3_TEXT = GEMMA2 | {
    "sliding_window_pattern",
    "_sliding_window_pattern",
    "rope_local_base_freq",
}

_VISION = frozenset(
    {"hidden_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps"}
    | {"image_size", "patch_size", "num_channels"}
)
_DROPOUT = frozenset({"hidden_dropout_prob", "attention_probs_dropout_prob"})
VIT = (
    _VISION
    | _DROPOUT
    | {"intermediate_size", "qkv_bias", "encoder_stride", "pooler_output_size", "pooler_act"}
)
DINOV2 = (
    _VISION
    | _DROPOUT
    | {"mlp_ratio", "qkv_bias", "layerscale_value", "drop_path_rate", "use_swiglu_ffn"}
)
TOWER = _VISION | {"intermediate_size", "projection_dim", "initializer_factor", "dropout"}
"""Of CLIP and SigLIP, below `vision_config`."""
BESIDE_TOWER = frozenset(
    {"text_config", "projection_dim", "logit_scale_init_value", "initializer_factor"}
    | {"text_config_dict", "vision_config_dict"}
)
BEIT = (
    _VISION
    | _DROPOUT
    | {"intermediate_size", "drop_path_rate", "use_mask_token", "use_relative_position_bias"}
    | {"use_shared_relative_position_bias", "use_absolute_position_embeddings"}
    | {"use_mean_pooling", "layer_scale_init_value"}
)
BACKBONE = frozenset(
    {"out_features", "out_indices", "stage_names", "apply_layernorm", "reshape_hidden_states"}
)
BESIDE_BEIT = (
    BACKBONE
    | {"add_fpn", "pool_scales", "segmentation_indices", "semantic_loss_ignore_index"}
    | {"use_auxiliary_head", "auxiliary_loss_weight", "auxiliary_channels"}
    | {"auxiliary_num_convs", "auxiliary_concat_input"}
)

_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id")
_SIZES = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers"),
    *("num_attention_heads", "max_position_embeddings", "n_positions", "n_ctx", "n_embd"),
    *("n_layer", "n_head", "ffn_dim", "seq_length", "pretraining_tp"),
    *("sliding_window_pattern", "_sliding_window_pattern"),
    *("image_size", "patch_size", "encoder_stride", "mlp_ratio", "projection_dim", "num_patches"),
    "num_register_tokens",
)
_SIZES_OR_NULL = (
    *("n_inner", "word_embed_proj_dim", "num_key_value_heads", "head_dim", "sliding_window"),
    "pooler_output_size",
)
_COUNTS = ("chunk_size_feed_forward", "max_window_layers", "offset_alibi")
_POSITIVE = (
    *("layer_norm_epsilon", "layer_norm_eps", "rms_norm_eps", "query_pre_attn_scalar"),
    *("rotary_emb_base", "rope_local_base_freq", "rope_theta"),
)
_POSITIVE_OR_NULL = ("final_logit_softcapping", "attn_logit_softcapping")
_SHARES = (
    *("dropout", "attention_dropout", "activation_dropout", "hidden_dropout", "layerdrop"),
    *("resid_pdrop", "embd_pdrop", "attn_pdrop", "classifier_dropout", "summary_first_dropout"),
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate"),
    *("initializer_range", "init_std", "rotary_pct", "partial_rotary_factor"),
)
_SWITCHES = (
    *("use_cache", "tie_word_embeddings", "is_decoder", "gradient_checkpointing"),
    *("attention_bias", "mlp_bias", "enable_bias", "qk_layernorm", "do_layer_norm_before"),
    *("_remove_final_layer_norm", "layer_norm_elementwise_affine", "use_parallel_residual"),
    *("scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn"),
    *("add_cross_attention", "summary_use_proj", "summary_proj_to_labels", "slow_but_exact"),
    *("apply_residual_connection_post_layernorm", "attention_softmax_in_fp32"),
    *("bias_dropout_fusion", "masked_softmax_fusion", "skip_bias_add", "skip_bias_add_qkv"),
    *("use_sliding_window", "use_mrope", "rope_interleaved", "is_llama_config"),
    *("qkv_bias", "use_swiglu_ffn", "use_mask_token", "vision_use_head"),
    *("use_relative_position_bias", "use_shared_relative_position_bias"),
    "use_absolute_position_embeddings",
)

CONFIG_KINDS: Mapping[str, Kind] = {
    "model_type": kinds.TEXT,
    "architectures": kinds.lists(kinds.TEXT),
    "transformers_version": kinds.TEXT.or_null(),
    "_name_or_path": kinds.TEXT,
    "prefix": kinds.TEXT.or_null(),
    "problem_type": kinds.TEXT.or_null(),
    "summary_type": kinds.TEXT,
    "summary_activation": kinds.ACTIVATION.or_null(),
    **dict.fromkeys(("hidden_act", "pooler_act"), kinds.ACTIVATION),
    "num_channels": kinds.RGB,
    "use_mean_pooling": kinds.YES,
    "layer_scale_init_value": kinds.POSITIVE,
    **dict.fromkeys(("layerscale_value", "initializer_factor"), kinds.NUMBER),
    "activation_function": kinds.ACTIVATION,
    "hidden_activation": kinds.ACTIVATION.or_null(),
    "layer_types": kinds.lists(kinds.among(kinds.LAYER_TYPES)).or_null(),
    # what our own code relies on
    "return_dict": kinds.YES,
    "is_encoder_decoder": kinds.NO,
    "output_attentions": kinds.NO,
    "output_hidden_states": kinds.NO,
    **dict.fromkeys(("dtype", "torch_dtype"), kinds.DTYPE),
    **dict.fromkeys(("id2label", "label2id"), kinds.LABELS),
    **dict.fromkeys(_TOKENS, kinds.TOKENS),
    **dict.fromkeys(_SIZES, kinds.SIZE),
    **dict.fromkeys(_SIZES_OR_NULL, kinds.SIZE.or_null()),
    **dict.fromkeys(_COUNTS, kinds.COUNT),
    **dict.fromkeys(_POSITIVE, kinds.POSITIVE),
    **dict.fromkeys(_POSITIVE_OR_NULL, kinds.POSITIVE.or_null()),
    **dict.fromkeys(_SHARES, kinds.SHARE.or_null()),
    **dict.fromkeys(_SWITCHES, kinds.BOOL),
    "use_bidirectional_attention": kinds.BOOL.or_null(),
}
"""The kind of each key's value. Rotary parameters are checked separately."""
