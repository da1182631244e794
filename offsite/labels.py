"""Names of classes, which a data owner gives: what they may be, and how many.

Manifests, reports, tables and the config of a model contain them.
"""

import unicodedata
from collections import Counter
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
    """Say what is wrong with the name of a class, as the end of a sentence; None: nothing.

    Args:
        name: In form NFC.
    """
    if not name.strip():
        return "is empty"
    if name != name.strip():
        return "begins or ends with white space"
    if len(name) > LONGEST:
        return f"has {len(name)} characters; at most {LONGEST} are allowed"
    if printable(name) != name:
        return "has characters that cannot be shown, such as control characters"
    return None if normalized(name) == name else "is not in Unicode's form NFC"


def checked_label(name: str) -> str:
    """Return the name of a class.

    Raises:
        ValueError: It cannot be one.
    """
    if problem := label_problem(name):
        raise ValueError(problem)
    return name


def labels_problem(names: Sequence[str]) -> str | None:
    """Say what is wrong with the names of all classes, as the end of a sentence; None: nothing.

    Args:
        names: Each may be the name of a class.
    """
    if not 2 <= len(names) <= MAX_LABELS:
        return f"are {len(names)}; 2 to {MAX_LABELS} are allowed"
    if len(set(names)) < len(names):
        (twice, _), *_ = Counter(names).most_common(1)
        return f"name the class {twice!r} twice"
    if sum(map(len, names)) > MOST_CHARACTERS:
        return f"have more than {MOST_CHARACTERS:,} characters together; shorten them"
    return None


def _labels(names: tuple[str, ...]) -> tuple[str, ...]:
    if names and (problem := labels_problem(names)):
        raise ValueError(problem)
    return names


Label = Annotated[str, AfterValidator(checked_label)]
"""The name of a class on the wire."""
Labels = Annotated[tuple[Label, ...], AfterValidator(_labels)]
"""The names of all classes on the wire, in the order of a head's outputs; or none."""
