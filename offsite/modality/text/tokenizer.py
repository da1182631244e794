"""The tokenizer of a model, as transformers makes it of several files, and what it may be."""

import json
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from offsite.errors import ModelError
from offsite.families import Family, tokenizer_file_problems
from offsite.modality.pretrained import LOCAL, is_panic


def load_tokenizer(view: Path, folder: Path, row: Family, size: int) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model, which neither pads, cuts, nor draws at random.

    Its class and tokenizer_config.json change what tokenizer.json says, so what came of them is
    looked at, too.

    Args:
        view: the files to load.
        folder: where they are from.
        size: how many tokens the model knows.

    Raises:
        ModelError: it is the tokenizer of another model, or of none that is known.
    """
    tokenizer = _opened(view, folder)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ModelError(f"the tokenizer in {folder} has no tokenizer.json; convert it to one")
    backend.no_padding()
    backend.no_truncation()
    if getattr(backend.model, "dropout", None) is not None:
        backend.model.dropout = None  # noqa: V101 - tokenizers reads it
    found = tokenizer_file_problems(json.loads(backend.to_str()), size, row.beyond)
    ends = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id)
    found = found or [
        f"makes the id {end}, but the model knows {size} tokens only"
        for end in ends
        if end is not None and end >= size
    ]
    if found:
        raise ModelError(
            f"the tokenizer in {folder} cannot be used: {'; '.join(found[:10])}; put the model's "
            "own tokenizer there"
        )
    return tokenizer


def _opened(view: Path, folder: Path) -> PreTrainedTokenizerBase:
    try:
        found: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(view, **LOCAL)
    except BaseException as error:  # of tokenizers: a bare `Exception`, or a panic
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        reason = " ".join(str(error).split())
        raise ModelError(
            f"cannot load the tokenizer in {folder}: {_described(view)} ({reason}); put the "
            "model's own tokenizer.json there, or correct tokenizer_class in tokenizer_config.json"
        ) from error
    return found


def _described(view: Path) -> str:
    """Say of which class a tokenizer is meant to be, and of which model its tokenizer.json is."""
    config, file = view / "tokenizer_config.json", view / "tokenizer.json"
    named = json.loads(config.read_bytes()).get("tokenizer_class") if config.is_file() else None
    asked = named if isinstance(named, str) else "the class that transformers chooses"
    if not file.is_file():
        return f"there is no tokenizer.json, and {asked} cannot be made of other files"
    model = json.loads(file.read_bytes()).get("model")
    kind = model.get("type", "of no type") if isinstance(model, dict) else "missing"
    return f"{asked} cannot read tokenizer.json, whose model is {kind}"


def encoded(tokenizer: PreTrainedTokenizerBase, text: str, *, special: bool = False) -> list[int]:
    """Turn a text into the ids of its tokens: at least one, whatever the tokenizer makes of it.

    A peer's tokenizer may strip a name, and so leave nothing of a text. If a failure followed, it
    would say that the name is in the data. The unknown token stands there instead, or token 0.

    Args:
        special: put around it what the tokenizer puts around a text.

    Raises:
        ModelError: the tokenizer gave up. What it said is left out: it may quote the text.
    """
    try:
        found = tokenizer(text, add_special_tokens=special, verbose=False)
    except MemoryError:
        raise
    except BaseException as error:  # of tokenizers: a bare `Exception`, or a panic
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        raise ModelError("the model's tokenizer cannot encode the text") from None
    ids: list[int] = found["input_ids"]
    return ids or [tokenizer.unk_token_id or 0]
