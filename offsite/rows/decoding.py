"""Decodes one image with Pillow: few formats, bounded size, upright, 8-bit RGB.

Everything is converted that has one meaning: grey, palettes, CMYK, YCbCr, and alpha, which is laid
on white. What has several is refused: 16 bits, whose range only its author knows, and more than
one frame.
"""

import errno
import re
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from offsite.errors import DataError
from offsite.rows.datafile import check_pointer

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
"""The formats that Pillow may open; by content, whatever the suffix of a file says."""
MAX_PIXELS = 89_478_485
"""Largest number of pixels: Pillow's own limit, at which it only warns."""
_MAX_RATIO = 100
"""Largest ratio of the sides. A processor scales the shorter one to the model's size."""
_HEAD = 64
_DRAFT = (64, 64)
"""Least size of an image that is reduced."""
_OPAQUE = ("1", "L", "P", "RGB", "CMYK", "YCbCr", "RGBX")
_ALPHA = ("LA", "PA", "RGBA", "La", "RGBa")
_SEVERAL_BITS = ("I", "F")
_WIDE = re.compile(r";(12|16|32|64)")
_KNOWN = "JPEG, PNG, WebP, BMP or TIFF"
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def decode(file: BinaryIO, name: str, *, small: bool = False) -> Image.Image:
    """Decode an image as 8-bit RGB, upright as its EXIF data says.

    Args:
        name: Its name in messages.
        small: Whether to reduce its size where that is cheap. All of it is read all the same.

    Raises:
        DataError: It is not an image, damaged, too large, or of a kind that is not read.
    """
    try:
        _check_head(file, name)
        with Image.open(file, formats=FORMATS) as image:
            _check(image, name)
            if small:
                image.draft(None, _DRAFT)
            ImageOps.exif_transpose(image, in_place=True)
            return _rgb(_reduced(image) if small else image)
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise DataError(
            f"{name} is not an image that can be read, or is damaged; use {_KNOWN}"
        ) from error
    except _BOMBS as error:
        raise _too_large(name, "") from error
    except OSError as error:
        if error.errno == errno.EIO:
            raise DataError(f"cannot read {name}: {error.strerror}") from error
        raise _damaged(name, error) from error
    # Pillow raises many classes for what is damaged
    except Exception as error:
        raise _damaged(name, error) from error


def _check_head(file: BinaryIO, name: str) -> None:
    head = file.read(_HEAD)
    file.seek(0)
    if not head:
        raise DataError(f"{name} is empty; replace it")
    check_pointer(head, name)


def _check(image: ImageFile, name: str) -> None:
    """Check what the header says, before any pixel is read."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(name, f" ({width} x {height})")
    if max(width, height) > _MAX_RATIO * min(width, height):
        raise DataError(
            f"{name} has {width} x {height} pixels, so one side is more than {_MAX_RATIO} times "
            "as long as the other; cut it"
        )
    # a camera's JPEG may hold further pictures (MPO), such as a preview, behind the first one
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise DataError(f"{name} has several frames or pages; save each as an image of its own")
    if _bits(image) > 8:
        raise DataError(
            f"{name} has more than 8 bits per channel, whose range differs from camera to camera; "
            "scale it to 8 bits"
        )
    if image.mode not in (*_OPAQUE, *_ALPHA):
        raise DataError(f"{name} has pixels in the mode {image.mode}; convert it to RGB")


def _bits(image: ImageFile) -> int:
    """Return how many bits a channel has in the file: 8, or 16 for more.

    Pillow silently converts 16-bit colour to 8 bits, but names its raw mode, such as RGB;16B.
    """
    raw = [str(tile.args[0] if isinstance(tile.args, tuple) else tile.args) for tile in image.tile]
    wide = image.format in ("PNG", "TIFF") and any(_WIDE.search(each) for each in raw)
    return 16 if wide or image.mode.partition(";")[0] in _SEVERAL_BITS else 8


def _reduced(image: Image.Image) -> Image.Image:
    """Average pixels of a large image. It is one copy less of all its pixels."""
    factor = min(image.size) // (2 * _DRAFT[0])
    plain = image.mode in ("L", "RGB") and not image.has_transparency_data
    return image.reduce(factor) if factor > 1 and plain else image


def _rgb(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    shown = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGB", shown.size, (255, 255, 255))
    white.paste(shown, mask=shown)
    return white


def _too_large(name: str, size: str) -> DataError:
    return DataError(
        f"{name} has more than {MAX_PIXELS:,} pixels{size}, which may be a decompression bomb; "
        "scale it down"
    )


def _damaged(name: str, error: Exception) -> DataError:
    return DataError(
        f"{name} is damaged or incomplete: {' '.join(str(error).split())[:200]}; replace it"
    )
