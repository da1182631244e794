"""How many different examples a data set has, in a memory that does not grow with it."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from offsite.errors import DataError
from offsite.rows import DataFile, read_row


@dataclass(frozen=True)
class Survey:
    """What was counted of a data set."""

    rows: int
    """All lines that hold something."""
    different: int
    """The different ones; no more are counted than was asked for."""
    largest: float
    """The share of one example, with all its copies, of all characters; 0 where it is no half."""
    labelled: bool
    """Whether each row is an example of its own; plain text is packed."""


def survey(data: DataFile, most: int) -> Survey:
    """Count the different examples of a data set.

    An example is a line of JSONL, or a line of plain text. Examples that differ in case, white
    space, choices or the form of their characters alone are one.

    Args:
        most: how many different ones are counted.

    Raises:
        DataError: it cannot be read, or a line is not as it should be.
    """
    rows, total, labelled = 0, 0, False
    different: set[bytes] = set()
    leader, lead = b"", 0  # the only one that can make more than half (Boyer and Moore)
    for mark, size, has_prompt in _examples(data):
        rows, total, labelled = rows + 1, total + size, has_prompt
        if len(different) < most:
            different.add(mark)
        if mark == leader:
            lead += size
        elif size > lead:
            leader, lead = mark, size - lead
        else:
            lead -= size
    own = sum(size for mark, size, _ in _examples(data) if mark == leader) if lead else 0
    share = own / total if 2 * own > total else 0.0
    return Survey(rows, len(different), share, labelled)


def _examples(data: DataFile) -> Iterator[tuple[bytes, int, bool]]:
    """Read what identifies each example, its length, and whether it has a prompt."""
    try:
        # JSON strings may hold what splitlines() cuts at, a file is read by its line feeds
        with data.path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                if data.format == "prose":
                    yield _mark(line)
                else:
                    row = read_row(f"{data.name}:{number}", line.rstrip("\n"))
                    yield _mark(row.text, row.prompt, row.completion)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the data {data.name}: {error}") from error


def _mark(text: str, prompt: str = "", completion: str = "") -> tuple[bytes, int, bool]:
    parts = [unicodedata.normalize("NFKC", each) for each in (text, prompt, completion)]
    plain = "\0".join(" ".join(each.casefold().split()) for each in parts)
    digest = sha256(plain.encode("utf-8", "surrogatepass")).digest()
    return digest, len(plain) - 2, bool(prompt)
