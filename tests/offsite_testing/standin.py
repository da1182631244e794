"""A tiny model with some skill, and data that stands in for a peer's."""

import json
from pathlib import Path

from offsite.rehearsal import Splits
from offsite.rows import DataFile
from offsite_testing.models import save_tiny
from offsite_testing.skilled import prose, save_skilled

_PRIVATE = "seven lazy wizards over a fox"
"""What a model can learn from the stand-in data, and not from `prose`."""


def save_stand_in(folder: Path) -> tuple[Path, Splits]:
    """Write a model of six blocks, private text in three parts, and public text.

    Returns:
        The folder of the model, and the data.
    """
    model = folder / "model"
    save_tiny(model)
    save_skilled(model)
    for name, rows, seed in (("train", 24, 100), ("validation", 4, 200), ("test", 12, 300)):
        texts = [f"{prose(8, seed + row)} {_PRIVATE}" for row in range(rows)]
        _write(folder / f"{name}.jsonl", texts)
    _write(folder / "corpus.jsonl", [prose(16, 1000 + row) for row in range(40)])
    names = ("train", "validation", "test", "corpus")
    train, validation, test, corpus = (DataFile(folder / f"{name}.jsonl") for name in names)
    return model, Splits(train, validation, test, corpus)


def _write(path: Path, texts: list[str]) -> None:
    lines = [json.dumps({"text": text}) + "\n" for text in texts]
    path.write_text("".join(lines), encoding="utf-8")
