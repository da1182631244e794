"""How an image looks from afar, by which copies of it are known again.

A look is a grey thumbnail of 8 x 8 values, with mean 0 and deviation 1. So size, format, noise,
colour, brightness and contrast do not count. Two images are different if enough of 4 x 4 tiles
differ, whichever way one of them is turned, mirrored or inverted. A stamp changes few tiles,
another picture of the same kind most of them.

Measured on faces, digits, tissue, textures and pages: of two pictures 95 to 100 % differ; of copies
that were changed (JPEG, noise, brightness, tint, turned, mirrored, cut by 2 %) at most 10 %. A copy
that is cut by 5 % or more, or has a wide border, often counts as different.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Look = NDArray[np.float32]
"""(64,): the thumbnail, row by row."""
Looks = NDArray[np.float32]
"""(N, 64)."""
SIZE = 64
_SIDE, _TILES = 8, 4
_DIFFERS = 0.65
"""Deviation of a tile between two looks that makes it another one."""
_CONTENT = 0.2
"""Deviation within a tile that has content, unlike a plain background."""
_ENOUGH = 4
"""Tiles that have to differ; half of those with content if these are fewer than eight."""
_LEAST_DEVIATION = 4.0


def look_of(image: Image.Image) -> Look:
    """Compute how an image looks."""
    small = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    grey = np.asarray(small, dtype=np.float32)
    grey = grey - grey.mean()
    # an image without content stays one
    look: Look = (grey / max(float(grey.std()), _LEAST_DEVIATION)).reshape(SIZE)
    return look


def is_copy(look: Look, others: Looks) -> NDArray[np.bool_]:
    """Return of which other looks, (N, 64), one is a copy: (N,).

    Two images without content are copies.
    """
    turned, known = _tiles(_turns(look))[:, None], _tiles(others)[None]  # (16, 1, …), (1, N, …)
    apart = np.sqrt(((turned - known) ** 2).mean(-1)) > _DIFFERS
    content = (turned.std(-1) > _CONTENT) | (known.std(-1) > _CONTENT) | apart
    enough = np.minimum(_ENOUGH, np.maximum(1, content.sum(-1) / 2))
    copies: NDArray[np.bool_] = (apart.sum(-1) < enough).any(0)
    return copies


def _turns(look: Look) -> Looks:
    """Turn, mirror and invert a look, in all 16 ways."""
    square = look.reshape(_SIDE, _SIDE)
    turned = [np.rot90(each, count) for each in (square, square.T) for count in range(4)]
    every = np.stack(turned).reshape(8, SIZE)
    return np.concatenate([every, -every])


def _tiles(looks: Looks) -> NDArray[Any]:
    """Cut looks, (N, 64), into tiles: (N, 16, 4)."""
    side = _SIDE // _TILES
    cut = looks.reshape(-1, _TILES, side, _TILES, side).transpose(0, 1, 3, 2, 4)
    return cut.reshape(-1, _TILES**2, side**2)
