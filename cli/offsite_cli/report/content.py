"""What a report is made of: sections of plain texts, tables and plots.

A value is a text. The template escapes it, wherever it comes from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Tone = Literal["", "good", "bad", "unknown"]
Party = Literal["model-owner", "data-owner", "both"]


@dataclass(frozen=True)
class Cell:
    """A cell of a table, or a value of a list, with more than a text."""

    text: str
    note: str = ""
    """A second line, smaller."""
    note_below: str = ""
    """A third line, like the second."""
    tone: Tone = ""
    code: bool = False
    """A digest or a name, in a font of one width."""


Value = str | Cell


@dataclass(frozen=True)
class Table:
    """A table with a header row. The first cell of a row is its header."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    numeric: Sequence[int] = ()
    """Columns that are aligned to the right."""
    folded: bool = False
    """Whether a reader has to open it. On paper it is open."""
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Facts:
    """Names and their values."""

    items: Sequence[tuple[str, Value]]
    kind: Literal["facts"] = "facts"


@dataclass(frozen=True)
class Plot:
    """A plot, with its numbers as a table for readers who cannot see it."""

    name: str
    """Unique in the report, and valid as an id."""
    title: str
    description: str
    """What it shows, in words."""
    svg: str
    """Markup, which `svg.inline_svg` wrote."""
    data: Table | None = None
    note: str = ""
    kind: Literal["plot"] = "plot"


@dataclass(frozen=True)
class Note:
    """A paragraph; with a tone, a box."""

    text: str
    tone: Tone = ""
    kind: Literal["note"] = "note"


@dataclass(frozen=True)
class Block:
    """A block of the full model, and what the other party has of it."""

    number: int
    state: Literal["exact", "changed", "kept"]


@dataclass(frozen=True)
class Blocks:
    """All blocks of the full model, in a row."""

    title: str
    description: str
    blocks: Sequence[Block]
    kind: Literal["blocks"] = "blocks"


@dataclass(frozen=True)
class Link:
    """A link in the chain of custody: what a party made, of what, and who signed it."""

    title: str
    party: Party
    by: str
    facts: Sequence[tuple[str, Value]]
    checks: Sequence[Cell] = ()


@dataclass(frozen=True)
class Chain:
    """The chain of custody, oldest first."""

    links: Sequence[Link]
    kind: Literal["chain"] = "chain"


Part = Table | Facts | Plot | Note | Blocks | Chain


@dataclass(frozen=True)
class Section:
    """A section with a heading."""

    id: str
    title: str
    lead: str = ""
    """What the section says, in a sentence or two."""
    parts: Sequence[Part] = ()
    sections: Sequence["Section"] = ()
    party: Party = "both"
    """Whose the section is."""


@dataclass(frozen=True)
class Side:
    """A party in the summary."""

    party: Party
    role: str
    name: str
    rows: Sequence[tuple[str, Sequence[Value]]]
    """What it gained, gave away, kept and spent."""


@dataclass(frozen=True)
class Tile:
    """A figure of the summary, in large type."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    lead: str
    reader: str
    """Whom the report is for, and what is not in it for that reason."""
    about: Sequence[tuple[str, Value]]
    tiles: Sequence[Tile]
    sides: Sequence[Side]
    sections: Sequence[Section]
    words: Sequence[tuple[str, str]] = field(default=())
    """Terms, and what they mean."""
