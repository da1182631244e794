"""Images that cannot be used: each is an error that names the file. Others are converted."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pytest
from PIL import Image

import offsite
from offsite.errors import DataError
from offsite.rows import DataFile, image_rows, labels_in, read_images
from offsite.rows.decoding import MAX_PIXELS, decode
from offsite_testing.images import encoded, image_folder, image_lines, image_parquet, picture

PHOTO = picture(0, (300, 200))
GREY16 = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def png(width: int, height: int, kind: int = 2, bits: int = 8, rows: bytes = b"") -> bytes:
    """Write the chunks of a PNG, whose header may promise what does not follow."""

    def chunk(name: bytes, content: bytes) -> bytes:
        whole = name + content
        return struct.pack(">I", len(content)) + whole + struct.pack(">I", zlib.crc32(whole))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels


def frames(form: str) -> bytes:
    file = io.BytesIO()
    picture(0).save(file, form, save_all=True, append_images=[picture(1)])
    return file.getvalue()


def cut(form: str) -> bytes:
    content = encoded(PHOTO, form)
    return content[: len(content) // 2]


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "text": (b"hello", "is not an image"),
    "pointer": (POINTER, "is a pointer of Git LFS"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "is not an image"),
    "pdf": (b"%PDF-1.7\n", "is not an image"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),
    **{
        form: (encoded(picture(0), form), "is not an image")
        for form in ("GIF", "PPM", "TGA", "ICO", "JPEG2000", "PCX", "SGI", "DDS", "ICNS", "QOI")
    },
    "bad header": (b"\x89PNG\r\n\x1a\n" + b"\0" * 20, "is not an image"),
    "bad checksum": (png(8, 8)[:40] + b"x" + png(8, 8)[41:], "damaged"),
    "half a JPEG": (cut("JPEG"), "is damaged or incomplete"),
    "half a PNG": (cut("PNG"), "is damaged or incomplete"),
    "half a WebP": (cut("WEBP"), "damaged"),
    "half a BMP": (cut("BMP"), "is damaged or incomplete"),
    "half a TIFF": (cut("TIFF"), "damaged"),
    "bomb": (png(20_000, 20_000), "decompression bomb"),
    "large": (png(10_000, MAX_PIXELS // 10_000 + 1), "decompression bomb"),
    "line": (png(1, 101, rows=b"\0\0\0\0" * 101), "more than 100 times as long"),
    "16 bit grey": (encoded(GREY16), "more than 8 bits per channel"),
    "16 bit grey TIFF": (encoded(GREY16, "TIFF"), "more than 8 bits per channel"),
    "16 bit colour": (png(1, 1, bits=16, rows=bytes(7)), "more than 8 bits per channel"),
    "32 bit": (encoded(GREY16.convert("I"), "TIFF"), "more than 8 bits per channel"),
    "float": (encoded(GREY16.convert("F"), "TIFF"), "more than 8 bits per channel"),
    "lab": (encoded(Image.new("LAB", (8, 8)), "TIFF"), "has pixels in the mode LAB"),
    "animated PNG": (frames("PNG"), "has several frames or pages"),
    "animated WebP": (frames("WEBP"), "has several frames or pages"),
    "pages": (frames("TIFF"), "has several frames or pages"),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("what", BAD)
def test_a_bad_image_is_an_error_that_names_it(what: str, tmp_path: Path) -> None:
    content, told = BAD[what]
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "0.png").write_bytes(encoded(picture(0)))
    (tmp_path / "cat" / "1.jpg").write_bytes(content)
    with pytest.raises(DataError, match=f"/cat/1.jpg .*{told}"):
        read_images(DataFile(tmp_path, f"{tmp_path}/"))


def test_pillows_limit_is_ours() -> None:
    assert Image.MAX_IMAGE_PIXELS == MAX_PIXELS


def test_pillow_opens_images_in_one_place() -> None:
    package = Path(offsite.__file__).parent
    found = {path for path in package.rglob("*.py") if "Image.open(" in path.read_text("utf-8")}
    assert found == {package / "rows" / "decoding.py"}


def test_a_warning_about_a_bomb_is_an_error_as_well(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(BAD["large"][0])
    with pytest.raises(DataError, match="decompression bomb"):  # here warnings are errors
        read_images(DataFile(tmp_path, f"{tmp_path}/"))


def rgb(image: Image.Image, form: str = "PNG", **options: Any) -> np.ndarray[Any, Any]:
    shown = decode(io.BytesIO(encoded(image, form, **options)), "x")
    assert shown.mode == "RGB"
    return np.asarray(shown).astype(int)


RED = Image.new("RGB", (8, 8), (200, 40, 60))


@pytest.mark.parametrize(
    ("image", "form", "expected"),
    [
        (RED.convert("L"), "PNG", (90, 90, 90)),
        (RED.convert("L"), "JPEG", (90, 90, 90)),
        (RED.quantize(2), "PNG", (200, 40, 60)),
        (RED.convert("CMYK"), "JPEG", (200, 40, 60)),
        (RED.convert("CMYK"), "TIFF", (200, 40, 60)),
        (RED.convert("YCbCr"), "TIFF", (200, 40, 60)),
        (Image.new("1", (8, 8), 1), "PNG", (255, 255, 255)),
        (Image.new("RGBA", (8, 8), (200, 40, 60, 0)), "PNG", (255, 255, 255)),
        (Image.new("RGBA", (8, 8), (200, 40, 60, 255)), "WEBP", (200, 40, 60)),
        (Image.new("LA", (8, 8), (0, 128)), "PNG", (127, 127, 127)),
        (Image.new("RGB", (8, 8), (200, 40, 60)), "BMP", (200, 40, 60)),
    ],
)
def test_what_has_one_meaning_is_converted(
    image: Image.Image, form: str, expected: tuple[int, int, int]
) -> None:
    assert np.abs(rgb(image, form) - expected).max() <= 4


def test_a_transparent_colour_is_laid_on_white() -> None:
    assert rgb(RED.convert("P"), transparency=0)[0, 0].tolist() != [255, 255, 255]
    clear = RED.quantize(2)
    assert rgb(clear, transparency=clear.getpixel((0, 0)))[0, 0].tolist() == [255, 255, 255]
    assert rgb(RED, transparency=(200, 40, 60))[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_image_is_upright(orientation: int, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    corner = Image.new("RGB", (64, 32))
    corner.paste((255, 255, 255), (0, 0, 16, 16))  # white at the top left, as it is stored
    shown = rgb(corner, form, exif=exif)
    assert shown.shape[:2] == ((32, 64) if orientation <= 4 else (64, 32))
    bottom, right = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0)}.get(
        orientation, {5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}.get(orientation, (0, 0))
    )
    assert shown[-3 if bottom else 2, -3 if right else 2].min() > 200


def test_a_small_view_reads_all_of_a_large_photo() -> None:
    content = encoded(picture(0, (1600, 1200)), "JPEG")
    assert decode(io.BytesIO(content), "x", small=True).size == (200, 150)
    with pytest.raises(DataError, match="incomplete"):
        decode(io.BytesIO(content[:-100]), "x", small=True)


def test_a_photo_of_a_camera_with_a_preview_behind_it_is_one_image() -> None:
    content = io.BytesIO()
    PHOTO.save(content, "MPO", save_all=True, append_images=[picture(1)])
    assert decode(io.BytesIO(content.getvalue()), "x").size == PHOTO.size


def link_to_a_file(root: Path, outside: Path) -> None:
    (root / "cat" / "2.png").symlink_to(outside / "secret.png")


def link_to_a_folder(root: Path, outside: Path) -> None:
    (root / "dog").symlink_to(outside)


def link_inside(root: Path, outside: Path) -> None:
    (root / "cat" / "2.png").symlink_to("000.png")


def nowhere(root: Path, outside: Path) -> None:
    (root / "cat" / "2.png").symlink_to("nowhere.png")


def pipe(root: Path, outside: Path) -> None:
    os.mkfifo(root / "cat" / "2.png")


def nested(root: Path, outside: Path) -> None:
    (root / "cat" / "more").mkdir()


def empty_class(root: Path, outside: Path) -> None:
    (root / "dog").mkdir()


def unknown(root: Path, outside: Path) -> None:
    (root / "cat" / "labels.csv").write_text("a,b")


def unknown_above(root: Path, outside: Path) -> None:
    (root / "README.md").write_text("a")


def beside_classes(root: Path, outside: Path) -> None:
    picture(1).save(root / "1.png")


def control(root: Path, outside: Path) -> None:
    picture(1).save(root / "cat" / "a\x1b[2J\n.png")


def control_class(root: Path, outside: Path) -> None:
    (root / "do\ng").mkdir()


def not_utf8(root: Path, outside: Path) -> None:
    with open(os.fsencode(root / "cat") + b"/\xff\xfe.png", "wb") as file:
        file.write(encoded(picture(1)))


def long_class(root: Path, outside: Path) -> None:
    image_folder(root / "x", {}).mkdir()
    (root / "x").rename(root / ("d" * 101))
    picture(1).save(root / ("d" * 101) / "1.png")


FOLDERS: dict[Callable[[Path, Path], None], str] = {
    link_to_a_file: r"/cat/2\.png is a link, or not a regular file",
    link_to_a_folder: r"/dog is a link",
    link_inside: r"/cat/2\.png is a link",
    nowhere: r"/cat/2\.png is a link",
    pipe: r"/cat/2\.png is a link, or not a regular file",
    nested: r"/cat/more/ is a folder inside the class cat",
    empty_class: r"/dog/ has no images",
    unknown: r"/cat/labels\.csv is not named as an image",
    unknown_above: r"/README\.md is not named as an image",
    beside_classes: r"/1\.png has no label, but other images have one",
    control: r"/cat/a\\x1b\[2J\\n\.png has characters that cannot be shown",
    control_class: r"/do\\ng has characters that cannot be shown",
    not_utf8: r"/cat/\\udcff\\udcfe\.png has characters that cannot be shown, or is not UTF-8",
    long_class: "which has 101 characters; at most 100 are allowed",
}


@pytest.mark.parametrize("spoil", FOLDERS, ids=lambda spoil: spoil.__name__)
def test_a_bad_folder_is_an_error_that_names_it(
    spoil: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    root = image_folder(tmp_path / "data", {"cat": 1})
    outside = tmp_path / "outside"
    outside.mkdir()
    picture(9).save(outside / "secret.png")
    spoil(root, outside)
    with pytest.raises(DataError, match=FOLDERS[spoil]):
        image_rows(DataFile(root, f"{root}/"))


def test_a_folder_that_becomes_a_link_is_not_followed(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "data", {"cat": 1})
    rows = image_rows(DataFile(root, f"{root}/"))
    (root / "cat").rename(tmp_path / "outside")
    (root / "cat").symlink_to(tmp_path / "outside")
    with pytest.raises(DataError, match=r"/cat/000\.png is a link"):
        rows[0].open()


def test_a_folder_is_named_as_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no images; put some into it"):
        image_rows(DataFile(tmp_path, f"{tmp_path}/"))
    with pytest.raises(DataError, match="is a folder; end its name in / if it holds images"):
        image_rows(DataFile(tmp_path))
    with pytest.raises(DataError, match="there is no data file"):
        image_rows(DataFile(tmp_path / "none", f"{tmp_path}/none/"))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/: Not a directory"):
        image_rows(DataFile(tmp_path / "file", f"{tmp_path}/file/"))
    with pytest.raises(DataError, match='is a folder, which has no column "patient"'):
        image_rows(DataFile(tmp_path, f"{tmp_path}/", group="patient"))


LINES: dict[str, tuple[Any, str]] = {
    "other column": ({"image": "a.png", "text": "a"}, r"has the columns \['image', 'text'\]"),
    "number": ({"image": 3}, 'the column "image" is a number, not the path'),
    "null": ({"image": None}, 'the column "image" is null'),
    "absolute": ({"image": "/etc/passwd"}, "is not a path below the folder of its file"),
    "out": ({"image": "../a.png"}, "is not a path below the folder of its file"),
    "out again": ({"image": "data/../../a.png"}, "is not a path below the folder of its file"),
    "empty": ({"image": ""}, "is not a path below the folder of its file"),
    "control": ({"image": "a\n.png"}, "has characters that cannot be shown"),
    "null character": ({"image": "a\0.png"}, "has characters that cannot be shown"),
    "missing": ({"image": "none.png"}, r"cannot read .*:1 \(none\.png\): No such file"),
    "folder": ({"image": "data"}, r":1 \(data\) is a link, or not a regular file"),
    "through a file": ({"image": "data/cat/000.png/x"}, "is a link, or not a regular file"),
    "link": ({"image": "link.png"}, r":1 \(link\.png\) is a link"),
    "link to a folder": ({"image": "dir/000.png"}, r":1 \(dir/000\.png\) is a link"),
    "label": ({"image": "data/cat/000.png", "label": 1.5}, "has a label that is not a string or"),
    "no label": ({"image": "data/cat/000.png", "label": None}, "has a label that is not a string"),
    "escape": ({"image": "data/cat/000.png", "label": "\x1b[2J"}, "cannot be shown, such as"),
}


@pytest.mark.parametrize("what", LINES)
def test_a_bad_line_is_an_error_that_names_it(what: str, tmp_path: Path) -> None:
    root = image_folder(tmp_path / "data", {"cat": 1})
    (tmp_path / "link.png").symlink_to(root / "cat" / "000.png")
    (tmp_path / "dir").symlink_to(root / "cat")
    line, told = LINES[what]
    path = image_lines(tmp_path / "a.jsonl", line)
    with pytest.raises(DataError, match=told) as caught:
        read_images(DataFile(path))
    assert f"{path}:1" in str(caught.value)


def test_all_images_have_a_label_or_none_has(tmp_path: Path) -> None:
    image_folder(tmp_path, {"cat": 2})
    lines = [{"image": "cat/000.png", "label": "cat"}, {"image": "cat/001.png"}]
    path = image_lines(tmp_path / "a.jsonl", *lines)
    with pytest.raises(DataError, match=r"a\.jsonl:2 \(cat/001\.png\) has no label, but other"):
        image_rows(DataFile(path))


def test_classes_are_few(tmp_path: Path) -> None:
    lines = [{"image": "a.png", "label": number} for number in range(4097)]
    path = image_lines(tmp_path / "a.jsonl", *lines)
    with pytest.raises(DataError, match="has 4097 classes; at most 4096 are allowed"):
        image_rows(DataFile(path))


ONE = encoded(picture(0))
TABLES: dict[str, tuple[dict[str, list[Any]], str]] = {
    "no image": ({"img": [ONE]}, r"has the columns \['img'\]; it needs image"),
    "path alone": ({"image": ["a.png"]}, 'the column "image" is string, not bytes'),
    "a reference": (
        {"image": [{"bytes": ONE, "path": None}, {"bytes": None, "path": "/data/a.png"}]},
        r"\[1\] has no image in it, only the path '/data/a\.png'",
    ),
    "null": ({"image": [ONE, None]}, r"\[1\] has no image in it"),
    "bad image": ({"image": [ONE, ONE[:-60]]}, r"\[1\] is damaged"),
    "null label": ({"image": [ONE], "label": [None]}, r"\[0\] has a label that is not"),
    "float label": ({"image": [ONE], "label": [0.5]}, r"\[0\] has a label that is not"),
    "no group": ({"image": [ONE], "site": [None]}, r'\[0\]: the column "patient" is null'),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_bad_table_is_an_error_that_names_it(what: str, tmp_path: Path) -> None:
    columns, told = TABLES[what]
    group = "patient" if "site" in columns else ""
    columns = {name.replace("site", "patient"): values for name, values in columns.items()}
    path = image_parquet(tmp_path / "a.parquet", columns)
    with pytest.raises(DataError, match=rf"a\.parquet.*{told}"):
        read_images(DataFile(path, group=group))


def test_a_label_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    labels = arrow.array([b"\xff"], arrow.binary()).view(arrow.string())
    path = image_parquet(tmp_path / "a.parquet", {"image": [ONE], "label": labels})
    for read in (read_images, labels_in):
        with pytest.raises(DataError, match=r"a\.parquet is damaged, or not Parquet: .*utf-8"):
            read(DataFile(path))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"hello" * 100, b"PAR1" + bytes(99) + b"PAR1"])
def test_a_file_that_is_not_parquet_is_an_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet is damaged, or not Parquet"):
        image_rows(DataFile(tmp_path / "a.parquet"))
