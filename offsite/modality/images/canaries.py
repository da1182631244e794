"""Images that no image resembles, for an audit of the training."""

from functools import partial
from random import Random

import numpy as np
from PIL import Image

from offsite.modality.images.examples import ImageExample
from offsite.modality.images.pixels import Pixels
from offsite.rows import ImageRow

_SIDE = 256


def canary(name: str, classes: int, pixels: Pixels, draw: Random) -> ImageExample:
    """Draw an image of white noise and its class, which nothing but memory can tell.

    Outliers are what training remembers best, and membership inference finds first (Carlini et al.
    2022, arXiv 2112.03570). The pixels are drawn again for each batch, from a seed.
    """
    made = partial(_noise, draw.getrandbits(64))
    row = ImageRow(label=None, group="", name=name, open=made)
    return ImageExample(row, draw.randrange(classes), pixels.positions)


def _noise(seed: int) -> Image.Image:
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8))
