"""Checks the post-processors of a tokenizer.json: each text once, and a few special tokens."""

from collections.abc import Mapping
from typing import Any

from offsite.families import kinds
from offsite.families.components import leaves
from offsite.families.vocabulary import Ids

_MOST_PIECES, _MOST_TOKENS = 8, 4


def template_problems(tokenizer: Mapping[str, Any], ids: Ids) -> list[str]:
    """List all problems of the post-processor."""
    found: list[str] = []
    for path, part in leaves(tokenizer, "post_processor"):
        if part["type"] == "TemplateProcessing":
            found += _template(path, part, ids)
        found += [
            f"{path}.{key}: must be a token of the vocabulary and its id"
            for key in ("sep", "cls")
            if key in part and ids.get(part[key][0]) != part[key][1]
        ]
    return found


def _template(path: str, part: Mapping[str, Any], ids: Ids) -> list[str]:
    special = part["special_tokens"]
    if not isinstance(special, dict) or len(special) > _MOST_PIECES:
        return [f"{path}.special_tokens: must be a table of up to {_MOST_PIECES} tokens"]
    wrong = [name for name, token in special.items() if not _is_special(name, token, ids)]
    if wrong:
        return [f"{path}.special_tokens: must have tokens of the vocabulary and their ids"]
    return [
        f"{path}.{key}: must have each text once, and at most {_MOST_PIECES} pieces"
        for key, texts in (("single", ["A"]), ("pair", ["A", "B"]))
        if not _has_each(part[key], texts, special)
    ]


def _is_special(name: str, token: Any, ids: Ids) -> bool:
    if not isinstance(token, dict) or token.keys() != {"id", "ids", "tokens"}:
        return False
    numbers, tokens = token["ids"], token["tokens"]
    if token["id"] != name or not isinstance(numbers, list) or not isinstance(tokens, list):
        return False
    return 0 < len(numbers) <= _MOST_TOKENS and numbers == [
        ids.get(each) if isinstance(each, str) else None for each in tokens[: _MOST_TOKENS + 1]
    ]


def _has_each(pieces: Any, texts: list[str], special: Mapping[str, Any]) -> bool:
    if not isinstance(pieces, list) or len(pieces) > _MOST_PIECES:
        return False
    found = [_piece(piece) for piece in pieces]
    named = [name for kind, name in found if kind == "SpecialToken"]
    return (
        sorted(name for kind, name in found if kind == "Sequence") == texts
        and all(name in special for name in named)
        and all(kind for kind, _ in found)
    )


def _piece(piece: Any) -> tuple[str, str]:
    """Return the kind and the name of a piece; empty strings if it is not valid."""
    if not isinstance(piece, dict) or len(piece) != 1:
        return "", ""
    kind, inner = next(iter(piece.items()))
    if kind not in ("Sequence", "SpecialToken") or not isinstance(inner, dict):
        return "", ""
    if inner.keys() != {"id", "type_id"} or not kinds.ints(0, 7).test(inner["type_id"]):
        return "", ""
    return (kind, inner["id"]) if isinstance(inner["id"], str) else ("", "")
