"""Images and tables of images as bytes that others may have spoiled, and what reads them."""

import io
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from PIL import Image

from offsite.rows import DataFile, labels_in, read_images
from offsite.rows.decoding import FORMATS, decode
from offsite_testing.images import encoded, image_lines, image_parquet, picture

Reader = Callable[[bytes], object]


def hostile_images() -> Iterator[tuple[str, bytes, Reader]]:
    """Make one image of each format and kind, a table and lines; with a name and a reader each."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for form in FORMATS:
        yield f"image {form}", encoded(picture(0), form), _decode
    yield "image to turn", encoded(picture(0), "JPEG", exif=exif), _decode
    yield "image with a palette", encoded(picture(0).quantize(8)), _decode
    yield "image in pieces", encoded(picture(0), "TIFF", compression="tiff_lzw"), _decode
    with tempfile.TemporaryDirectory() as folder:
        columns = {
            "image": [encoded(picture(n)) for n in range(3)],
            "label": ["a", "b", "a"],
        }
        table = image_parquet(Path(folder, "a.parquet"), columns).read_bytes()
        lines = image_lines(Path(folder, "a.jsonl"), {"image": "a.png", "label": "a"}).read_bytes()
    yield "images in a table", table, partial(_read, "a.parquet")
    yield "images in lines", lines, partial(_read, "a.jsonl")


def _decode(content: bytes) -> object:
    return decode(io.BytesIO(content), "x", small=True), decode(io.BytesIO(content), "x")


def _read(name: str, content: bytes) -> object:
    with tempfile.TemporaryDirectory() as folder:
        picture(0).save(Path(folder, "a.png"))
        data = DataFile(Path(folder, name))
        data.path.write_bytes(content)
        return labels_in(data), read_images(data)
