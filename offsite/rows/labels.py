"""Reads the class of an image, whichever way a data set writes it."""

from typing import Any

from offsite.errors import DataError
from offsite.labels import LONGEST, label_problem, normalized


def read_label(where: str, value: Any) -> str:
    """Read the name of a class: a string, or a whole number; returns it in Unicode's form NFC.

    Args:
        where: What names the class, for messages.

    Raises:
        DataError: It is neither, or not a name that can be shown.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{where} has a label that is not a string or a whole number")
    name = normalized(str(value))
    if (problem := label_problem(name)) is not None:
        raise DataError(f"{where} has the label {name[:LONGEST]!r}, which {problem}")
    return name
