"""The models that are measured: shapes of published ones. Imports no torch."""

from dataclasses import dataclass
from typing import Any

ENDS = 2
"""Blocks at each end of an emulator, as in the paper."""
LENGTH = 512
"""Tokens of an example, as in the paper."""


@dataclass(frozen=True)
class Shape:
    """The shape of a model, and how many blocks its emulator has."""

    model_type: str
    depth: int
    kept: int
    """Middle blocks of the emulator: the paper's 16 of 44 (GPT-2) or 8 of 20 (OPT, Llama)."""
    sizes: dict[str, Any]
    """Fields of the config. Dropout is off in all cases, as it is in an emulator."""
    depth_field: str = "num_hidden_layers"
    """The field of the config that holds the number of blocks."""
    length: int = LENGTH

    @property
    def emulated(self) -> int:
        """Number of blocks of the emulator."""
        return 2 * ENDS + self.kept

    def fields(self, *, emulator: bool) -> dict[str, Any]:
        """Return the fields of the config of the full model, or of its emulator."""
        return {**self.sizes, self.depth_field: self.emulated if emulator else self.depth}


def _gpt2(depth: int, kept: int, width: int, heads: int) -> Shape:
    dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    sizes = {"n_embd": width, "n_head": heads, "n_positions": 1024, "vocab_size": 50_257}
    return Shape("gpt2", depth, kept, sizes | dropout, "n_layer")


def _opt(width: int, inner: int, heads: int, **more: Any) -> Shape:
    sizes = {
        "hidden_size": width,
        "ffn_dim": inner,
        "num_attention_heads": heads,
        "max_position_embeddings": 2048,
        "vocab_size": 50_272,
        "dropout": 0.0,
        **more,
    }
    return Shape("opt", 24, 8, sizes)


def _llama(depth: int, kept: int, width: int, inner: int, heads: int) -> Shape:
    sizes = {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "max_position_embeddings": 4096,
        "vocab_size": 32_000,
    }
    return Shape("llama", depth, kept, sizes)


_TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "vocab_size": 300,
}

SHAPES = {
    "gpt2-medium": _gpt2(24, 7, 1024, 16),
    "gpt2-large": _gpt2(36, 12, 1280, 20),
    "opt-350m": _opt(1024, 4096, 16, word_embed_proj_dim=512, do_layer_norm_before=False),
    "gpt2-xl": _gpt2(48, 16, 1600, 25),
    "opt-1.3b": _opt(2048, 8192, 32),
    "llama-7b": _llama(32, 11, 4096, 11_008, 32),
    "tiny": Shape("llama", 8, 2, _TINY, length=32),
}
"""Every shape by its name. `tiny` shows that the measurement works, and nothing else."""
ON_CPU = ("gpt2-medium", "gpt2-large", "opt-350m")
ON_GPU = ("gpt2-xl", "opt-1.3b", "llama-7b")
