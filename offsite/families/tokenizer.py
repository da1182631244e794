"""Checks the tokenizer.json of a received bundle.

The tokenizer runs on private data. It must neither fail on it nor need unusual memory or time; see
`components` and `vocabulary`.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from offsite.families import kinds
from offsite.families.components import PARTS, component_problems
from offsite.families.kinds import Kind, problems
from offsite.families.templates import template_problems
from offsite.families.vocabulary import (
    added_problems,
    id_problems,
    ids_of,
    model_problems,
)

_ANYTHING = Kind("anything", lambda _: True)
_NULL = Kind("null", lambda v: v is None)
_SECTIONS: Mapping[str, Kind] = {
    "version": kinds.among({"1.0"}),
    # the tokenizer must not pad or truncate texts
    **dict.fromkeys(("truncation", "padding"), _NULL),
    **dict.fromkeys(("added_tokens", "model", *PARTS), _ANYTHING),
}
_NEEDED = ("version", "added_tokens", "model")


def tokenizer_file_problems(
    tokenizer: Mapping[str, Any], size: int, beyond: Collection[str] = ()
) -> list[str]:
    """List all problems of a tokenizer.json, each with the path of its key.

    Args:
        size: The vocabulary size of the model.
        beyond: Added tokens that may be beyond it.
    """
    missing = [f"{key}: is missing" for key in _NEEDED if key not in tokenizer]
    found = missing + problems(tokenizer, _SECTIONS)
    # each check relies on the previous ones
    found = found or (
        component_problems(tokenizer)
        + model_problems(tokenizer)
        + added_problems(tokenizer["added_tokens"])
    )
    if found:
        return found
    ids = ids_of(tokenizer)
    return id_problems(tokenizer, ids, size, beyond) or template_problems(tokenizer, ids)


def named_token_problems(config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> list[str]:
    """List the tokens that a tokenizer_config.json would add to its tokenizer.json.

    Both must have passed their own checks.
    """
    ids = ids_of(tokenizer)
    return [
        f"{path}: is not a token of tokenizer.json"
        for path, token in _named(config)
        if token not in ids
    ]


def _named(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if key.endswith("_token"):
            each = [value]
        elif key in ("extra_special_tokens", "additional_special_tokens"):
            each = value
        elif key == "added_tokens_decoder":
            each = list(value.values())
        else:
            continue
        contents = (token["content"] if isinstance(token, dict) else token for token in each)
        yield from ((key, content) for content in contents if isinstance(content, str))
