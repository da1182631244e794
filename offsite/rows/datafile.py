"""A data file as a job names it, and its format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from offsite.errors import DataError

Format = Literal["rows", "prose", "images"]
ROW_SUFFIXES = (".jsonl", ".ndjson")
"""Suffixes of data files with one JSON object per line."""
PROSE_SUFFIXES = (".txt", ".text", ".md")
"""Suffixes of data files with one plain text."""
IMAGE_SUFFIXES = (".parquet",)
"""Suffixes of data files with the images in them. A folder of images ends in `/`."""
COLUMNS = ("text", "prompt", "completion", "choices", "image", "label")
"""Columns of a row that hold its content. A row has one more where rows are grouped."""
_POINTERS = (b"version https://git-lfs.github.com/spec/", b"/annex/objects/")
"""Beginnings of the pointer files of Git LFS and git-annex."""


@dataclass(frozen=True)
class DataFile:
    """A data file, or a folder of images: its local path, and the name that its user gave it."""

    path: Path
    location: str = ""
    """Location in the job; empty: the path. A link may lead to a file with another name."""
    group: str = ""
    """Column that groups the rows; empty: they have no such column."""
    must_group: bool = True
    """Whether each row must have that column."""

    @property
    def name(self) -> str:
        """Its name in messages."""
        return self.location or str(self.path)

    @property
    def is_folder(self) -> bool:
        """Whether its user named it as a folder of images."""
        return self.name.endswith("/")

    @property
    def format(self) -> Format:
        """The format, by the end of the user's name for it, not of a link's target.

        Raises:
            DataError: The suffix is unknown.
        """
        name = self.name.lower()
        if name.endswith(ROW_SUFFIXES):
            return "rows"
        if name.endswith(PROSE_SUFFIXES):
            return "prose"
        if self.is_folder or name.endswith(IMAGE_SUFFIXES):
            return "images"
        if self.path.is_dir():
            raise DataError(f"{self.name} is a folder; end its name in / if it holds images")
        raise DataError(
            f"the format of {self.name} is unknown: use a name that ends in "
            f"{' or '.join(ROW_SUFFIXES)} for one JSON object per line, in "
            f"{', '.join(PROSE_SUFFIXES[:-1])} or {PROSE_SUFFIXES[-1]} for plain text, in / for a "
            f"folder of images, or in {IMAGE_SUFFIXES[0]} for images; convert CSV, TSV and others "
            "to JSON lines first"
        )


def unreadable(data: DataFile, error: OSError | UnicodeDecodeError) -> DataError:
    """Translate a failure to read a data file."""
    if isinstance(error, UnicodeDecodeError):
        return DataError(
            f"cannot read the data {data.name}: it is not UTF-8 text ({error}); unpack it, or "
            "convert it to UTF-8"
        )
    if isinstance(error, FileNotFoundError):
        place = "" if str(data.path) == data.name else f" (that is {data.path})"
        return DataError(f"there is no data file {data.name}{place}")
    return DataError(f"cannot read the data {data.name}: {error.strerror or error}")


def check_pointer(head: bytes, name: str) -> None:
    """Check that a file is not the placeholder of one that was not fetched.

    Args:
        head: How the file begins.

    Raises:
        DataError: It is a pointer of Git LFS or git-annex.
    """
    if head.startswith(_POINTERS):
        raise DataError(
            f"{name} is a pointer of Git LFS or git-annex, not the data itself; get that with "
            "`git lfs pull` or `git annex get`"
        )
