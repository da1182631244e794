"""Families whose blocks normalize with LayerNorm: GPT-2 and those that descend from it."""

from offsite.families import keys, parts
from offsite.families.modules import Linear, Norm, Table
from offsite.families.row import Family

LAYER_NORM: tuple[Family, ...] = (
    Family(
        model_type="gpt2",
        architecture="GPT2LMHeadModel",
        blocks="transformer.h",
        depth="n_layer",
        dims=parts.gpt2_dims,
        block=(
            Norm("ln_1", bias=True),
            Linear("attn.c_attn", "D", "3D", True),
            Linear("attn.c_proj", "D", "D", True),
            Norm("ln_2", bias=True),
            Linear("mlp.c_fc", "D", "F", True),
            Linear("mlp.c_proj", "F", "D", True),
        ),
        outer=(
            Table("transformer.wte", "V"),
            Table("transformer.wpe", "P"),
            Norm("transformer.ln_f", bias=True),
            parts.HEAD,
        ),
        transposed=True,
        heal="mlp.c_proj",
        defaults={"tie_word_embeddings": True},
        aliases={
            "hidden_size": "n_embd",
            "max_position_embeddings": "n_positions",
            "num_attention_heads": "n_head",
            "num_hidden_layers": "n_layer",
        },
        config_keys=keys.GPT2,
        buffers=frozenset({"attn.bias", "attn.masked_bias"}),
        refused={
            "scale_attn_by_inverse_layer_idx": "each block scales its attention by its place in "
            "the stack, which changes when blocks are dropped",
            "add_cross_attention": "the model attends to an encoder that is not there",
        },
    ),
    Family(
        model_type="opt",
        architecture="OPTForCausalLM",
        blocks="model.decoder.layers",
        dims=parts.opt_dims,
        block=(
            Linear("self_attn.q_proj", "D", "D", "enable_bias"),
            Linear("self_attn.k_proj", "D", "D", "enable_bias"),
            Linear("self_attn.v_proj", "D", "D", "enable_bias"),
            Linear("self_attn.out_proj", "D", "D", "enable_bias"),
            Norm("self_attn_layer_norm", bias=True, when="layer_norm_elementwise_affine"),
            Linear("fc1", "D", "F", "enable_bias"),
            Linear("fc2", "F", "D", "enable_bias"),
            Norm("final_layer_norm", bias=True, when="layer_norm_elementwise_affine"),
        ),
        outer=(
            Table("model.decoder.embed_tokens", "V", "E"),
            Table("model.decoder.embed_positions", "P"),
            Linear("model.decoder.project_in", "E", "D", when=parts.projects),
            Linear("model.decoder.project_out", "D", "E", when=parts.projects),
            Norm("model.decoder.final_layer_norm", bias=True, when=parts.ends_with_norm),
            Linear("lm_head", "E", "V", tied=True),
        ),
        heal="fc2",
        unhealable={"do_layer_norm_before": False},
        defaults={
            "tie_word_embeddings": True,
            "enable_bias": True,
            "layer_norm_elementwise_affine": True,
            "do_layer_norm_before": True,
            "_remove_final_layer_norm": False,
            "word_embed_proj_dim": None,
        },
        config_keys=keys.OPT,
    ),
    Family(
        model_type="bloom",
        architecture="BloomForCausalLM",
        blocks="transformer.h",
        depth="n_layer",
        dims=parts.fused_dims,
        block=parts.fused("self_attention", True),
        outer=(
            Table("transformer.word_embeddings", "V"),
            Norm("transformer.word_embeddings_layernorm", bias=True),
            Norm("transformer.ln_f", bias=True),
            parts.HEAD,
        ),
        heal="mlp.dense_4h_to_h",
        attention="eager",
        defaults={"tie_word_embeddings": True},
        aliases={
            "num_hidden_layers": "n_layer",
            "num_attention_heads": "n_head",
            "n_embed": "hidden_size",
        },
        config_keys=keys.BLOOM,
        refused={
            "slow_but_exact": "the block then takes slices of its weights past the projections, "
            "which leaves out their biases and any low-rank change"
        },
    ),
    Family(
        model_type="gpt_neox",
        architecture="GPTNeoXForCausalLM",
        blocks="gpt_neox.layers",
        dims=parts.fused_dims,
        block=parts.fused("attention", "attention_bias"),
        outer=(
            Table("gpt_neox.embed_in", "V"),
            Norm("gpt_neox.final_layer_norm", bias=True),
            Linear("lm_head", "D", "V", tied=True, stored="embed_out"),
        ),
        heal="mlp.dense_4h_to_h",
        defaults={"tie_word_embeddings": False, "attention_bias": True},
        config_keys=keys.GPT_NEOX,
        buffers=parts.rotary_buffers("attention") | {"attention.bias", "attention.masked_bias"},
    ),
    Family(
        model_type="phi",
        architecture="PhiForCausalLM",
        blocks="model.layers",
        dims=parts.dims,
        block=(
            *parts.attention(True, "dense", True),
            Norm("self_attn.q_layernorm", "H", bias=True, when="qk_layernorm"),
            Norm("self_attn.k_layernorm", "H", bias=True, when="qk_layernorm"),
            Norm("input_layernorm", bias=True),
            Linear("mlp.fc1", "D", "F", True),
            Linear("mlp.fc2", "F", "D", True),
        ),
        outer=(
            Table("model.embed_tokens", "V"),
            Norm("model.final_layernorm", bias=True),
            Linear("lm_head", "D", "V", True, tied=True),
        ),
        heal="mlp.fc2",
        defaults={"tie_word_embeddings": False, "qk_layernorm": False},
        config_keys=keys.PHI,
        buffers=parts.ROTARY_BUFFERS,
    ),
)
