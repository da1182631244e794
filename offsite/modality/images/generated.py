"""Public images, drawn from a fixed seed: clouds of 1/f noise, shapes on gradients, and textures.

They are photographs of nothing, but like photographs they have edges, smooth areas and structure at
every scale, so an honest model's neurons respond to them.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Floats = NDArray[np.float64]

_SIDE = 256
"""Width and height in pixels."""


def generated(count: int, seed: int = 0) -> Mapping[str, list[Image.Image]]:
    """Draw some images of each kind; a seed always gives the same ones."""
    return {
        kind: [draw(np.random.default_rng([seed, place, number])) for number in range(count)]
        for place, (kind, draw) in enumerate(_KINDS.items())
    }


def _clouds(draw: np.random.Generator) -> Image.Image:
    """Draw 1/f noise, whose spectrum is that of photographs (Field 1987)."""
    frequency = np.hypot(np.fft.fftfreq(_SIDE)[:, None], np.fft.rfftfreq(_SIDE))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(draw.standard_normal((3, _SIDE, _SIDE)))
    channels = np.fft.irfft2(spectrum / frequency ** draw.uniform(1.0, 1.6), s=(_SIDE, _SIDE))
    # colors of photographs are mostly grey
    mixed = np.tensordot(np.eye(3) + draw.uniform(0, 2), channels, axes=1)
    return _image(np.moveaxis(mixed, 0, 2))


def _shapes(draw: np.random.Generator) -> Image.Image:
    """Draw ellipses, rectangles and triangles in front of a gradient."""
    first, second = draw.uniform(0, 1, (2, 3))
    image = _image(_ramp(draw)[..., None] * (first - second) + second)
    canvas = ImageDraw.Draw(image)
    for _ in range(draw.integers(4, 12)):
        points = draw.uniform(0, _SIDE, (3, 2))
        fill = tuple(int(value) for value in draw.integers(0, 256, 3))
        box = [*points[:2].min(0), *points[:2].max(0)]
        match draw.integers(3):
            case 0:
                canvas.ellipse(box, fill)
            case 1:
                canvas.rectangle(box, fill)
            case _:
                canvas.polygon([tuple(point) for point in points], fill)
    return image


def _textures(draw: np.random.Generator) -> Image.Image:
    """Draw crossed waves of two colors, with grain."""
    waves = np.prod([np.sin(draw.uniform(4, 120) * _ramp(draw)) for _ in range(2)], axis=0)
    first, second, grain = *draw.uniform(0, 1, (2, 3)), draw.standard_normal((_SIDE, _SIDE, 3))
    return _image(waves[..., None] * (first - second) + second + 0.15 * grain)


def _ramp(draw: np.random.Generator) -> Floats:
    """Draw a plane that rises from 0 by at most 1, in any direction."""
    angle = draw.uniform(0, 2 * np.pi)
    down, right = np.mgrid[0 : 1 : _SIDE * 1j, 0 : 1 : _SIDE * 1j]
    plane: Floats = np.cos(angle) * down + np.sin(angle) * right
    risen: Floats = (plane - plane.min()) / np.sqrt(2)
    return risen


def _image(values: Floats) -> Image.Image:
    """Make an image of numbers, (height, width, 3), of which most then use the whole range."""
    low, high = np.percentile(values, [1, 99])
    scaled = (values - low) / max(high - low, 1e-9)
    return Image.fromarray((np.clip(scaled, 0, 1) * 255).astype(np.uint8))


_KINDS: Mapping[str, Callable[[np.random.Generator], Image.Image]] = {
    "clouds": _clouds,
    "shapes": _shapes,
    "textures": _textures,
}
