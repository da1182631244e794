"""Names of classes are bounded, printable, and each is there once."""

import unicodedata

import pytest
from pydantic import TypeAdapter, ValidationError

from offsite.api import Head
from offsite.labels import LONGEST, MAX_LABELS, MOST_CHARACTERS, Labels, normalized

WIRE: TypeAdapter[tuple[str, ...]] = TypeAdapter(Labels)
GOOD = (
    ("a", "b"),
    ("tench, Tinca tinca", 'a "quoted" name', "two  spaces"),
    ("Größe", "猫", "🐱", "é"),
    tuple(map(str, range(MAX_LABELS))),
    ("a" * LONGEST, "b" * LONGEST),
)
BAD = {
    "one": ("a",),
    "twice": ("a", "b", "a"),
    "too many": tuple(map(str, range(MAX_LABELS + 1))),
    "too many characters": tuple(f"{n:0100}" for n in range(MOST_CHARACTERS // LONGEST + 1)),
    "empty": ("a", ""),
    "long": ("a", "b" * (LONGEST + 1)),
    "space before": ("a", " b"),
    "space after": ("a", "b "),
    "space alone": ("a", " "),
    "line end": ("a", "b\nc"),
    "escape": ("a", "b\x1b[2J"),
    "reversed": ("a", "b\u202ec"),
    "zero width": ("a", "b\u200bc"),
    "ignored": ("a", "b\ufe0f"),
    "no-break space": ("a", "b\u00a0c"),
    "surrogate": ("a", "b\udc80"),
    "unassigned": ("a", "b\u0378"),
    "private": ("a", "b\ue000"),
}


@pytest.mark.parametrize("names", GOOD, ids=lambda names: names[0][:10])
def test_names_of_classes(names: tuple[str, ...]) -> None:
    assert WIRE.validate_python(names) == names
    assert tuple(Head(labels=list(names)).labels) == names


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_name_of_a_class_is_refused(what: str) -> None:
    with pytest.raises(ValidationError):
        WIRE.validate_python(BAD[what])
    with pytest.raises(ValidationError):
        Head(labels=list(BAD[what]))


def test_one_name_has_one_form() -> None:
    apart = unicodedata.normalize("NFD", "é")
    assert Head(labels=[apart, "b"]).labels == [normalized(apart), "b"] == ["é", "b"]
    with pytest.raises(ValidationError, match="NFC"):  # on the wire nothing is converted
        WIRE.validate_python((apart, "b"))
    with pytest.raises(ValidationError, match="twice"):
        Head(labels=[apart, "é"])
