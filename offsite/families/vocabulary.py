"""The tokens of a tokenizer.json: its model, the tokens that were added, and the ids of both.

No text may make a tokenizer fail, or make a token that the model lacks: a peer would learn from
the failure what the private data holds. So every character has a token, and every id is known.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from offsite.families import kinds
from offsite.families.components import leaves, width
from offsite.families.kinds import Kind, problems
from offsite.families.modules import MAX_SIZE

Ids = Mapping[str, int]
"""The id of each token."""

_MOST_ADDED, _LONGEST_ADDED, _MOST_ADDED_BYTES = 16_384, 256, 1 << 19
"""The library builds an automaton of them: 64 bytes of memory for a byte, after normalizers that
may make it 16 times as long. Gemma 3 has 6,415, of less than 100 KB."""
_MOST_NODES = 2_000_000
"""Of Unigram. The library keeps its pieces as a trie, of 350 bytes for each node: one for every
different beginning of a piece, in bytes. The 250,000 pieces of XLM-R have about 2.1 million bytes
in all, those of mT5 1.3 million, and share many; other published models have up to 64,000."""
_LONGEST, _LONGEST_SEARCHED = 2048, 128
"""Characters of a token; WordPiece and Unigram try every length at every place."""
_PLAIN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
_FLAGS = (*_PLAIN, "special")

_ADDED: Mapping[str, Kind] = {
    "id": kinds.ints(0, MAX_SIZE),
    "content": Kind(
        f"a text of 1 to {_LONGEST_ADDED} characters",
        lambda v: isinstance(v, str) and 0 < len(v) <= _LONGEST_ADDED,
    ),
    **dict.fromkeys(_FLAGS, kinds.BOOL),
}
_TOKEN = Kind("a token", lambda v: isinstance(v, str) and v != "")
_TABLE = Kind("a table of ids", lambda v: isinstance(v, dict) and len(v) > 0)
_LIST = Kind("a list", lambda v: isinstance(v, list))
_FULL_LIST = Kind("a list that is not empty", lambda v: isinstance(v, list) and len(v) > 0)
_NOTHING = Kind("empty, or null", lambda v: v is None or v == "")
_NO_DROPOUT = Kind("null", lambda v: v is None or (type(v) in (int, float) and v == 0))
_PREFIX = Kind("a text of up to 8 characters", lambda v: isinstance(v, str) and len(v) <= 8)

_MODELS: Mapping[str, tuple[Mapping[str, Kind], Mapping[str, Kind]]] = {
    "BPE": (
        {"vocab": _TABLE, "merges": _LIST},
        {
            "dropout": _NO_DROPOUT,
            "unk_token": _TOKEN.or_null(),
            **dict.fromkeys(("continuing_subword_prefix", "end_of_word_suffix"), _NOTHING),
            **dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), kinds.BOOL),
        },
    ),
    "Unigram": (
        {"vocab": _FULL_LIST, "unk_id": kinds.ints(0, MAX_SIZE)},
        {"byte_fallback": kinds.BOOL},
    ),
    "WordLevel": ({"vocab": _TABLE, "unk_token": _TOKEN}, {}),
    "WordPiece": (
        {
            "vocab": _TABLE,
            "unk_token": _TOKEN,
            "continuing_subword_prefix": _PREFIX,
            "max_input_chars_per_word": kinds.ints(1, 100),
        },
        {},
    ),
}
"""The fields that each model needs, and those that it may have."""


def model_problems(tokenizer: Mapping[str, Any]) -> list[str]:
    """List the problems of a tokenizer.json's model, of its vocabulary first."""
    model = tokenizer["model"]
    kind = _kind(model) if isinstance(model, dict) else None
    if not isinstance(kind, str) or kind not in _MODELS:
        return [f"model: must be one of {', '.join(sorted(_MODELS))}"]
    needs, may = _MODELS[kind]
    missing = [f"model.{key}: is missing" for key in needs if key not in model]
    rest = {key: value for key, value in model.items() if key != "type"}
    found = missing + problems(rest, {**needs, **may}, "model.")
    found = found or _vocab_problems(kind, model["vocab"])
    if found:
        return found
    return _merge_problems(model) if kind == "BPE" else []


def _kind(model: Mapping[str, Any]) -> Any:
    # GPT-2's own file has no type
    return model.get("type", "BPE" if "merges" in model else None)


def _vocab_problems(kind: str, vocab: Any) -> list[str]:
    if isinstance(vocab, list):
        for number, entry in enumerate(vocab):
            if not (
                isinstance(entry, list)
                and [type(each) for each in entry] in ([str, float], [str, int])
                and abs(entry[1]) <= 1e6
            ):
                return [f"model.vocab.{number}: must be a token and its score"]
        tokens: Collection[str] = [token for token, _ in vocab]
    else:
        wrong = next((token for token, index in vocab.items() if type(index) is not int), None)
        if wrong is not None or min(vocab.values()) < 0:
            return ["model.vocab: must be whole numbers"]
        if len(set(vocab.values())) < len(vocab):
            return ["model.vocab: two tokens have one id"]
        tokens = vocab
    most = _LONGEST if kind in ("BPE", "WordLevel") else _LONGEST_SEARCHED
    if not all(0 < len(token) <= most for token in tokens):
        return [f"model.vocab: a token must have 1 to {most} characters"]
    if kind == "Unigram" and _has_many_nodes(tokens):
        return [f"model.vocab: the pieces begin in more than {_MOST_NODES} different ways"]
    return []


def _has_many_nodes(pieces: Iterable[str]) -> bool:
    """Whether a trie of the pieces' bytes has too many nodes."""
    before, nodes = b"", 0
    for piece in sorted(each.encode("utf-8", "surrogatepass") for each in pieces):
        pairs = enumerate(zip(before, piece, strict=False))
        nodes += len(piece) - next((n for n, (a, b) in pairs if a != b), len(before))
        if nodes > _MOST_NODES:
            return True
        before = piece
    return False


def _merge_problems(model: Mapping[str, Any]) -> list[str]:
    vocab, merges = model["vocab"], model["merges"]
    # Older files have "a b" in the place of ["a", "b"].
    first = str if merges and isinstance(merges[0], str) else list
    for number, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if type(merge) is not first or [type(each) for each in pair] != [str, str]:
            return [f"model.merges.{number}: must be two tokens"]
        left, right = pair
        if not (left in vocab and right in vocab and left + right in vocab):
            return [f"model.merges.{number}: must be two tokens that make a third"]
    return []


def added_problems(added: Any) -> list[str]:
    """List the problems of a tokenizer.json's added tokens."""
    if not isinstance(added, list) or len(added) > _MOST_ADDED:
        return [f"added_tokens: must be a list of up to {_MOST_ADDED} tokens"]
    for number, token in enumerate(added):
        path = f"added_tokens.{number}"
        if not isinstance(token, dict):
            return [f"{path}: must be a token"]
        missing = [f"{path}.{key}: is missing" for key in _ADDED if key not in token]
        if found := missing + problems(token, _ADDED, f"{path}."):
            return found
    if sum(width(token["content"]) for token in added) > _MOST_ADDED_BYTES:
        return [f"added_tokens: must have {_MOST_ADDED_BYTES} bytes in all at most"]
    if len({token["content"] for token in added}) < len(added):
        return ["added_tokens: one stands there twice"]
    return []


def ids_of(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """Give every token the id that the library gives it, whatever the file says of added ones."""
    vocab = tokenizer["model"]["vocab"]
    ids: dict[str, int] = (
        dict(vocab)
        if isinstance(vocab, dict)
        else {token: number for number, (token, _) in enumerate(vocab)}
    )
    following = len(vocab)
    for token in tokenizer["added_tokens"]:
        if token["content"] not in ids:
            ids[token["content"]] = following
            following += 1
    return ids


def id_problems(
    tokenizer: Mapping[str, Any], ids: Ids, size: int, beyond: Collection[str]
) -> list[str]:
    """List the tokens whose id is not what it should be.

    Args:
        ids: as the library gives them.
        size: how many tokens the model knows.
        beyond: added tokens that it need not know.
    """
    for number, token in enumerate(tokenizer["added_tokens"]):
        if token["id"] != ids[token["content"]]:
            return [f"added_tokens.{number}.id: must be {ids[token['content']]}"]
    # Only if neither a normalizer nor the model leads to it: then it is made of its very name.
    spared = {
        token["content"]
        for token in tokenizer["added_tokens"]
        if token["content"] in beyond and token.items() >= _PLAIN.items()
    } - _contents(tokenizer["model"]["vocab"])
    over = [index for token, index in ids.items() if index >= size and token not in spared]
    if over:
        return [f"makes the id {max(over)}, but the model knows {size} tokens only"]
    return _unknown_problems(tokenizer["model"], ids, tokenizer)


def _contents(vocab: Mapping[str, int] | Sequence[Any]) -> set[str]:
    return set(vocab) if isinstance(vocab, Mapping) else {token for token, _ in vocab}


def _unknown_problems(
    model: Mapping[str, Any], ids: Ids, tokenizer: Mapping[str, Any]
) -> list[str]:
    """Check that a character which no token has does not end, or vanish from, a text."""
    vocab = model["vocab"]
    if isinstance(vocab, list):
        return [] if model["unk_id"] < len(vocab) else ["model.unk_id: is not in the vocabulary"]
    unknown = model.get("unk_token")
    if unknown is not None:
        return [] if unknown in vocab else ["model.unk_token: is not in the vocabulary"]
    if model.get("byte_fallback") and vocab.keys() >= {f"<0x{byte:02X}>" for byte in range(256)}:
        return []
    parts = chain(leaves(tokenizer, "normalizer"), leaves(tokenizer, "pre_tokenizer"))
    if any(part["type"] == "ByteLevel" for _, part in parts) and vocab.keys() >= _BYTES:
        return []
    return ["model: has neither an unk_token nor a token for every byte, so it would lose text"]


def _byte_letters() -> frozenset[str]:
    """The letters by which `ByteLevel` writes the bytes that text is made of.

    SmolLM 2 has none for some control characters, and for planes that Unicode has not assigned.
    """
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in seen]
    letters = {byte: chr(byte) for byte in seen}
    letters |= {byte: chr(256 + number) for number, byte in enumerate(hidden)}
    text = {*b"\t\n\r", *range(0x20, 0x7F), *range(0x80, 0xC0), *range(0xC2, 0xF1)}
    return frozenset(letters[byte] for byte in text)


_BYTES = _byte_letters()
