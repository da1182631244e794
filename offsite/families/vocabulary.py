"""Checks the tokens of a tokenizer.json: its model, the added tokens, and the ids of both.

No text may make the tokenizer fail, or give an id that the model lacks: the failure would reveal to
the peer what the private data contains. So every character has a token, and every id is valid.
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
"""Limits on added tokens. The library builds an automaton of them, which takes 64 bytes of memory
per byte, after normalizers that may lengthen them 16 times. Gemma 3 has 6,415, with less than 100
KB."""
_MOST_NODES = 2_000_000
"""Limit for Unigram. The library stores the pieces as a trie with 350 bytes per node, and one node
for each distinct prefix in bytes. The 250,000 pieces of XLM-R have about 2.1 million bytes, those
of mT5 1.3 million, and share many prefixes; other published models have up to 64,000 pieces."""
_LONGEST, _LONGEST_SEARCHED = 2048, 128
"""Limits on the characters of a token. WordPiece and Unigram try every length at each position."""
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
"""The required and the optional fields of each model."""


def model_problems(tokenizer: Mapping[str, Any]) -> list[str]:
    """List all problems of the model of a tokenizer.json."""
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
    # GPT-2's tokenizer.json has no type
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
        return [f"model.vocab: the pieces have more than {_MOST_NODES} distinct prefixes"]
    return []


def _has_many_nodes(pieces: Iterable[str]) -> bool:
    """Return whether a trie of the pieces' bytes has too many nodes."""
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
    # older files have "a b" instead of ["a", "b"]
    first = str if merges and isinstance(merges[0], str) else list
    for number, merge in enumerate(merges):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if type(merge) is not first or [type(each) for each in pair] != [str, str]:
            return [f"model.merges.{number}: must be two tokens"]
        left, right = pair
        if not (left in vocab and right in vocab and left + right in vocab):
            return [f"model.merges.{number}: must be two tokens that join to a third one"]
    return []


def added_problems(added: Any) -> list[str]:
    """List all problems of the added tokens of a tokenizer.json."""
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
        return [f"added_tokens: must have at most {_MOST_ADDED_BYTES} bytes in total"]
    if len({token["content"] for token in added}) < len(added):
        return ["added_tokens: a token appears twice"]
    return []


def ids_of(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """Compute the id that the library gives each token; it ignores the ids of added tokens."""
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
    """List the tokens with a wrong id.

    Args:
        ids: The ids that the library gives.
        size: The vocabulary size of the model.
        beyond: Added tokens that may be beyond it.
    """
    for number, token in enumerate(tokenizer["added_tokens"]):
        if token["id"] != ids[token["content"]]:
            return [f"added_tokens.{number}.id: must be {ids[token['content']]}"]
    # only if neither a normalizer nor the model can produce it: then its exact text is required
    spared = {
        token["content"]
        for token in tokenizer["added_tokens"]
        if token["content"] in beyond and token.items() >= _PLAIN.items()
    } - _contents(tokenizer["model"]["vocab"])
    over = [index for token, index in ids.items() if index >= size and token not in spared]
    if over:
        return [f"a token has the id {max(over)}, but the model has only {size} tokens"]
    return _unknown_problems(tokenizer["model"], ids, tokenizer)


def _contents(vocab: Mapping[str, int] | Sequence[Any]) -> set[str]:
    return set(vocab) if isinstance(vocab, Mapping) else {token for token, _ in vocab}


def _unknown_problems(
    model: Mapping[str, Any], ids: Ids, tokenizer: Mapping[str, Any]
) -> list[str]:
    """Check that a character without a token is neither dropped nor ends the text."""
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
    return ["model: needs an unk_token, or a token for every byte; otherwise it loses text"]


def _byte_letters() -> frozenset[str]:
    """Return the letters that `ByteLevel` uses for the bytes of valid text.

    SmolLM 2 lacks some control characters, and planes that Unicode has not assigned.
    """
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in seen]
    letters = {byte: chr(byte) for byte in seen}
    letters |= {byte: chr(256 + number) for number, byte in enumerate(hidden)}
    text = {*b"\t\n\r", *range(0x20, 0x7F), *range(0x80, 0xC0), *range(0xC2, 0xF1)}
    return frozenset(letters[byte] for byte in text)


_BYTES = _byte_letters()
