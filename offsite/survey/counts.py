"""What a survey finds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Survey:
    """Counts of a data set."""

    units: int
    """Lines that are not empty, or images; of data with groups, the groups."""
    different: int
    """Units that differ, up to the requested limit."""
    largest: float
    """Share of the largest unit in all characters or images, with its copies; 0 below one half."""
    labelled: bool
    """Whether each row is a separate example; plain text is packed."""
    alone: str | None = None
    """A class with a single image, not counting copies; None: there is none."""
