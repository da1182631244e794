"""The model owner's own text: the topics of Python's built-in help (PSF licence)."""

import json
from pathlib import Path
from pydoc_data.topics import topics


def write_corpus(path: Path) -> None:
    """Write one JSON line a topic."""
    lines = [json.dumps({"text": topics[name]}) + "\n" for name in sorted(topics)]
    path.write_text("".join(lines), encoding="utf-8")
