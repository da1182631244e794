"""Data sets of images: the three forms, and what each of them has in it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as arrow
import pytest
from pyarrow import parquet

from offsite.errors import DataError
from offsite.rows import DataFile, holds_images, image_rows, read_images, read_rows
from offsite.steps.places import data_digest
from offsite_testing.images import encoded, image_folder, image_lines, image_parquet, picture

PIXELS = [picture(seed).tobytes() for seed in range(4)]


def folder(root: Path) -> DataFile:
    return DataFile(root, f"{root}/")


def opened(data: DataFile) -> list[tuple[str | None, bytes]]:
    return [(row.label, row.open().tobytes()) for row in read_images(data)]


def test_a_subfolder_is_a_class(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "data", {"cat": 2, "dog": 1})
    (root / ".DS_Store").write_bytes(b"x")
    (root / "cat" / "Thumbs.db").write_bytes(b"x")
    rows = read_images(folder(root))
    assert [row.label for row in rows] == ["cat", "cat", "dog"]
    assert rows[0].name == f"{root}/cat/000.png"
    assert rows[0].open().tobytes() == PIXELS[0]


def test_images_without_subfolders_have_no_label(tmp_path: Path) -> None:
    for seed in range(2):
        picture(seed).save(tmp_path / f"{seed}.png")
    assert opened(folder(tmp_path)) == [(None, PIXELS[0]), (None, PIXELS[1])]


def test_lines_name_images_beside_them(tmp_path: Path) -> None:
    image_folder(tmp_path / "images", {"a": 2})
    path = image_lines(
        tmp_path / "train.jsonl",
        {"image": "images/a/000.png", "label": "cat", "patient": 7},
        {"image": "./images/a/001.png", "label": 3, "patient": "x"},
    )
    rows = read_images(DataFile(path, group="patient"))
    assert [(row.label, row.group) for row in rows] == [("cat", "7"), ("3", "x")]
    assert [row.open().tobytes() for row in rows] == PIXELS[:2]
    assert rows[0].name == f"{path}:1 (images/a/000.png)"


STRUCTS = [{"bytes": encoded(picture(seed)), "path": f"{seed}.png"} for seed in range(3)]


@pytest.mark.parametrize("images", [STRUCTS, [each["bytes"] for each in STRUCTS]])
@pytest.mark.parametrize("rows_of_a_group", [1, 100])
def test_parquet_holds_images(images: list[Any], rows_of_a_group: int, tmp_path: Path) -> None:
    columns = {"image": images, "label": ["a", "b", "a"], "site": [1, 1, 2], "other": [0, 0, 0]}
    path = image_parquet(tmp_path / "a.parquet", columns, row_group_size=rows_of_a_group)
    rows = read_images(DataFile(path, group="site"))
    assert [(row.label, row.group) for row in rows] == [("a", "1"), ("b", "1"), ("a", "2")]
    assert [row.open().tobytes() for row in reversed(rows)] == PIXELS[2::-1]
    assert rows[1].name == f"{path}[1]"


def test_classes_of_datasets_have_their_names(tmp_path: Path) -> None:
    features = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    table = arrow.table({"image": STRUCTS, "label": [1, 0, 1]}).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    rows = image_rows(DataFile(tmp_path / "a.parquet"))
    assert [row.label for row in rows] == ["dog", "cat", "dog"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", '\n{"image": "a.png"}\n', True),
        ("a.jsonl", '{"text": "a"}\n', False),
        ("a.jsonl", "", False),
        ("a.txt", "a", False),
        ("a.parquet", "", True),
    ],
)
def test_the_first_line_tells_whether_there_are_images(
    name: str, content: str, expected: bool, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    assert holds_images(DataFile(tmp_path / name)) is expected


@pytest.mark.parametrize("name", ["a.jsonl", "a/", "a.parquet"])
def test_no_images_are_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a.jsonl").write_text("\n")
    image_parquet(tmp_path / "a.parquet", {"image": arrow.array([], arrow.binary())})
    with pytest.raises(DataError, match="has no images; put some into it"):
        read_images(DataFile(tmp_path / name, f"{tmp_path}/{name}"))


def test_text_and_images_are_told_apart(tmp_path: Path) -> None:
    text, images = tmp_path / "text.jsonl", tmp_path / "images.jsonl"
    image_lines(text, {"text": "a"})
    image_lines(images, {"image": "a.png"})
    with pytest.raises(DataError, match=r"text\.jsonl holds text, but this model reads images"):
        read_images(DataFile(text))
    with pytest.raises(DataError, match=r"images\.jsonl:1 names an image, but this model reads"):
        read_rows(DataFile(images))
    with pytest.raises(DataError, match="holds images, but this model reads text"):
        read_rows(folder(tmp_path))


def test_a_first_line_without_its_image_is_not_taken_for_text(tmp_path: Path) -> None:
    file = tmp_path / "images.jsonl"
    image_lines(file, {"label": "cat"})
    with pytest.raises(DataError, match=r"images\.jsonl:1 has the columns .*allowed are image"):
        read_images(DataFile(file))
    with pytest.raises(DataError, match=r"images\.jsonl:1 .*; for images, image and label"):
        read_rows(DataFile(file))


def test_a_digest_is_of_names_and_content(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "a", {"cat": 2, "dog": 1})
    same = image_folder(tmp_path / "b", {"cat": 2, "dog": 1})
    (same / ".DS_Store").write_bytes(b"x")
    digest = data_digest(folder(root))
    assert digest == data_digest(folder(same))
    (same / "cat" / "001.png").rename(same / "dog" / "001.png")
    assert data_digest(folder(same)) != digest
    picture(7).save(root / "cat" / "000.png")
    assert data_digest(folder(root)) != digest


def test_a_digest_of_lines_includes_the_images(tmp_path: Path) -> None:
    image_folder(tmp_path, {"cat": 2})
    path = image_lines(tmp_path / "a.jsonl", {"image": "cat/000.png", "label": "cat"})
    digest = data_digest(DataFile(path))
    picture(7).save(tmp_path / "cat" / "001.png")
    assert data_digest(DataFile(path)) == digest, "it is not named"
    picture(7).save(tmp_path / "cat" / "000.png")
    assert data_digest(DataFile(path)) != digest


def test_a_digest_follows_no_link(tmp_path: Path) -> None:
    image_folder(tmp_path / "a", {"cat": 1})
    (tmp_path / "a" / "cat" / "b.png").symlink_to("/etc/hostname")
    with pytest.raises(DataError, match=r"/cat/b\.png is a link"):
        data_digest(folder(tmp_path / "a"))
    path = image_lines(tmp_path / "a.jsonl", {"image": "a/cat/b.png"})
    with pytest.raises(DataError, match=r"a/cat/b\.png is a link"):
        data_digest(DataFile(path))


WITHOUT_ROOM = """
import resource, sys
from pathlib import Path
from offsite.errors import DiskFullError
from offsite.rows import DataFile, image_rows

resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    image_rows(DataFile(Path(sys.argv[1])))
except DiskFullError as error:
    print(error)
"""


def test_a_table_needs_room_for_a_copy(tmp_path: Path) -> None:
    path = image_parquet(tmp_path / "a.parquet", {"image": STRUCTS})
    command = [sys.executable, "-c", WITHOUT_ROOM, str(path)]
    said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert said.startswith("cannot copy the images of a Parquet file to ")
    assert "set TMPDIR" in said
