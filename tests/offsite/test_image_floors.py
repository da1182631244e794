"""The floors of an adapter for images: which of them count, which are copies, and the classes."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from offsite.api import Limits, Tune
from offsite.errors import DataError
from offsite.rows import DataFile
from offsite.steps.floors import check_examples, check_floors, check_labels
from offsite.survey import survey
from offsite.survey.looks import is_copy, look_of
from offsite_testing.images import encoded, image_folder, image_lines, image_parquet, picture

PHOTO = picture(1, (96, 64))


def folder(root: Path) -> DataFile:
    return DataFile(root, f"{root}/")


def job(**fields: Any) -> Tune:
    data = {"train": "a/", "validation": "b/"}
    training = {"epochs": 10, "batchSize": 4}
    return Tune.model_validate({"bundle": "a", "data": data, "training": training, **fields})


def one_pixel(image: Image.Image, index: int) -> Image.Image:
    changed = image.copy()
    changed.putpixel((index % image.width, index // image.width), (255, 0, 255))
    return changed


def noisy(image: Image.Image, index: int) -> Image.Image:
    pixels = np.asarray(image) + np.random.default_rng(index).normal(0, 20, (*image.size[::-1], 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def numbered(image: Image.Image, index: int) -> Image.Image:
    changed = image.copy()
    ImageDraw.Draw(changed).text((2, 2), str(index), fill=(255, 255, 255))
    return changed


def compressed(image: Image.Image, index: int) -> Image.Image:
    return Image.open(BytesIO(encoded(image, "JPEG", quality=10 + index)))


def turned(image: Image.Image, index: int) -> Image.Image:
    return image.transpose(Image.Transpose(index % 7))


VARIANTS: dict[str, Callable[[Image.Image, int], Image.Image]] = {
    "one pixel": one_pixel,
    "noise": noisy,
    "a number": numbered,
    "JPEG": compressed,
    "turned": turned,
    "size": lambda image, index: image.resize((40 + index, 90 - index)),
    "cut": lambda image, index: image.crop((index % 2, index % 3 // 2, 95, 63)),
    "brightness": lambda image, index: ImageEnhance.Brightness(image).enhance(0.6 + index / 100),
    "contrast": lambda image, index: ImageEnhance.Contrast(image).enhance(0.6 + index / 100),
    "inverted": lambda image, index: Image.fromarray(255 - np.asarray(image)),
    "grey": lambda image, index: image.convert("L"),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_changed_copies_are_one_image(variant: str, tmp_path: Path) -> None:
    for index in range(40):
        VARIANTS[variant](PHOTO, index).save(tmp_path / f"{index}.png")
    found = survey(folder(tmp_path), 16)
    assert (found.units, found.different, found.largest) == (40, 1, 1.0)
    with pytest.raises(DataError, match=r"has 1 different examples; .* at least 16"):
        check_examples(Limits(), folder(tmp_path))


def test_other_pictures_are_different(tmp_path: Path) -> None:
    found = survey(folder(image_folder(tmp_path / "a", {"a": 30, "b": 30})), 100)
    assert found.different >= 58
    assert (found.units, found.largest, found.labelled, found.alone) == (60, 0.0, True, None)


def test_pictures_on_a_plain_background_are_different() -> None:
    looks = []
    for corner in ((0, 0), (20, 4), (8, 20)):
        image = Image.new("RGB", (32, 32))
        ImageDraw.Draw(image).ellipse((*corner, corner[0] + 8, corner[1] + 10), fill=(255,) * 3)
        looks.append(look_of(image))
    assert not is_copy(looks[0], np.stack(looks[1:])).any()


def test_plain_images_are_one(tmp_path: Path) -> None:
    for index in range(20):
        Image.new("RGB", (16, 16), (index * 12,) * 3).save(tmp_path / f"{index}.png")
    assert survey(folder(tmp_path), 16).different == 1


def test_one_image_may_not_be_most_of_the_data(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "a", {"a": 20})
    for index in range(21):
        numbered(PHOTO, index).save(root / "a" / f"copy-{index}.png")
    assert survey(folder(root), 16).largest == pytest.approx(21 / 41, abs=0.05)
    with pytest.raises(DataError, match="one example, with its copies, makes up 5"):
        check_examples(Limits(), folder(root))
    for index in range(5):
        (root / "a" / f"copy-{index}.png").unlink()
    check_examples(Limits(), folder(root))


@pytest.mark.parametrize("form", ["lines", "table"])
def test_a_group_is_one_example(form: str, tmp_path: Path) -> None:
    root = image_folder(tmp_path / "a", {"a": 40})
    names = [f"a/{index:03}.png" for index in range(40)]
    groups = [index // 4 for index in range(40)]
    if form == "lines":
        rows = [{"image": f"a/{n}", "label": "a", "site": g} for n, g in zip(names, groups)]  # noqa: B905
        data = DataFile(image_lines(tmp_path / "a.jsonl", *rows), group="site")
    else:
        images = [(root / name).read_bytes() for name in names]
        columns = {"image": images, "label": ["a"] * 40, "site": groups}
        data = DataFile(image_parquet(tmp_path / "a.parquet", columns), group="site")
    found = survey(data, 100)
    assert (found.units, found.different, found.largest) == (10, 10, 0.0)
    with pytest.raises(DataError, match="has 10 different examples"):
        check_examples(Limits(), data)


def test_a_group_may_not_be_most_of_the_data(tmp_path: Path) -> None:
    image_folder(tmp_path / "a", {"a": 40})
    rows = [
        {"image": f"a/a/{index:03}.png", "label": "a", "site": max(0, index - 20)}
        for index in range(40)
    ]
    data = DataFile(image_lines(tmp_path / "a.jsonl", *rows), group="site")
    assert survey(data, 100).largest == pytest.approx(21 / 40)


def test_a_class_of_one_image_is_an_error_that_names_it(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "a", {"cat": 20, "dog": 1})
    with pytest.raises(DataError, match="has a single image of the class 'dog', not counting"):
        check_floors(Limits(), job(), folder(root))
    with Image.open(root / "dog" / "000.png") as dog:
        one_pixel(dog, 5).save(root / "dog" / "copy.png")
    with pytest.raises(DataError, match="has a single image of the class 'dog'"):
        check_floors(Limits(), job(), folder(root))
    picture(77).save(root / "dog" / "other.png")
    check_floors(Limits(), job(), folder(root))


def test_a_label_that_training_lacks_is_an_error_that_names_it(tmp_path: Path) -> None:
    train = folder(image_folder(tmp_path / "train", {"cat": 2, "dog": 2}))
    held_out = folder(image_folder(tmp_path / "held-out", {"cat": 1, "cow": 1, "dog": 1}))
    with pytest.raises(DataError, match=r"held-out/ has the label 'cow', which .*/train/ lacks"):
        check_labels(job(), train, held_out)
    check_labels(job(adapter={"head": {"labels": ["cat", "cow", "dog"]}}), train, held_out)
    shutil.rmtree(tmp_path / "held-out" / "cow")
    check_labels(job(), train, held_out)


def test_what_trains_has_labels(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="has images without labels; put each into the subfolder"):
        check_labels(job(), folder(tmp_path), folder(tmp_path))
    (tmp_path / "a.txt").write_text("text")
    check_labels(job(), DataFile(tmp_path / "a.txt"), folder(tmp_path))


def test_labels_of_a_table_are_read_alone(tmp_path: Path) -> None:
    columns = {"image": [b"not decoded"] * 3, "label": ["a", "b", "a"]}
    train = DataFile(image_parquet(tmp_path / "a.parquet", columns))
    columns["label"] = ["a", "b", "c"]
    held_out = DataFile(image_parquet(tmp_path / "b.parquet", columns))
    with pytest.raises(DataError, match="has the label 'c'"):
        check_labels(job(), train, held_out)


def test_steps_are_counted_in_images(tmp_path: Path) -> None:
    root = image_folder(tmp_path / "a", {"cat": 10, "dog": 10})
    with pytest.raises(DataError, match="1 epochs are 5 steps"):
        check_floors(Limits(), job(training={"epochs": 1, "batchSize": 4}), folder(root))


MEASURED = """
import resource, sys
from pathlib import Path
from offsite.rows import DataFile, read_images
from offsite.survey import survey

data = DataFile(Path(sys.argv[1]), sys.argv[2])
for row in read_images(data):
    row.open()
survey(data, 10_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(path: Path, name: str) -> int:
    """Measure the largest memory of a process that reads and surveys a data set, in MiB."""
    command = [sys.executable, "-c", MEASURED, str(path), name]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout) >> 10


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    """Images of 1 MB each, all in one row group."""
    noise = np.random.default_rng(0)
    images = [
        encoded(Image.fromarray(noise.integers(0, 256, (600, 600, 3), dtype=np.uint8)), "BMP")
        for _ in range(90)
    ]
    few = image_parquet(tmp_path / "few.parquet", {"image": images[:4]})
    many = image_parquet(tmp_path / "many.parquet", {"image": images})
    least = peak(few, str(few))
    assert peak(many, str(many)) < least + 30
    (tmp_path / "many").mkdir()
    for index, content in enumerate(images):
        (tmp_path / "many" / f"{index}.bmp").write_bytes(content)
    assert peak(tmp_path / "many", "many/") < least + 30
