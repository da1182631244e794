"""Random crops and flips of images."""

from math import exp, log, sqrt
from random import Random

from PIL.Image import Image, Transpose

_LEAST_SHARE = 0.5
_LARGEST_RATIO = 4 / 3


def augmented(image: Image, draw: Random, *, square: bool, flips: bool) -> Image:
    """Crop an image at random, and mirror every second one.

    Args:
        draw: the source of all that is random.
        square: whether the model sees the middle square of an image, and not all of it.
        flips: whether left and right may be swapped.
    """
    image = image.crop(crop_box(image.size, draw, square=square))
    # drawn in any case, so that crops are the same without flips
    flipped = draw.random() < 0.5
    return image.transpose(Transpose.FLIP_LEFT_RIGHT) if flips and flipped else image


def crop_box(size: tuple[int, int], draw: Random, *, square: bool) -> tuple[int, int, int, int]:
    """Draw a box in an image: 50 to 100 % of what the model sees, in a ratio of 3:4 to 4:3.

    It may be anywhere. On average, things are about as large as in evaluation (FixRes, arXiv
    1906.06423).

    Args:
        size: width and height of the image.
    """
    seen = (min(size), min(size)) if square else size
    share = draw.uniform(_LEAST_SHARE, 1)
    ratio = exp(draw.uniform(-log(_LARGEST_RATIO), log(_LARGEST_RATIO)))
    wanted = (seen[0] * sqrt(share * ratio), seen[1] * sqrt(share / ratio))
    width, height = (
        min(most, max(1, round(each))) for most, each in zip(size, wanted, strict=True)
    )
    left, top = draw.randint(0, size[0] - width), draw.randint(0, size[1] - height)
    return left, top, left + width, top + height
