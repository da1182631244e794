"""Counts the different examples of a data set in bounded memory."""

from offsite.rows import DataFile, holds_images
from offsite.survey.counts import Survey
from offsite.survey.images import survey_images
from offsite.survey.text import survey_text

__all__ = ["Survey", "survey"]


def survey(data: DataFile, most: int) -> Survey:
    """Count the different examples of a data set: lines of text, or images.

    Args:
        most: Limit of the count.

    Raises:
        DataError: The data is not readable, or has an invalid line or image.
    """
    return survey_images(data, most) if holds_images(data) else survey_text(data, most)
