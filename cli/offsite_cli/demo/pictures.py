"""The demo's images, as installed Python packages carry them: the data owner's, with classes, and
the model owner's.

No class was given by a person who looked at the tissue: the label of a tile is computed from its
stain. scikit-image has no labelled images of tissue.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offsite.errors import DataError
from offsite.rows import DataFile, read_images
from offsite_cli.demo.shipped import packaged_file

Row = TypeVar("Row")
Picture = tuple[str, Image.Image]
"""The class of an image, and the image."""
Pictures = Mapping[str, list[Picture]]
"""The images of `train`, `validation` and `test`."""

_TILE, _REGION = 16, 128
"""Pixels of a side. All tiles of a region are in one split, so that few neighbours are not."""
_REGIONS = {"test": 5, "validation": 2, "train": 9}
_DIGITS = {"test": 600, "validation": 197, "train": 1000}
_PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "hubble_deep_field.jpg", "rocket.jpg")
_FEWEST = 40
"""Images of a user's own data."""
_CROPS, _CROP, _SMALLEST = 320, 64, 32
"""How many crops, pixels of their side, and the smallest side before they are scaled to it."""


def tissue(seed: int) -> Pictures:
    """Return tiles of colon tissue: does a tile hold more of the brown stain than most?

    Immunohistochemistry colours a protein brown (DAB) and nuclei blue (haematoxylin). A tile is
    `positive` if its mean of DAB, by scikit-image's `rgb2hed`, is above the median of all tiles.

    Raises:
        InputError: the wheel scikit-image is not installed.
    """
    slide = np.asarray(_photo("ihc.png"))
    from skimage.color import rgb2hed

    stain = rgb2hed(slide)[..., 2]
    side = len(slide) // _TILE
    amounts = stain.reshape(side, _TILE, side, _TILE).mean(axis=(1, 3))
    positive = amounts > np.median(amounts)
    per_region = _REGION // _TILE
    regions = [
        (row, column) for row in range(0, side, per_region) for column in range(0, side, per_region)
    ]
    return {
        split: [
            ("positive" if positive[row, column] else "negative", _tile(slide, row, column))
            for top, left in chosen
            for row in range(top, top + per_region)
            for column in range(left, left + per_region)
        ]
        for split, chosen in _shuffled(regions, _REGIONS, seed).items()
    }


def digits(seed: int) -> Pictures:
    """Return handwritten digits of 8 x 8 pixels (UCI's optical recognition, its test part).

    Raises:
        InputError: the wheel scikit-learn is not installed.
    """
    table = np.loadtxt(packaged_file("scikit-learn", "digits.csv.gz"), delimiter=",")
    # dark ink on white paper, in 17 shades
    pixels = np.round(255 - table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    rows = [
        (str(int(label)), Image.fromarray(shades).convert("RGB"))
        for shades, label in zip(pixels, table[:, -1], strict=True)
    ]
    return _shuffled(rows, _DIGITS, seed)


PICTURES: Mapping[str, Callable[[int], Pictures]] = {"tissue": tissue, "digits": digits}
"""The tasks of `offsite demo --vision`."""


def split_folder(source: Path, seed: int) -> Pictures:
    """Split the images of a folder into train, validation and test (60, 20 and 20 %).

    Raises:
        DataError: It is no folder of images with a subfolder for each class, or has too few.
    """
    rows = list(read_images(DataFile(source, f"{source}/")))
    labelled = [(row.label, row.open()) for row in rows if row.label is not None]
    if len(labelled) < len(rows) or len(rows) < _FEWEST:
        raise DataError(
            f"{source} has {len(labelled)} images in folders of classes; a split needs at least "
            f"{_FEWEST}, and none outside of such a folder"
        )
    fifth = len(rows) // 5
    sizes = {"test": fifth, "validation": fifth, "train": len(rows) - 2 * fifth}
    return _shuffled(labelled, sizes, seed)


def write_pictures(folder: Path, pictures: Pictures) -> None:
    """Write each split to a folder of its name, with a subfolder for each class."""
    for split, rows in pictures.items():
        for number, (label, image) in enumerate(rows):
            path = folder / split / label / f"{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)


def write_crops(folder: Path) -> None:
    """Write crops of photographs that scikit-image ships, in the public domain or under CC0.

    Raises:
        InputError: the wheel scikit-image is not installed.
    """
    folder.mkdir(parents=True)
    for number, image in enumerate(_crops(random.Random(0))):
        image.save(folder / f"{number:04}.png")


def _crops(draw: random.Random) -> Iterator[Image.Image]:
    photos = [_photo(name) for name in _PHOTOS]
    for number in range(_CROPS):
        photo = photos[number % len(photos)]
        side = draw.randint(_SMALLEST, min(photo.size))
        left, top = (draw.randint(0, length - side) for length in photo.size)
        yield photo.resize((_CROP, _CROP), box=(left, top, left + side, top + side))


def _photo(name: str) -> Image.Image:
    with Image.open(packaged_file("scikit-image", name)) as image:
        return image.convert("RGB")


def _tile(slide: NDArray[np.uint8], row: int, column: int) -> Image.Image:
    top, left = row * _TILE, column * _TILE
    return Image.fromarray(slide[top : top + _TILE, left : left + _TILE])


def _shuffled(rows: list[Row], sizes: Mapping[str, int], seed: int) -> dict[str, list[Row]]:
    """Deal rows at random to splits of these sizes."""
    order, first, parts = list(rows), 0, {}
    random.Random(seed).shuffle(order)
    for split, size in sizes.items():
        parts[split] = order[first : first + size]
        first += size
    return parts
