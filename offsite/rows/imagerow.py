"""One image of a data set, whose pixels stay on the disk until it is opened."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from offsite.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image of a data set."""

    label: str | None
    """Its class; None: the data set has no labels."""
    group: str
    """Value of the column that groups the rows; empty: the row has none."""
    name: str
    """Its name in messages."""
    open: Callable[[], "Image"] = field(repr=False)
    """Reads and decodes it: RGB with 8 bits per channel, upright. Raises DataError."""
    glance: Callable[[], "Image"] | None = field(default=None, repr=False)
    """Reads and checks all of it, but decodes it at a reduced size where that is faster."""


def image_row(label: str | None, group: str, name: str, file: Callable[[], BinaryIO]) -> ImageRow:
    """Build a row from what opens its file.

    Args:
        file: Opens the encoded image; raises OSError or DataError.
    """
    whole = partial(_open, file, name)
    return ImageRow(label, group, name, whole, partial(whole, small=True))


def _open(file: Callable[[], BinaryIO], name: str, *, small: bool = False) -> "Image":
    from offsite.rows.decoding import decode  # Pillow, which most commands do not need

    try:
        opened = file()
    except OSError as error:
        raise DataError(f"cannot read {name}: {error.strerror or error}") from error
    with opened:
        return decode(opened, name, small=small)
