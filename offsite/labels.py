"""Names of classes, which a data owner gives: what they may be, and how many.

They travel in a manifest, and stand in reports, tables and the config of a model.
"""

import unicodedata
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator

from offsite.text import printable

MAX_LABELS = 4096
"""Largest number of classes."""
LONGEST = 100
"""Largest number of characters of one name."""
MOST_CHARACTERS = 200_000
"""Largest number of characters of all names together: they have to fit into a manifest."""


def normalized(name: str) -> str:
    """Convert a name to Unicode's form NFC: file systems write one name in several ways."""
    return unicodedata.normalize("NFC", name)


def label_problem(name: str) -> str | None:
    """Say why a name cannot be that of a class; None: it can.

    Args:
        name: In form NFC.
    """
    if not 1 <= len(name) <= LONGEST:
        return f"must have 1 to {LONGEST} characters"
    if name.strip() != name:
        return "must not begin or end with a space"
    if printable(name) != name or normalized(name) != name:
        return "must have printable characters only, in Unicode's form NFC"
    return None


def checked_label(name: str) -> str:
    """Return the name of a class.

    Raises:
        ValueError: It cannot be one.
    """
    if problem := label_problem(name):
        raise ValueError(problem)
    return name


def labels_problem(names: Sequence[str]) -> str | None:
    """Say why names cannot be those of all classes; None: they can. Each is one by itself."""
    if not 2 <= len(names) <= MAX_LABELS:
        return f"must be 2 to {MAX_LABELS} names of classes, not {len(names)}"
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        return f"names a class twice: {twice!r}"
    if sum(map(len, names)) > MOST_CHARACTERS:
        return f"must have at most {MOST_CHARACTERS} characters together; shorten the names"
    return None


def _labels(names: tuple[str, ...]) -> tuple[str, ...]:
    if names and (problem := labels_problem(names)):
        raise ValueError(problem)
    return names


Label = Annotated[str, AfterValidator(checked_label)]
"""The name of a class on the wire."""
Labels = Annotated[tuple[Label, ...], AfterValidator(_labels)]
"""The names of all classes on the wire, in the order of a head's outputs; or none."""
