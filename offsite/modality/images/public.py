"""Public images to inspect a model on, as the model's own image processor makes them."""

from collections.abc import Mapping, Sequence
from math import isqrt

import torch
from PIL import Image
from torch import Tensor

from offsite.modality.batch import Batch
from offsite.modality.contract import Public
from offsite.modality.images.examples import ImageExample, collate
from offsite.modality.images.generated import generated
from offsite.modality.images.pixels import Pixels
from offsite.rows import ImageRow

_FEWEST, _MOST, _POSITIONS = 8, 16, 4096
"""Images of each kind: 16, or fewer of many patches. What reads the class token alone, such as the
last block of a ViT, sees as many events as there are images."""
_LEVELS = 8
"""Colors that differ by less than 1 / 8, of about 2 in all, count as the same."""

HEADLESS_CLASSES = 16
"""Where a model has no head, and is given one of so many classes."""


def public_images(pixels: Pixels, classes: int, prefix: int) -> list[Public]:
    """Encode each kind of generated images as one batch.

    Args:
        classes: number of the model's classes, or 0.
        prefix: number of positions before the patches: the class token, and registers.
    """
    count = min(_MOST, max(_FEWEST, _POSITIONS // pixels.positions))
    targets = [number % (classes or HEADLESS_CLASSES) for number in range(count)]

    def read(example: ImageExample) -> Mapping[str, Tensor]:
        return pixels(example.row.open())

    return [
        _public(kind, collate(_examples(images, targets, pixels), read), prefix)
        for kind, images in generated(count).items()
    ]


def _examples(
    images: Sequence[Image.Image], targets: Sequence[int], pixels: Pixels
) -> list[ImageExample]:
    return [
        ImageExample(ImageRow(None, "", f"public {number}", image.copy), target, pixels.positions)
        for number, (image, target) in enumerate(zip(images, targets, strict=True))
    ]


def _public(kind: str, batch: Batch, prefix: int) -> Public:
    count, length = batch.mask.shape
    rows, columns = _grid(batch, length - prefix)
    images = torch.arange(count)[:, None].expand(count, length)
    places = torch.arange(length).expand(count, length).clone()
    # what reads the class token alone is of no place, so each image's is one of its own
    places[:, :prefix] = length + images[:, :prefix]
    routes = (_by_distance(rows, columns, prefix, length), _by_place(length, prefix))
    return Public(kind, batch, _contents(batch, rows, columns, prefix), (images, places), routes)


def _grid(batch: Batch, patches: int) -> tuple[int, int]:
    """Find the rows and columns of patches."""
    shapes = batch.inputs.get("spatial_shapes")
    if shapes is not None:
        return int(shapes[0, 0]), int(shapes[0, 1])  # others are padding
    height, width = batch.inputs["pixel_values"].shape[-2:]
    rows = isqrt(patches * height // width)
    return rows, patches // rows


def _contents(batch: Batch, rows: int, columns: int, prefix: int) -> Tensor:
    """Number the mean colors of all patches, roughly, (B, T); all positions before them are one."""
    pixels = batch.inputs["pixel_values"].float()
    if pixels.ndim == 4:
        means = torch.nn.functional.adaptive_avg_pool2d(pixels, (rows, columns)).flatten(2).mT
    else:
        means = pixels[:, : rows * columns].unflatten(2, (-1, 3)).mean(2)  # of patches already
    rounded = (means * _LEVELS).round()
    numbers = rounded.flatten(0, 1).unique(dim=0, return_inverse=True)[1].reshape(len(pixels), -1)
    found = torch.zeros_like(batch.mask, dtype=torch.long)
    found[:, prefix : prefix + numbers.shape[1]] = numbers
    return found


def _by_distance(rows: int, columns: int, prefix: int, length: int) -> Tensor:
    """Number the ways between patches by direction and length, beyond the nearest, (T, T)."""
    row, column = (
        each.flatten()
        for each in torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    )
    down, right = row[:, None] - row[None, :], column[:, None] - column[None, :]
    number = (down + rows) * 2 * columns + right + columns
    near = (down.abs() < 2) & (right.abs() < 2)
    # a way that most patches are too close to the border for tells nothing
    far = (2 * down.abs() > rows) | (2 * right.abs() > columns)
    found = torch.full((length, length), -1)
    patches = slice(prefix, prefix + rows * columns)
    found[patches, patches] = torch.where(near | far, -1, number)
    return found


def _by_place(length: int, prefix: int) -> Tensor:
    """Number the ways to one patch: from everywhere, and from each position before the patches."""
    keys = torch.arange(length).expand(length, length)
    queries = torch.arange(length)[:, None].clamp(max=prefix)
    return torch.where(keys < prefix, -1, queries * length + keys)
