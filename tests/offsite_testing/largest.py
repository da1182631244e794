"""The largest files tokenizer.json that the checks of an emulator let through, of each kind."""

import json
import random
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path

from offsite_testing.tokenizers import MARK, File, added, replace

SIZE, MARKS, KEYS, NODES = 40 << 20, 3_000_000, 1_000_000, 2_000_000
"""What is allowed: bytes, values and keys, keys, and nodes of a trie."""
_STRING = '"ab",'
_HEAD = {
    "version": "1.0",
    **dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer")),
    **dict.fromkeys(("post_processor", "decoder")),
    "added_tokens": list[File](),
}


def _words(count: int, length: int, letters: str = "abcdefghijklmnopqrstuvwxyz") -> list[str]:
    draw = random.Random(1)
    found = ("".join(draw.choices(letters, k=length)) for _ in range(2 * count))
    return ["<unk>", *islice(dict.fromkeys(found), count - 1)]


def _ids(tokens: Iterable[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate(tokens)}


def unigram(nodes: int = NODES) -> File:
    """Make pieces that share their first bytes alone."""
    vocab = [[word, -1.0] for word in _words(nodes // 127, 128)]
    return {**_HEAD, "model": {"type": "Unigram", "unk_id": 0, "vocab": vocab}}


def word_piece() -> File:
    """Make parts of words, as many as there may be keys; whole words take no more."""
    more = {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    vocab = _ids(_words(KEYS - 100, 26))
    return {
        **_HEAD,
        "model": {"type": "WordPiece", "unk_token": "<unk>", "vocab": vocab, **more},
    }


def bpe() -> File:
    """Make merges: one for each of as many tokens as fit, in the form that takes more memory."""
    letters = [chr(0x4E00 + number) for number in range(740)]
    pairs = [(one, other) for one in letters for other in letters]
    vocab = _ids(["<unk>", *letters, *map("".join, pairs)])
    merges = [*map(list, pairs)]
    model = {"type": "BPE", "unk_token": "<unk>", "vocab": vocab, "merges": merges}
    return {**_HEAD, "model": model}


def old_bpe() -> File:
    """Make merges in the form of older files, of which more fit: all splits of some tokens."""
    runs = [chr(0x4E00 + number) * length for number in range(16_000) for length in range(1, 13)]
    merges = [f"{run[:place]} {run[place:]}" for run in runs for place in range(1, len(run))]
    model = {"type": "BPE", "unk_token": "<unk>", "vocab": _ids(["<unk>", *runs])}
    return {**_HEAD, "model": {**model, "merges": merges}}


def added_tokens() -> File:
    """Make added tokens that the normalizer makes as long as it may."""
    tokens = [added("e" * 4 + word, 1 + n) for n, word in enumerate(_words(16_000, 28)[1:])]
    tokens = [{**token, "normalized": True} for token in tokens]
    model = {"type": "WordLevel", "unk_token": "<unk>", "vocab": {"<unk>": 0}}
    longer = replace("e", MARK * 5)
    return {**_HEAD, "normalizer": longer, "added_tokens": tokens, "model": model}


MODELS: Mapping[str, Callable[[], File]] = {
    made.__name__: made for made in (unigram, word_piece, bpe, old_bpe, added_tokens)
}


def _filled(body: str) -> str:
    """Fill a file up: one wide character makes Python take four bytes for each of a text."""
    rest = SIZE - len(body.encode()) - 100
    return f'{{"wide":"\U0001f600{"a" * max(0, rest)}","b":{body}}}'


def _many(item: str, marks: int) -> str:
    return f"[{item * ((MARKS - 100) // marks)}0]"


def _keyed() -> str:
    return json.dumps({f"{number:07}": 0.5 for number in range(KEYS - 10)}, separators=(",", ":"))


TEXTS: Mapping[str, Callable[[], str]] = {
    "objects": lambda: _filled(_many('{"k":0},', 3)),
    "lists": lambda: _filled(_many("[0],", 2)),
    "strings": lambda: _filled(_many(_STRING, 1)),
    "keys": lambda: _filled(f"[{_keyed()},{_STRING * (MARKS - 2 * KEYS - 100)}0]"),
}
"""JSON of the largest size, of what takes most memory."""


def write(name: str, folder: Path) -> Path:
    """Write a file, and a tokenizer_config.json beside it."""
    text = (
        TEXTS[name]()
        if name in TEXTS
        else json.dumps(MODELS[name](), separators=(",", ":"), ensure_ascii=False)
    )
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "TokenizersBackend"}')
    return folder / "tokenizer.json"
