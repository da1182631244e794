"""Images as a modality: pixels, augmentation, losses, scores and canaries, on tiny real models."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoImageProcessor
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from offsite.api import Augmentation
from offsite.errors import DataError, ModelError
from offsite.events import Monitor
from offsite.layers import batch_loss, example_losses, inference
from offsite.modality import IGNORED, Batch, Images
from offsite.modality.images.augment import crop_box
from offsite.modality.images.processor import FILE
from offsite.rows import DataFile, ImageRow
from offsite.training import data
from offsite.training.checkpoints import Checkpoints
from offsite.training.data import Shuffled
from offsite.training.evaluate import mean_loss, score
from offsite.training.parallel import Objective
from offsite.training.private import PoissonSamples
from offsite.training.run import Plan, Run
from offsite.training.train import fit
from offsite_testing.core import loaded, silent
from offsite_testing.events import Wire, recording
from offsite_testing.images import CLASSES, tinted, tinted_folder
from offsite_testing.tiny import SIDE, VISION, tiny_model

each_vision_family = pytest.mark.parametrize("name", VISION)
MANY = tuple(f"class {number}" for number in range(12))


def rows(count: int = 9, labels: tuple[str, ...] = CLASSES) -> list[ImageRow]:
    return [row(labels[number % len(labels)], number) for number in range(count)]


def row(label: str | None, number: int = 0) -> ImageRow:
    shown = label if label in CLASSES else CLASSES[number % 3]
    return ImageRow(label, "", f"{number}.png", partial(tinted, shown, number))


def images(name: str = "vit", labels: tuple[str, ...] = CLASSES, **over: Any) -> tuple[Any, Images]:
    """Make a tiny model with a head for some classes."""
    named = dict(enumerate(labels))
    model = tiny_model(name, **{"num_labels": len(labels), **over}, id2label=named)
    found = loaded(model).modality
    assert isinstance(found, Images)
    return model, found


@each_vision_family
def test_losses_and_predictions_are_those_of_transformers(name: str) -> None:
    model, modality = images(name)
    batch = modality.collate(modality.encode(rows(), 1).examples)
    with inference():
        found = batch_loss(model, loaded(model).modality, batch)
        each = example_losses(model, loaded(model).modality, batch)
        expected = model(**batch.inputs, labels=batch.targets).loss
    assert found.item() == pytest.approx(expected.item(), rel=1e-3)
    assert each.mean().item() == pytest.approx(found.item(), rel=1e-3)
    assert (batch.unit, batch.amount) == ("images", 9)


@each_vision_family
def test_pixels_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    _, modality = images(name)
    modality.save(tmp_path)
    reference: Any = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    expected = reference([each.open() for each in rows()], return_tensors="pt")
    batch = modality.collate(modality.encode(rows(), 1).examples)
    assert {*batch.inputs} == {*expected}
    assert all(torch.equal(batch.inputs[key], expected[key]) for key in expected)


def test_an_augmented_image_depends_on_the_seed_and_itself_alone() -> None:
    """So that the contribution of a unit to a private step has a bound, and workers agree."""
    _, modality = images()
    examples = modality.encode(rows(), 1).examples

    def pixels(seed: str | None, chosen: tuple[Any, ...] = examples) -> Tensor:
        return modality.collate(chosen, seed).inputs["pixel_values"]

    whole = pixels("1:5")
    assert torch.equal(whole, pixels("1:5"))
    assert torch.equal(whole.flip(0), pixels("1:5", examples[::-1]))
    assert torch.equal(whole[3:4], pixels("1:5", examples[3:4]))
    plain = pixels(None)
    for other in (pixels("1:6"), pixels("2:5"), plain):
        assert not any(torch.equal(one, two) for one, two in zip(whole, other, strict=True))
    assert whole.shape == plain.shape


def test_training_augments_and_evaluation_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    model, modality = images()
    seeds: list[str | None] = []
    collate = Images.collate

    def note(self: Images, examples: Any, seed: str | None = None) -> Batch:
        seeds.append(seed)
        return collate(self, examples, seed)

    monkeypatch.setattr(Images, "collate", note)
    examples = modality.encode(rows(), 1).examples
    batches = Shuffled(examples, modality.collate, 3, seed=4)
    assert torch.equal(batches(2).inputs["pixel_values"], batches(2).inputs["pixel_values"])
    assert seeds == ["4:2", "4:2"]
    mean_loss(loaded(model), examples, silent())
    assert {*seeds[2:]} == {None}


def test_workers_share_what_one_would_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each decodes its own part only, and augments it as one worker would."""
    _, modality = images()
    opened: list[str] = []

    def note(made: ImageRow) -> Image.Image:
        opened.append(made.name)
        return made.open()

    noted = [replace(each, open=partial(note, each)) for each in rows(7)]
    batch_at = Shuffled(modality.encode(noted, 1).examples, modality.collate, 7, seed=1)
    whole, parts = batch_at(0), []
    opened.clear()
    monkeypatch.setattr(data, "workers", lambda: 3)
    for rank in range(3):
        monkeypatch.setattr(data, "rank", lambda rank=rank: rank)
        parts.append(batch_at(0))
    assert sorted(opened) == sorted(each.name for each in noted)
    for rank, part in enumerate(parts):
        expected = whole.part(rank, 3)
        assert torch.equal(part.inputs["pixel_values"], expected.inputs["pixel_values"])
        assert torch.equal(part.targets, expected.targets)
    monkeypatch.setattr(data, "workers", lambda: 8)
    monkeypatch.setattr(data, "rank", lambda: 7)
    assert batch_at(0).targets.tolist() == [IGNORED]


def test_a_private_step_augments_each_unit_by_itself() -> None:
    """If a unit changed the crops of others, the bound on its effect would not hold."""
    _, modality = images()
    units = [[example] for example in modality.encode(rows(5), 1).examples]
    whole = PoissonSamples(units, modality.collate, 1.0, seed=3)(2)
    less = PoissonSamples(units[1:], modality.collate, 1.0, seed=3)(2)
    assert (whole.unit, whole.amount, less.amount) == ("images", 5, 4)
    assert whole.seed == less.seed == "3:2"
    every = modality.collate([example for unit in units for example in unit], whole.seed)
    others = modality.collate([example for unit in units[1:] for example in unit], less.seed)
    assert torch.equal(every.inputs["pixel_values"][1:], others.inputs["pixel_values"])


@pytest.mark.parametrize("size", [(64, 64), (300, 40), (40, 300), (1, 1), (97, 3)])
@pytest.mark.parametrize("kept", [True, False], ids=["keeps the ratio", "stretches"])
def test_crops_are_inside_and_large_enough(size: tuple[int, int], kept: bool) -> None:
    (width, height), crops = size, []
    for number in range(300):
        left, top, right, bottom = crop_box(size, Random(number), square=kept)
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        crops.append((right - left, bottom - top))
    seen = min(size) ** 2 if kept else width * height
    shares = [w * h / seen for w, h in crops]
    if min(size) >= 40:
        assert 0.4 < min(shares) < 0.6 < 0.8 < max(shares) < 1.05
        ratios = [(w / h) / (1 if kept else width / height) for w, h in crops]
        assert min(ratios) < 0.85 < 1.15 < max(ratios)
        assert 0.7 < min(ratios) < max(ratios) < 1.4


def test_flips_and_augmentation_can_be_turned_off() -> None:
    """Flips, where left and right have a meaning."""
    _, modality = images()
    (example,) = modality.encode(rows(1), 1).examples

    def pixels(how: Augmentation, seed: str | None) -> Tensor:
        return modality.augmenting(how).collate([example], seed).inputs["pixel_values"]

    flipped = 0
    for number in range(20):
        both, crop = pixels("CropAndFlip", str(number)), pixels("Crop", str(number))
        flipped += not torch.equal(both, crop)
        assert torch.equal(both, crop) or torch.allclose(both, crop.flip(-1), atol=0.05)
        assert torch.equal(pixels("None", str(number)), pixels("CropAndFlip", None))
    assert 5 < flipped < 15


@pytest.mark.parametrize("kept", [True, False], ids=["keeps the ratio", "stretches"])
def test_a_crop_is_of_what_the_model_sees(kept: bool) -> None:
    """One that keeps the ratio sees the middle square: a crop of a wide image is no wider strip."""
    crop = {"height": SIDE, "width": SIDE}
    made: Any = BitImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=crop)
    if not kept:
        made = ViTImageProcessorPil(size=crop)
    pixels = Images.of(made, tiny_model("dinov2")).pixels
    ramp = np.linspace(0, 255, 400).astype(np.uint8)[None, :, None].repeat(40, 0).repeat(3, 2)
    shown = pixels.augmented(Image.fromarray(ramp), Random(1), flips=False)["pixel_values"]
    span = float(shown[0, 0, -1] - shown[0, 0, 0]) * made.image_std[0]
    assert 0.05 < span < 0.2 if kept else 0.5 < span < 1


def test_pixels_stay_on_the_disk_until_a_batch_needs_them() -> None:
    opened: list[str] = []

    def note(name: str) -> Any:
        opened.append(name)
        return tinted("red")

    made = [replace(each, open=partial(note, each.name)) for each in rows(6)]
    _, modality = images()
    examples = modality.encode(made, 1).examples
    modality.benchmark(made)
    assert opened == []
    modality.collate(examples[:2])
    assert sorted(opened) == ["0.png", "1.png"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": {"height": 24, "width": 24}}, "does not make what the model reads"),
        ({"do_resize": False}, "different shapes; set do_center_crop and crop_size"),
        ({"image_std": [1e-9, 1e-9, 1e-9]}, "values that are too large; correct image_mean"),
        ({"image_mean": [0.5, 0.5]}, "fails: "),
        ({"image_processor_type": "NoneSuch"}, "'NoneSuch' cannot be made of"),
        (None, f"has no {FILE}"),
    ],
)
def test_a_processor_that_does_not_fit_is_refused_at_once(
    change: dict[str, Any] | None, said: str, tmp_path: Path
) -> None:
    model, modality = images()
    modality.save(tmp_path)
    path = tmp_path / FILE
    if change is None:
        path.unlink()
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=said):
        Images.open(tmp_path, tmp_path, None, model)  # type: ignore[arg-type]


def test_a_model_may_read_other_sizes_if_it_can() -> None:
    """DINOv2 interpolates its positions: so many patches, and a class token."""
    sizes = {"height": 2 * SIDE, "width": SIDE}
    found = Images.of(ViTImageProcessorPil(size=sizes), tiny_model("dinov2"))
    assert found.pixels.positions == 1 + 10 * 5


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (None, "0.png has no label"),
        ("pink", r"0.png has the label 'pink', .* \(blue, green, red\)"),
    ],
)
def test_a_label_that_is_no_class_is_named(label: str | None, said: str) -> None:
    _, modality = images()
    with pytest.raises(DataError, match=said):
        modality.encode([row(label)], 1)
    (example,) = modality.without_targets().encode([row(label)], 1).examples
    assert (example.target, example.weight) == (IGNORED, 0)


def test_a_model_without_a_head_has_no_loss_and_no_score() -> None:
    model = tiny_model("vit", num_labels=0)
    made = loaded(model)
    assert isinstance(made.modality, Images)
    assert made.modality.labels == ()
    examples = made.modality.encode(rows(), 1).examples
    assert mean_loss(made, examples, silent()) == 0
    assert "has no head" in made.modality.benchmark(rows()).unscored


def test_accuracy_is_that_of_brute_force() -> None:
    model, modality = images(labels=MANY)
    labelled = [row(MANY[number % 12], number) for number in range(40)]
    batch = modality.collate(modality.encode(labelled, 1).examples)
    with inference():
        logits = model(**batch.inputs).logits
    first = (logits.argmax(1) == batch.targets).double().mean()
    five = (logits.topk(5).indices == batch.targets[:, None]).any(1).double().mean()
    found = score(loaded(model), modality.benchmark(labelled), silent(), "x")
    assert [each.metric for each in found] == ["accuracy", "accuracy_top5"]
    assert [each.value for each in found] == [pytest.approx(first), pytest.approx(five)]
    assert all(each.interval and each.interval[0] < each.value < each.interval[1] for each in found)


def test_what_is_not_a_number_is_wrong_and_so_is_a_tie() -> None:
    model, modality = images()
    bench = modality.benchmark(rows())
    batch = modality.collate(bench.examples)
    head = model.get_submodule("classifier")
    hidden = torch.zeros(9, 26, 32)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    assert bench.outcomes(model, hidden, batch)[:, 0].tolist() == [2.0] * 9
    nn.init.constant_(head.weight, torch.nan)
    (found,) = bench.scores(bench.outcomes(model, hidden, batch))
    assert found.value == 0


def test_a_class_that_the_model_lacks_is_wrong() -> None:
    model, modality = images(labels=("green", "blue"))
    bench = modality.benchmark(rows())
    assert bench.unscored == ""
    events: list[Wire] = []
    told = Monitor(recording(events))
    (found,) = score(loaded(model), bench, told, "evaluate")
    assert found.value <= 6 / 9
    logs = [event["message"] for event in events if event["event"] == "log"]
    assert any("evaluate: 3 of 9 images are of classes that the model lacks" in log for log in logs)
    (by_class,) = [log for log in logs if "loss by class" in log]
    assert by_class.count("(3 images, accuracy ") == 2
    assert "none of the classes" in modality.benchmark([row("pink")]).unscored
    assert "no labels" in modality.benchmark([row(None)]).unscored


def test_the_loss_by_class_is_the_mean_of_its_images() -> None:
    model, modality = images(labels=("green\u202e", "blue", "red"))
    labelled = [row(("green\u202e", "blue", "red")[number % 3], number) for number in range(9)]
    bench = modality.benchmark(labelled)
    batch = modality.collate(bench.examples)
    with inference():
        hidden = model.vit(**batch.inputs)[0]
        line, *_ = bench.details(bench.outcomes(model, hidden, batch))
        expected = modality.losses(model, hidden, batch)[batch.targets == 1].mean()
    assert f"blue {expected:.3g} (3 images" in line
    assert "\u202e" not in line


def test_a_head_learns_in_the_same_loop(tmp_path: Path) -> None:
    source = DataFile(tinted_folder(tmp_path / "data", 6), "data/")
    model, modality = images()
    made = loaded(model)
    found = modality.read(source)
    examples, bench = modality.encode(found, 1).examples, modality.benchmark(found)
    (before,) = score(made, bench, silent(), "score")
    head = model.get_submodule("classifier").requires_grad_(True)
    events: list[Wire] = []
    fit(
        Objective(
            (model,), dict(head.named_parameters()), partial(batch_loss, model, made.modality)
        ),
        Shuffled(examples, modality.collate, 9, seed=1),
        Run(
            Plan(steps=25, learning_rate=0.1, seed=1),
            Checkpoints(tmp_path / "checkpoint.safetensors"),
            Monitor(recording(events)),
        ),
        phase="head",
    )
    (after,) = score(made, bench, silent(), "score")
    assert before.value < 0.7 < 0.9 < after.value
    assert "tokensPerSecond" not in events[-1]
    assert events[-1]["imagesPerSecond"] > 0


def test_canaries_are_noise_of_their_own() -> None:
    _, modality = images()
    made = modality.canaries(30, 5, Random("secret"))
    again = modality.canaries(30, 5, Random("secret"))
    other = modality.canaries(30, 5, Random("another"))

    def pixels(examples: Any) -> Tensor:
        return modality.collate(examples).inputs["pixel_values"]

    assert [each.target for each in made] == [each.target for each in again]
    assert torch.equal(pixels(made), pixels(again))
    assert not torch.equal(pixels(made), pixels(other))
    assert {each.target for each in made} == {0, 1, 2}
    assert {each.weight for each in made} == {1}
    content = np.asarray(made[0].row.open()).reshape(-1)
    assert abs(np.corrcoef(content[:-3], content[3:])[0, 1]) < 0.01
