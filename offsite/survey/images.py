"""Counts the different images of a data set, by how they look."""

from collections import Counter
from hashlib import sha256
from random import Random

import numpy as np

from offsite.rows import DataFile, glances, image_rows
from offsite.survey.counts import Survey
from offsite.survey.looks import SIZE, Look, Looks, is_copy, look_of

_SAMPLE = 4096
"""How many images the share of the largest one is counted on."""
_MOST_KEPT = 4096
"""Largest number of looks that images are compared with."""


def survey_images(data: DataFile, most: int) -> Survey:
    """Count the different images of a data set; images of one group count once.

    Each image is decoded once. A copy does not count, nor one with changed pixels, size, format,
    brightness or colours, or with a stamp on it: see `looks`.

    Args:
        most: Limit of the count.

    Raises:
        DataError: As `read_images`.
    """
    rows = image_rows(data)
    different, sample, classes = _Different(most), _Sample(), _Classes()
    groups = Counter[bytes]()
    for row, look in glances(rows, look_of):
        different.add(look, row.group)
        if row.group:
            groups[sha256(row.group.encode()).digest()] += 1
        else:
            sample.add(look)
        classes.add(look, row.label)
    share = max(groups.values()) / len(rows) if groups else sample.largest()
    units = len(groups) or len(rows)
    largest = share if 2 * share > 1 else 0.0
    return Survey(units, different.count, largest, labelled=True, alone=classes.alone)


class _Different:
    """Counts images that are no copies of earlier ones."""

    def __init__(self, most: int) -> None:
        self.count, self._most = 0, most
        self._looks = _Looks(_MOST_KEPT)
        self._groups: set[str] = set()

    def add(self, look: Look, group: str) -> None:
        """Count an image if it is different; of a group, the first such image."""
        if self.count >= self._most or is_copy(look, self._looks.all).any():
            return
        self.count += group not in self._groups
        self._groups |= {group} if group else set()
        self._looks.add(look)


class _Looks:
    """Looks in one array, (N, 64), up to a limit."""

    def __init__(self, most: int) -> None:
        self._every: Looks = np.empty((0, SIZE), np.float32)
        self._most, self._count = most, 0

    @property
    def all(self) -> Looks:
        return self._every[: self._count]

    def add(self, look: Look) -> None:
        if self._count == len(self._every) and self._count < self._most:
            grown = np.empty((min(self._most, 2 * self._count + 16), SIZE), np.float32)
            grown[: self._count] = self._every
            self._every = grown
        if self._count < len(self._every):
            self.put(self._count, look)
            self._count += 1

    def put(self, place: int, look: Look) -> None:
        self._every[place] = look


class _Sample:
    """An even sample of looks (Vitter's algorithm R), which is all of them while they are few."""

    def __init__(self) -> None:
        self._looks, self._seen, self._draw = _Looks(_SAMPLE), 0, Random(0)

    def add(self, look: Look) -> None:
        self._seen += 1
        if self._seen <= _SAMPLE:
            self._looks.add(look)
        elif (place := self._draw.randrange(self._seen)) < _SAMPLE:
            self._looks.put(place, look)

    def largest(self) -> float:
        """Return the share of the largest set of copies, if that is more than half."""
        every, leader, lead = self._looks.all, 0, 0
        for place, look in enumerate(every):  # the only candidate for a majority (Boyer and Moore)
            if lead == 0:
                leader = place
            same = leader == place or bool(is_copy(look, every[leader : leader + 1]).any())
            lead += 1 if same else -1
        return float(is_copy(every[leader], every).mean())


class _Classes:
    """Finds classes with a single image."""

    def __init__(self) -> None:
        self._first: dict[str, Look | None] = {}

    def add(self, look: Look, label: str | None) -> None:
        if label is None:
            return
        if label not in self._first:
            self._first[label] = look
        elif (first := self._first[label]) is not None and not is_copy(look, first[None]).any():
            self._first[label] = None

    @property
    def alone(self) -> str | None:
        """The first class whose images are all copies of one."""
        return next((label for label, look in self._first.items() if look is not None), None)
