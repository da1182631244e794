"""The data of `bench/transfer.py`: three texts and one labelled task, from installed packages."""

import ast
import random
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from offsite_cli.demo.icd import questions, texts
from offsite_cli.demo.splits import JsonRow, Splits

_SIZES = {"test": 60, "validation": 24, "train": 1200}
"""Documents, as many as the demo has of its text."""
_LONGEST, _SHORTEST = 1200, 300


def code(seed: int) -> Splits:
    """Return source code of Python's standard library; each file is in one split."""
    folder = Path(sysconfig.get_path("stdlib"))
    files = [path for path in sorted(folder.rglob("*.py")) if not _is_left_out(path, folder)]
    return _split(seed, [list(_chunks(path)) for path in files])


def science(seed: int) -> Splits:
    """Return the docstrings of SciPy; each file is in one split."""
    found = find_spec("scipy")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent
    files = [path for path in sorted(folder.rglob("*.py")) if not _is_left_out(path, folder)]
    return _split(seed, [list(_docstrings(path)) for path in files])


DATA: dict[str, Callable[[int], Splits]] = {
    "icd": texts,
    "code": code,
    "science": science,
    "icd-chapters": questions,
}
"""What makes each data set from a seed. The last one is the labelled task."""


def _is_left_out(path: Path, folder: Path) -> bool:
    """Whether a file holds no text of its own: tests, and packages that were installed."""
    return bool({"test", "tests", "site-packages", "idlelib"} & {*path.relative_to(folder).parts})


def _split(seed: int, files: list[list[str]]) -> Splits:
    """Fill each split with the documents of whole files."""
    random.Random(seed).shuffle(files)
    remaining, found = iter(files), dict[str, list[JsonRow]]()
    for name, size in _SIZES.items():
        rows: list[JsonRow] = []
        for file in remaining:
            # no file has more than a tenth of a split
            rows += [{"text": text} for text in file[: max(2, size // 10)]]
            if len(rows) >= size:
                break
        found[name] = rows[:size]
    return found


def _chunks(path: Path) -> Iterator[str]:
    """Cut a file at blank lines into pieces of the length of the demo's documents."""
    piece = ""
    for part in path.read_text("utf-8", errors="ignore").split("\n\n"):
        if piece and len(piece) + len(part) > _LONGEST:
            if _SHORTEST <= len(piece) <= _LONGEST:
                yield piece
            piece = ""
        piece = f"{piece}\n\n{part}" if piece else part


def _docstrings(path: Path) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in the strings of others
        tree = ast.parse(path.read_bytes())
    kinds = (ast.FunctionDef, ast.ClassDef)
    for node in ast.walk(tree):
        text = ast.get_docstring(node) if isinstance(node, kinds) else None
        if text and len(text) >= _SHORTEST:
            yield text[:_LONGEST]
