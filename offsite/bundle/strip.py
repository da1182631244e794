"""Removes from a model's files what a bundle may not hold."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from offsite.bundle.emulator import is_emulator_file
from offsite.families import GENERATION_KEYS, PROCESSOR_KEYS, TOKENIZER_KEYS, without_unread

_Content = Mapping[str, Any]


def strip_companions(folder: Path) -> None:
    """Delete the files, and the keys of its JSON files, that no bundle may hold.

    What is left out does not change what the model computes: chat templates, paths of the machine
    that it was made on, names of Python classes, what only other tasks read.
    """
    for path in folder.iterdir():
        if not is_emulator_file(path.name):
            path.unlink()
    for name, kept in _KEPT.items():
        if (folder / name).is_file():
            content = kept(json.loads((folder / name).read_bytes()))
            (folder / name).write_text(
                json.dumps(content, indent=2, sort_keys=True), encoding="utf-8"
            )


def _tokenizer_keys(content: _Content) -> dict[str, Any]:
    """Keep what is allowed; the class becomes the one that takes tokenizer.json as it is.

    The other classes of transformers build parts of a tokenizer anew, each in its own way. What
    they built is in tokenizer.json already.
    """
    kept = {key: value for key, value in content.items() if key in TOKENIZER_KEYS}
    return {**kept, "tokenizer_class": "TokenizersBackend"}


def _generation_keys(content: _Content) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key in GENERATION_KEYS}


def _processor_keys(content: _Content) -> dict[str, Any]:
    allowed = {key: value for key, value in content.items() if key in PROCESSOR_KEYS}
    return {key: value for key, value in allowed.items() if value is not None}


_KEPT: Mapping[str, Callable[[_Content], dict[str, Any]]] = {
    "config.json": without_unread,
    "tokenizer_config.json": _tokenizer_keys,
    "generation_config.json": _generation_keys,
    "preprocessor_config.json": _processor_keys,
}
