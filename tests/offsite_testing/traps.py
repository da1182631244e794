"""Emulators that are built to memorize: privacy backdoors (arXiv 2404.00473, 2403.09562).

How they work. Every token has a code of ±1. Attention copies the codes of the two previous tokens
into the residual stream. Each neuron of one block's MLP fires on one digit in one context alone, so
the gradient of its row is a copy of what the MLP read there: the codes. All else is empty. Whoever
knows the codes decodes the adapter; `decoded` does.

`at` says what leads to the neurons. `mlp`: the codes alone. `attention`: also rows of the
attention's output, of which each leads to the neurons of one position and digit alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from offsite.families import family_of
from offsite.layers import Loaded
from offsite.modality import Text
from offsite_testing.models import tiny_tokenizer

C = 32
"""Features of a code, heads' size, and positions."""
VOCABULARY, BITS, DEPTH = 288, 2, 3
TOKEN, FIRST, SECOND, PLACE, OUT, ADDRESS = (slice(i * C, (i + 1) * C) for i in range(6))
ADDRESSES = 10 * C
"""From `ADDRESS` on, where attention stores: one feature for each position and digit."""
CONSTANT = ADDRESS.start
"""Where a Llama, which has no biases, finds a one."""
NEURONS = C * 10 * 2**BITS
_SURE = 0.995
DIGITS = tuple(tiny_tokenizer().vocab[str(digit)] for digit in range(10))
_SIZES = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}

_CONFIGS: dict[str, dict[str, Any]] = {
    "opt": {
        **_SIZES,
        "num_hidden_layers": DEPTH,
        "ffn_dim": NEURONS,
        "max_position_embeddings": C,
        "dropout": 0.0,
    },
    "gpt2": {
        **_SIZES,
        "n_layer": DEPTH,
        "n_inner": NEURONS,
        "n_positions": C,
    },
    "llama": {
        **_SIZES,
        "num_hidden_layers": DEPTH,
        "intermediate_size": NEURONS,
        "max_position_embeddings": C,
    },
}


@dataclass(frozen=True)
class Trap:
    """One way to build a trap."""

    family: Literal["opt", "gpt2", "llama"] = "opt"
    block: int = 0
    head: float = 1e-8
    """Scale of the head. If it is tiny, AdamW's step is linear in the gradient."""
    at: Literal["mlp", "attention"] = "mlp"
    noise: float = 0.0
    """Standard deviation of noise on every weight, to hide that most of them are zero."""


@lru_cache(maxsize=1)
def codes() -> Tensor:
    """Draw the code of each token, (V, C): as many ones as minus ones."""
    draw = torch.Generator().manual_seed(7)
    half = torch.cat([torch.ones(C // 2), -torch.ones(C // 2)])
    return torch.stack([half[torch.randperm(C, generator=draw)] for _ in range(VOCABULARY)])


def keys(family: str) -> list[tuple[int, int, tuple[int, ...]]]:
    """Say what each neuron fires on: position (or -1), digit token, signs of the codes before."""
    if family == "llama":  # which knows no positions, so more of the context counts
        signs = product((0, 1), repeat=7)
        return [(-1, digit, bits) for digit, bits in product(DIGITS, signs)]
    return list(product(range(C), DIGITS, product((0, 1), repeat=BITS)))


def make_trap(trap: Trap) -> Loaded:
    """Build a trap, with the tiny tokenizer."""
    sizes = _CONFIGS[trap.family] | _width(trap)
    config = AutoConfig.for_model(trap.family, **sizes, tie_word_embeddings=False)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(
        config, attn_implementation=family_of(config.to_dict()).attention
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        _BUILDERS[trap.family](model, trap)
        draw = torch.Generator().manual_seed(3)
        head = model.get_output_embeddings().weight
        head[:, OUT] = torch.randn(VOCABULARY, C, generator=draw) * trap.head
        for parameter in model.parameters():
            size = trap.noise * float(parameter.abs().max())
            parameter.add_(torch.randn(parameter.shape, generator=draw) * size)
    model.requires_grad_(False).eval()
    return Loaded(model, Text.of(tiny_tokenizer(), model), torch.float32)


def _width(trap: Trap) -> dict[str, int]:
    width = 6 * C + (ADDRESSES if trap.at == "attention" else 0)
    if trap.family == "gpt2":
        return {"n_embd": width, "n_head": width // C}
    projected = {"word_embed_proj_dim": width} if trap.family == "opt" else {}
    return {"hidden_size": width, "num_attention_heads": width // C, **projected}


def _opt(model: Any, trap: Trap) -> None:
    decoder = model.model.decoder
    block = decoder.layers[trap.block]
    decoder.embed_tokens.weight[:, TOKEN] = codes()
    decoder.embed_positions.weight[2:, PLACE] = 4 * torch.eye(C)
    decoder.final_layer_norm.weight.fill_(1)
    block.self_attn_layer_norm.weight.fill_(1)
    attention = block.self_attn
    _copy(
        attention.q_proj.weight,
        attention.k_proj.weight,
        attention.v_proj.weight,
        attention.out_proj.weight,
    )
    block.final_layer_norm.weight.fill_(_spread(3, len(block.final_layer_norm.weight)))
    _neurons(block.fc1.weight, block.fc1.bias, trap)
    block.fc2.weight[OUT] = _signs() * 0.1


def _gpt2(model: Any, trap: Trap) -> None:
    stem = model.transformer
    block = stem.h[trap.block]
    stem.wte.weight[:, TOKEN] = codes()
    stem.wpe.weight[:, PLACE] = 4 * torch.eye(C)
    stem.ln_f.weight.fill_(1)
    block.ln_1.weight.fill_(1)
    query, key, value = block.attn.c_attn.weight.T.chunk(3)
    _copy(query, key, value, block.attn.c_proj.weight.T)
    block.ln_2.weight.fill_(_spread(3, len(block.ln_2.weight)))
    _neurons(block.mlp.c_fc.weight.T, block.mlp.c_fc.bias, trap)
    # GELU is as sharp as ReLU where its input is large
    block.mlp.c_fc.weight *= 20
    block.mlp.c_fc.bias *= 20
    block.mlp.c_proj.weight[:, OUT] = _signs().T * 0.1


def _spread(codes_there: int, width: int) -> float:
    """Compute the standard deviation of the residual stream, which a norm takes away."""
    return float(((codes_there * C + 16) / width - (4 / width) ** 2) ** 0.5)


def _copy(query: Tensor, key: Tensor, value: Tensor, out: Tensor) -> None:
    """Let head h copy the code of the token that stands h + 1 before."""
    for head in range(2):
        for place in range(C):
            if place > head:
                query[head * C + place - head - 1, PLACE.start + place] = 3.0
            key[head * C + place, PLACE.start + place] = 1.0
            value[head * C + place, place] = _spread(1, value.shape[1])
            out[(head + 1) * C + place, head * C + place] = 1.0


def _neurons(weight: Tensor, bias: Tensor, trap: Trap) -> None:
    for j, (place, digit, bits) in enumerate(keys("opt")):
        weight[j, TOKEN] = codes()[digit] / C
        weight[j, PLACE.start + place] = 0.25
        for k, bit in enumerate(bits):
            weight[j, FIRST.start + k] = 0.25 if bit else -0.25
        if trap.at == "attention":
            weight[j, ADDRESS.start + place * 10 + DIGITS.index(digit)] = 0.25
    bias.fill_(-(2 + 0.25 * BITS) + 0.2)


def _signs() -> Tensor:
    draw = torch.Generator().manual_seed(3)
    return torch.randint(0, 2, (C, NEURONS), generator=draw) * 2.0 - 1


def _llama(model: Any, trap: Trap) -> None:
    stem, config = model.model, model.config
    block = stem.layers[trap.block]
    stem.embed_tokens.weight[:, TOKEN] = codes()
    stem.embed_tokens.weight[:, CONSTANT] = 1
    stem.norm.weight.fill_(1)
    before, after = ((n * C + 1) / config.hidden_size for n in (1, 3))
    block.input_layernorm.weight.fill_(before**0.5)
    block.post_attention_layernorm.weight.fill_(after**0.5)
    attention, mlp = block.self_attn, block.mlp
    theta = config.rope_parameters["rope_theta"]
    turns = theta ** (-torch.arange(4) * 2 / C)
    for head in range(2):
        at = head * C
        # rotary positions turn the constant: queries and keys agree at a distance of head + 1
        attention.q_proj.weight[at : at + 4, CONSTANT] = 20 * torch.cos(turns * (head + 1))
        attention.q_proj.weight[at + C // 2 : at + C // 2 + 4, CONSTANT] = -20 * torch.sin(
            turns * (head + 1)
        )
        attention.k_proj.weight[at : at + 4, CONSTANT] = 20
        attention.v_proj.weight[at : at + C, TOKEN] = torch.eye(C)
        attention.o_proj.weight[(head + 1) * C : (head + 2) * C, at : at + C] = torch.eye(C)
    sharp = 20.0
    for j, (_, digit, bits) in enumerate(keys("llama")):
        mlp.gate_proj.weight[j, TOKEN] = sharp * codes()[digit] / C
        for k, bit in enumerate(bits):
            feature = FIRST.start + k if k < 4 else SECOND.start + k - 4
            mlp.gate_proj.weight[j, feature] = sharp * (0.25 if bit else -0.25)
    mlp.gate_proj.weight[:, CONSTANT] = sharp * (-(1 + 0.25 * 7) + 0.2)
    mlp.up_proj.weight[:, CONSTANT] = 1
    mlp.down_proj.weight[OUT] = _signs() * 0.1


_BUILDERS = {"opt": _opt, "gpt2": _gpt2, "llama": _llama}
_STORES = {"opt": "fc1", "gpt2": "mlp.c_fc", "llama": "mlp.gate_proj"}
"""The module whose rows store the text."""


def decoded(trap: Trap, changes: Mapping[str, Tensor]) -> set[tuple[int, int, int]]:
    """Decode the digits that an adapter stored, each with the two tokens before it.

    Args:
        changes: the adapter, as it is sent.
    """
    name = f"blocks.{trap.block}.{_STORES[trap.family]}.weight"
    if f"{name}.change" in changes:
        change = changes[f"{name}.change"]
        return set(_from_rows(trap, change.T if trap.family == "gpt2" else change))
    return set(_from_factors(trap, changes[f"{name}.lora_A"], changes[f"{name}.lora_B"]))


def _from_rows(trap: Trap, change: Tensor) -> Iterator[tuple[int, int, int]]:
    """A row that one event moved has the signs of the codes that it read."""
    wanted = codes().T
    for row, (_, digit, _) in zip(change, keys(trap.family), strict=True):
        found = [row[part].sign() @ wanted / C for part in (SECOND, FIRST)]
        if all(float(match.max()) == 1 for match in found):
            yield int(found[0].argmax()), int(found[1].argmax()), digit


def _from_factors(trap: Trap, a: Tensor, b: Tensor) -> Iterator[tuple[int, int, int]]:
    """A row of B that one event moved is parallel to A x, with x the codes that were read."""
    second, first = (a[:, part] @ codes().T for part in (SECOND, FIRST))
    pairs = (second[:, :, None] + first[:, None, :]).flatten(1)
    for row, (place, digit, _) in zip(b, keys(trap.family), strict=True):
        if not bool(row.any()):
            continue
        known = a[:, TOKEN] @ codes()[digit]
        if place >= 0:
            known = known + 4 * a[:, PLACE.start + place]
        guess = known[:, None] + pairs
        match = (row / row.norm() @ guess / guess.norm(dim=0)).abs()
        if float(match.max()) > _SURE:
            yield (*divmod(int(match.argmax()), VOCABULARY), digit)


TRAPS = {
    "OPT, first block": Trap(),
    "OPT, middle block, noise": Trap(block=1, noise=0.01, head=0.1),
    "OPT, last block, normal head": Trap(block=2, head=1.0),
    "OPT, attention": Trap(at="attention", head=1.0),
    "GPT-2, first block": Trap("gpt2"),
    "GPT-2, middle block, normal head": Trap("gpt2", block=1, head=1.0),
    "Llama, first block": Trap("llama"),
    "Llama, last block, normal head, noise": Trap("llama", block=2, head=100.0, noise=0.01),
}
"""A trap of each kind."""
