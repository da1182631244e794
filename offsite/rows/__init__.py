"""Reads data sets as users write them: text, labelled examples, or images. No torch."""

from offsite.rows.datafile import (
    COLUMNS,
    IMAGE_SUFFIXES,
    PROSE_SUFFIXES,
    ROW_SUFFIXES,
    DataFile,
    Format,
    check_pointer,
    unreadable,
)
from offsite.rows.imagerow import ImageRow
from offsite.rows.images import (
    begins_with_image,
    glances,
    holds_images,
    image_files,
    image_rows,
    labels_in,
    read_images,
)
from offsite.rows.inside import open_inside
from offsite.rows.text import Row, read_row, read_rows

__all__ = [
    "COLUMNS",
    "IMAGE_SUFFIXES",
    "PROSE_SUFFIXES",
    "ROW_SUFFIXES",
    "DataFile",
    "Format",
    "ImageRow",
    "Row",
    "begins_with_image",
    "check_pointer",
    "glances",
    "holds_images",
    "image_files",
    "image_rows",
    "labels_in",
    "open_inside",
    "read_images",
    "read_row",
    "read_rows",
    "unreadable",
]
