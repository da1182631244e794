"""The data owner's private text: the ICD-10-CM tabular list, April 2026 (US government work).

One document for each three-character category, so that near-duplicates, whose codes differ by
one digit, are never on both sides of a split.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element, parse

from offsite_cli.demo.shipped import packaged_file
from offsite_cli.demo.splits import JsonRow, Splits

_NOTES = {
    "inclusionTerm": "Also called:",
    "includes": "Includes:",
    "excludes1": "Never together with:",
    "excludes2": "Not included:",
    "codeFirst": "Code first",
    "useAdditionalCode": "Use additional",
    "codeAlso": "Code also",
}
"""How a line of notes begins. The last three begin the sentence that the book prints."""
_LONGEST = 1200
"""Characters of a document; a few categories of injuries are a hundred pages long."""
_TEXTS = {"test": 60, "validation": 24, "train": 1200}
_ROWS = {"test": 300, "validation": 60, "train": 1200}
_CHOICES = 4


@dataclass(frozen=True)
class Category:
    """One three-character category, and the chapter that it belongs to."""

    chapter: str
    element: Element

    @property
    def text(self) -> str:
        """The category as a coder reads it: codes, names and notes, a line each."""
        whole = "\n".join(_lines(self.element))
        return whole if len(whole) <= _LONGEST else whole[: whole.rindex("\n", 0, _LONGEST)]

    @property
    def terms(self) -> list[str]:
        """The diagnoses of the category, in words."""
        return [_text(each, "desc") for each in self.element.iter("diag")]


def texts(seed: int) -> Splits:
    """Return the categories as texts, each in exactly one split.

    Raises:
        InputError: the wheel simple-icd-10-cm is not installed.
    """
    return {
        name: [{"text": category.text} for category in categories]
        for name, categories in _split(seed, _TEXTS).items()
    }


def questions(seed: int) -> Splits:
    """Return a labelled task: which of four chapters does a diagnosis belong to?

    Raises:
        InputError: the wheel simple-icd-10-cm is not installed.
    """
    chapters = sorted({category.chapter for category in _categories()})
    picker = random.Random(seed)
    return {
        name: [_question(category, chapters, picker) for category in categories]
        for name, categories in _split(seed, _ROWS).items()
    }


def _question(category: Category, chapters: list[str], picker: random.Random) -> JsonRow:
    others = [chapter for chapter in chapters if chapter != category.chapter]
    choices = [category.chapter, *picker.sample(others, _CHOICES - 1)]
    picker.shuffle(choices)
    return {
        "prompt": f"Diagnosis: {picker.choice(category.terms)}\nChapter of ICD-10-CM:",
        "completion": category.chapter,
        "choices": choices,
    }


def _split(seed: int, sizes: dict[str, int]) -> dict[str, list[Category]]:
    categories = list(_categories())
    random.Random(seed).shuffle(categories)
    parts, first = {}, 0
    for name, size in sizes.items():
        parts[name] = categories[first : first + size]
        first += size
    return parts


def _categories() -> Iterator[Category]:
    root = parse(packaged_file("simple-icd-10-cm", "icd10c-tabular-*.xml")).getroot()
    for chapter in root.iter("chapter"):
        # "Diseases of the circulatory system (I00-I99)"
        name = _text(chapter, "desc").rpartition(" (")[0]
        for element in chapter.iter("diag"):
            if len(_text(element, "name")) == 3:
                yield Category(name, element)


def _lines(element: Element) -> Iterator[str]:
    yield f"{_text(element, 'name')}: {_text(element, 'desc')}"
    for tag, words in _NOTES.items():
        for notes in element.findall(tag):
            yield _sentence(words, [_tidy(note.text) for note in notes.findall("note")])
    for child in element.findall("diag"):
        yield from _lines(child)


def _sentence(words: str, notes: list[str]) -> str:
    """Join notes, some of which begin with a comma or end with a colon."""
    joined = "; ".join(notes).replace(":; ", ": ")
    return words + ("" if joined.startswith(",") else " ") + joined


def _text(element: Element, tag: str) -> str:
    return _tidy(element.findtext(tag))


def _tidy(text: str | None) -> str:
    return " ".join((text or "").split())
