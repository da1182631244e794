"""Names of classes: short, printable, and few."""

import unicodedata
from typing import Any

from offsite.errors import DataError
from offsite.text import printable

MAX_LABELS = 4096
"""How many classes a data set may have."""
MAX_LABEL_LENGTH = 100
"""Number of characters of a class's name."""


def label_problem(name: str) -> str | None:
    """Return what is wrong with the name of a class, as the end of a sentence; None: nothing."""
    if not name.strip():
        return "is empty"
    if name != name.strip():
        return "begins or ends with white space"
    if len(name) > MAX_LABEL_LENGTH:
        return f"has {len(name)} characters; at most {MAX_LABEL_LENGTH} are allowed"
    if printable(name) != name:
        return "has characters that cannot be shown, such as control characters"
    return None


def read_label(where: str, value: Any) -> str:
    """Read the name of a class: a string, or a whole number; returns it in Unicode's form NFC.

    Args:
        where: What names the class, for messages.

    Raises:
        DataError: It is neither, or not a name that can be shown.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{where} has a label that is not a string or a whole number")
    name = unicodedata.normalize("NFC", str(value))
    if (problem := label_problem(name)) is not None:
        raise DataError(f"{where} has the label {name[:MAX_LABEL_LENGTH]!r}, which {problem}")
    return name
