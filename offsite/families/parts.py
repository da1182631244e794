"""Parts that several `Family` rows share: dimensions, groups of modules, lists per block."""

from offsite.families.modules import Config, Linear, Module, Norm, Table, When, whole

FULL, SLIDING = "full_attention", "sliding_attention"


def gpt2_dims(config: Config) -> dict[str, int]:
    """Return the dimensions of GPT-2."""
    width = whole(config, "n_embd")
    vocabulary, positions = whole(config, "vocab_size"), whole(config, "n_positions")
    inner = whole(config, "n_inner", otherwise=4 * width)
    return {"V": vocabulary, "P": positions, "D": width, "3D": 3 * width, "F": inner}


def opt_dims(config: Config) -> dict[str, int]:
    """Return the dimensions of OPT, whose token embeddings may be narrower than its blocks."""
    width, positions = whole(config, "hidden_size"), whole(config, "max_position_embeddings")
    return {
        "V": whole(config, "vocab_size"),
        # the first two rows are for padding
        "P": positions + 2,
        "D": width,
        "E": whole(config, "word_embed_proj_dim", otherwise=width),
        "F": whole(config, "ffn_dim"),
    }


def fused_dims(config: Config) -> dict[str, int]:
    """Return the dimensions of BLOOM and GPT-NeoX, which have a fused QKV projection."""
    width = whole(config, "hidden_size")
    inner = 4 * width if config["model_type"] == "bloom" else whole(config, "intermediate_size")
    return {"V": whole(config, "vocab_size"), "D": width, "3D": 3 * width, "F": inner}


def dims(config: Config) -> dict[str, int]:
    """Return the dimensions of a model with grouped-query attention."""
    width, heads = whole(config, "hidden_size"), whole(config, "num_attention_heads")
    head = whole(config, "head_dim", otherwise=width // heads)
    return {
        "V": whole(config, "vocab_size"),
        "D": width,
        "F": whole(config, "intermediate_size"),
        "H": head,
        "Q": heads * head,
        "KV": whole(config, "num_key_value_heads", otherwise=heads) * head,
    }


def attention(bias: When, output: str = "o_proj", output_bias: When = False) -> tuple[Module, ...]:
    """List the projections of an attention with separate query, key and value."""
    return (
        Linear("self_attn.q_proj", "D", "Q", bias),
        Linear("self_attn.k_proj", "D", "KV", bias),
        Linear("self_attn.v_proj", "D", "KV", bias),
        Linear(f"self_attn.{output}", "Q", "D", output_bias),
    )


def gated(bias: When = False) -> tuple[Module, ...]:
    """List the projections of a gated MLP."""
    return (
        Linear("mlp.gate_proj", "D", "F", bias),
        Linear("mlp.up_proj", "D", "F", bias),
        Linear("mlp.down_proj", "F", "D", bias),
    )


def fused(attention: str, bias: When) -> tuple[Module, ...]:
    """List the modules of a block of BLOOM or GPT-NeoX."""
    return (
        Norm("input_layernorm", bias=True),
        Linear(f"{attention}.query_key_value", "D", "3D", bias),
        Linear(f"{attention}.dense", "D", "D", bias),
        Norm("post_attention_layernorm", bias=True),
        Linear("mlp.dense_h_to_4h", "D", "F", True),
        Linear("mlp.dense_4h_to_h", "F", "D", True),
    )


def rotary_buffers(attention: str) -> frozenset[str]:
    """List the buffers of rotary embeddings that older versions of transformers stored."""
    return frozenset(
        f"{attention}.rotary_emb.{name}" for name in ("inv_freq", "cos_cached", "sin_cached")
    )


BIASED = attention("attention_bias", output_bias="attention_bias")
ROTARY_BUFFERS = rotary_buffers("self_attn")
HEAD_NORMS = (Norm("self_attn.q_norm", "H"), Norm("self_attn.k_norm", "H"))
NORMS = (Norm("input_layernorm"), Norm("post_attention_layernorm"))
MLP_NORMS = (Norm("pre_feedforward_layernorm"), Norm("post_feedforward_layernorm"))
HEAD = Linear("lm_head", "D", "V", tied=True)
OUTER = (Table("model.embed_tokens", "V"), Norm("model.norm"), HEAD)


def qwen_types(config: Config) -> list[str]:
    """List what Qwen assumes: the upper blocks slide, if any does."""
    slides = config["use_sliding_window"] and config["sliding_window"] is not None
    full = config["max_window_layers"] if slides else config["num_hidden_layers"]
    return [FULL if i < full else SLIDING for i in range(config["num_hidden_layers"])]


def gemma_types(config: Config) -> list[str]:
    """List what Gemma assumes: every nth block sees everything, the others slide."""
    period = 2 if config["model_type"] == "gemma2" else config["sliding_window_pattern"]
    return [SLIDING if i % period else FULL for i in range(1, config["num_hidden_layers"] + 1)]


def projects(config: Config) -> bool:
    """Say whether OPT's token table has another width than its blocks."""
    return config["word_embed_proj_dim"] not in (None, config["hidden_size"])


def ends_with_norm(config: Config) -> bool:
    """Say whether OPT normalises, with parameters, after its last block."""
    affine: bool = config["layer_norm_elementwise_affine"]
    return affine and config["do_layer_norm_before"] and not config["_remove_final_layer_norm"]
