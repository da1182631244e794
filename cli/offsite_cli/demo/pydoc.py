"""The model owner's own text: the topics of Python's built-in help (PSF licence)."""

from pathlib import Path
from pydoc_data.topics import topics

from offsite_cli.demo.rows import write_rows


def write_corpus(path: Path) -> None:
    """Write one JSON line a topic."""
    write_rows(path, ({"text": topics[name]} for name in sorted(topics)))
