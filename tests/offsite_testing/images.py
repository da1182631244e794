"""Small real images, and data sets of them."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
from PIL import Image
from pyarrow import parquet


def picture(seed: int, size: tuple[int, int] = (48, 32)) -> Image.Image:
    """Draw smooth random colours, as a photograph has them."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    """Encode an image."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def image_folder(root: Path, classes: Mapping[str, int], start: int = 0) -> Path:
    """Write a folder with so many different images of each class."""
    for number, (label, count) in enumerate(sorted(classes.items())):
        (root / label).mkdir(parents=True)
        for index in range(count):
            seed = start + 1000 * number + index
            picture(seed).save(root / label / f"{index:03}.png")
    return root


def image_lines(path: Path, *lines: Any) -> Path:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def image_parquet(path: Path, columns: Mapping[str, Any], **options: Any) -> Path:
    """Write a table with columns."""
    parquet.write_table(arrow.table(dict(columns)), path, **options)
    return path


CLASSES = ("blue", "green", "red")
"""Classes of tinted pictures."""


def tinted(label: str, seed: int = 0) -> Image.Image:
    """Draw a picture that shows its class: a color, which is stronger in it."""
    pixels = np.asarray(picture(seed)).astype(np.int16)
    pixels[..., ("red", "green", "blue").index(label)] += 60
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def tinted_folder(root: Path, each: int = 4, start: int = 0) -> Path:
    """Write a folder with so many tinted pictures of each class."""
    for number, label in enumerate(CLASSES):
        (root / label).mkdir(parents=True)
        for index in range(each):
            tinted(label, start + 1000 * number + index).save(root / label / f"{index:03}.png")
    return root
