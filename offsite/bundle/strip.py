"""Leaving out of a model's folder what a bundle may not hold."""

import json
from pathlib import Path

from offsite.bundle.emulator import is_emulator_file
from offsite.families import GENERATION_KEYS, TOKENIZER_KEYS


def strip_companions(folder: Path) -> None:
    """Delete the files, and the keys of the files beside the config, that no bundle may hold.

    What is left out does not change what the model computes: chat templates, paths of the machine
    that it was made on, names of Python classes.
    """
    for path in folder.iterdir():
        if not is_emulator_file(path.name):
            path.unlink()
    known = {"tokenizer_config.json": TOKENIZER_KEYS, "generation_config.json": GENERATION_KEYS}
    for name, keys in known.items():
        if (folder / name).is_file():
            content = json.loads((folder / name).read_bytes())
            kept = {key: value for key, value in content.items() if key in keys}
            (folder / name).write_text(json.dumps(kept, indent=2, sort_keys=True), encoding="utf-8")
