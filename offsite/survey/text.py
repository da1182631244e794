"""Counts the different examples of text."""

import sys
import unicodedata
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from zlib import crc32

from offsite.rows import DataFile, read_row
from offsite.rows.jsonl import lines
from offsite.survey.counts import Survey

_PIECE = 4
"""Characters of a piece. A counter changes few pieces, another sentence most of them."""
_OWN_PIECES = 10
"""New pieces that make an example count; half of its pieces for a short one."""
_MOST_PIECES = 20_000


def survey_text(data: DataFile, most: int) -> Survey:
    """Count the different examples of a data set.

    An example is a line of JSONL or of plain text; examples of one group count once. Case, white
    space, choices and Unicode forms are ignored. A copy with a number in front does not count
    either: an example counts only if enough of it does not occur in earlier ones.

    Args:
        most: Limit of the count.

    Raises:
        DataError: The file is not readable, or has an invalid line.
    """
    rows, total, labelled = 0, 0, False
    groups = set[bytes]()
    different = _Different(most)
    leader, lead = b"", 0  # the only candidate for a majority (Boyer and Moore)
    for plain, has_prompt, group in _examples(data):
        mark, size = _mark(plain, group)
        rows, total, labelled = rows + 1, total + size, has_prompt
        groups |= {mark} if group else set()
        different.add(plain, mark, group)
        if mark == leader:
            lead += size
        elif size > lead:
            leader, lead = mark, size - lead
        else:
            lead -= size
    own = 0
    if lead:
        marks = (_mark(plain, group) for plain, _, group in _examples(data))
        own = sum(size for mark, size in marks if mark == leader)
    share = own / total if 2 * own > total else 0.0
    return Survey(len(groups) or rows, different.count, share, labelled)


class _Different:
    """Counts examples that have enough new content."""

    def __init__(self, most: int) -> None:
        self.count, self._most = 0, most
        self._pieces: set[str] = set()
        self._marks: set[bytes] = set()

    def add(self, plain: str, mark: bytes, group: str) -> None:
        """Count an example if it is different; of a group, the first such example."""
        if self.count >= self._most or (mark in self._marks and not group):
            return
        pieces = _pieces(plain)
        if len(pieces - self._pieces) >= min(_OWN_PIECES, len(pieces) / 2):
            self.count += mark not in self._marks
            self._pieces |= pieces
            self._marks.add(mark)


def _pieces(plain: str) -> set[str]:
    """Split an example into overlapping pieces; of a long one, sample them by content."""
    starts = range(max(1, len(plain) - _PIECE + 1))
    every = (plain[i : i + _PIECE] for i in starts)
    sieve = -(-len(plain) // _MOST_PIECES)
    return {piece for piece in every if sieve == 1 or crc32(piece.encode()) % sieve == 0}


def _examples(data: DataFile) -> Iterator[tuple[str, bool, str]]:
    """Yield each example in normalized form, whether it has a prompt, and its group."""
    for number, line in lines(data):
        if data.format == "prose":
            yield *_plain(line), ""
        else:
            row = read_row(data, number, line)
            yield *_plain(row.text, row.prompt, row.completion), row.group


def _plain(text: str, prompt: str = "", completion: str = "") -> tuple[str, bool]:
    parts = [unicodedata.normalize("NFKC", each) for each in (text, prompt, completion)]
    shown = (each if each.isascii() else each.translate(_invisible()) for each in parts)
    return "\0".join(" ".join(each.casefold().split()) for each in shown), bool(prompt)


@cache
def _invisible() -> dict[int, None]:
    """Return the invisible characters, such as the zero-width space."""
    every = range(sys.maxunicode + 1)
    return dict.fromkeys(code for code in every if unicodedata.category(chr(code)) == "Cf")


def _mark(plain: str, group: str) -> tuple[bytes, int]:
    """Identify an example, or its group, and count its characters."""
    identity = f"group {group}" if group else plain
    return sha256(identity.encode("utf-8", "surrogatepass")).digest(), len(plain) - 2
