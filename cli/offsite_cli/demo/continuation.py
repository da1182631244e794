"""The beginning of the private text, continued by a model."""

from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from offsite.layers import Loaded, inference
from offsite.modality import Text
from offsite.rows import DataFile

_PROMPT_TOKENS = 24
_NEW_TOKENS = 40


def continue_text(loaded: Loaded, text: DataFile) -> tuple[str, str]:
    """Let a language model continue the beginning of a text; returns the beginning, too."""
    words = loaded.modality
    assert isinstance(words, Text)
    prompt = _first_prompt(words, text)
    return prompt, _continue(loaded, words.tokenizer, prompt)


def _first_prompt(words: Text, text: DataFile) -> str:
    """Return the end of the first prompt, or the beginning of the first text."""
    row, tokenizer = words.read(text)[0], words.tokenizer
    ids = tokenizer(row.prompt or row.text, add_special_tokens=False, verbose=False)["input_ids"]
    room = max(1, words.context - _NEW_TOKENS - 1)
    return str(tokenizer.decode(ids[-room:] if row.prompt else ids[:_PROMPT_TOKENS]))


def _continue(loaded: Loaded, tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    generate: Any = loaded.model.generate
    tokens = tokenizer(prompt, return_tensors="pt")["input_ids"].to(loaded.model.device)
    with inference():
        output = generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=_NEW_TOKENS,
            do_sample=False,
            pad_token_id=tokenizer.eos_token_id,
        )
    return str(tokenizer.decode(output[0, tokens.shape[1] :], skip_special_tokens=True))
