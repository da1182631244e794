"""What is above a modality needs none in particular: images with a head train and score, too."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, ViTConfig, ViTForImageClassification

from offsite.events import Monitor
from offsite.families import Family
from offsite.families.table import FAMILIES
from offsite.layers import Loaded, batch_loss, example_losses, freeze, inference
from offsite.modality import IGNORED, MODALITIES, Batch, Encoded, Modality, Public, Score
from offsite.rows import DataFile
from offsite.training.checkpoints import Checkpoints
from offsite.training.data import Shuffled, batches
from offsite.training.evaluate import mean_loss, score
from offsite.training.parallel import Objective
from offsite.training.run import Plan, Run
from offsite.training.train import fit
from offsite_testing.core import input_ids, loaded, silent, some_batch
from offsite_testing.events import Wire, recording
from offsite_testing.tiny import tiny_model

CLASSES, SIDE, PATCHES = 3, 8, 4


@dataclass(frozen=True)
class Image:
    """An image by its seed, drawn when it is needed, with its class."""

    seed: int
    label: int
    size: int = PATCHES + 1
    weight: int = 1

    def pixels(self) -> Tensor:
        noise = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(self.seed))
        noise[self.label] += 1.0
        return noise


@dataclass(frozen=True)
class Accuracy:
    examples: tuple[Image, ...]
    cut: int = 0
    unscored: str = ""

    def outcomes(self, model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
        return (logits(model, hidden).argmax(-1) == batch.targets).float()

    def scores(self, outcomes: Tensor) -> Sequence[Score]:
        return [Score("accuracy", float(outcomes.mean()))]

    def details(self, outcomes: Tensor) -> Sequence[str]:
        return ()


def logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    found: Tensor = model.get_submodule("classifier")(hidden[:, 0])
    return found


class Images:
    """Images with one class each; an image has no companion file here."""

    distill_weights = (0.0, 1.0)

    @classmethod
    def open(cls, view: Path, folder: Path, row: Family, model: PreTrainedModel) -> "Images":
        return cls()

    @staticmethod
    def check(data: DataFile) -> None:
        pass

    @staticmethod
    def read(data: DataFile) -> Sequence[Image]:
        count = int(data.path.read_text())
        return [Image(seed, seed % CLASSES) for seed in range(count)]

    def without_targets(self) -> "Images":
        return self

    def encode(self, rows: Sequence[Image], length: int, least: int = 1) -> Encoded[Image]:
        return Encoded(tuple(rows))

    def benchmark(self, rows: Sequence[Image]) -> Accuracy:
        return Accuracy(tuple(rows))

    def canaries(self, count: int, size: int, draw: Random) -> Sequence[Image]:
        return [Image(draw.getrandbits(32), draw.randrange(CLASSES)) for _ in range(count)]

    def public(self) -> Sequence[Public]:
        batch = self.collate([Image(seed, seed % CLASSES) for seed in range(8)])
        places = torch.arange(PATCHES + 1).expand_as(batch.mask)
        ways = torch.full((PATCHES + 1, PATCHES + 1), -1)
        return [Public("noise", batch, batch.mask.cumsum(1), (places,), (ways,))]

    def predictions(self, model: PreTrainedModel, hidden: Tensor) -> Tensor:
        return logits(model, hidden)

    def collate(self, examples: Sequence[Image], seed: str | None = None) -> Batch:
        mask = torch.ones(len(examples), PATCHES + 1, dtype=torch.bool)
        pixels = torch.stack([example.pixels() for example in examples])
        labels = torch.tensor([example.label for example in examples])
        return Batch({"pixel_values": pixels}, labels, mask, unit="images")

    def summed_loss(self, model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
        return nn.functional.cross_entropy(logits(model, hidden), batch.targets, reduction="sum")

    def losses(self, model: PreTrainedModel, hidden: Tensor, batch: Batch) -> Tensor:
        each = nn.functional.cross_entropy(logits(model, hidden), batch.targets, reduction="none")
        return each.double()

    def save(self, folder: Path) -> None:
        pass


@pytest.fixture
def images() -> Loaded:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "image_size": SIDE,
        "patch_size": SIDE // 2,
        "num_labels": CLASSES,
    }
    model: Any = ViTForImageClassification(ViTConfig(**sizes))
    modality: Modality = Images()
    return Loaded(freeze(model), modality, torch.float32)


@pytest.fixture
def examples(images: Loaded, tmp_path: Path) -> tuple[Image, ...]:
    (tmp_path / "count").write_text("60")
    rows = images.modality.read(DataFile(tmp_path / "count"))
    return images.modality.encode(rows, 1).examples


def test_the_loss_of_images_is_that_of_transformers(
    images: Loaded, examples: tuple[Image, ...]
) -> None:
    (batch,) = batches(examples, images.modality.collate, 60)
    with inference():
        found = batch_loss(images.model, images.modality, batch)
        each = example_losses(images.model, images.modality, batch)
        expected = images.model(**batch.inputs, labels=batch.targets).loss
    assert found.item() == pytest.approx(expected.item(), rel=1e-3)
    assert each.mean().item() == pytest.approx(found.item(), rel=1e-3)
    assert mean_loss(images, examples, silent()) == pytest.approx(found.item(), rel=5e-3)


def test_a_head_learns_images_in_the_same_loop(
    images: Loaded, examples: tuple[Image, ...], tmp_path: Path
) -> None:
    bench, events = images.modality.benchmark(examples), list[Wire]()
    (before,) = score(images, bench, silent(), "score")
    head = images.model.get_submodule("classifier").requires_grad_(True)
    objective = Objective(
        (images.model,),
        dict(head.named_parameters()),
        partial(batch_loss, images.model, images.modality),
    )
    fit(
        objective,
        Shuffled(examples, images.modality.collate, 16, seed=1),
        Run(
            Plan(steps=60, learning_rate=0.05, seed=1),
            Checkpoints(tmp_path / "checkpoint.safetensors"),
            Monitor(recording(events)),
        ),
        phase="head",
        validate=lambda: mean_loss(images, examples, silent()),
    )
    (after,) = score(images, bench, silent(), "score")
    assert before.value < 0.6 < 0.9 < after.value
    assert "tokensPerSecond" not in events[-1]
    assert events[-1]["imagesPerSecond"] > 0


def test_every_family_names_a_modality() -> None:
    assert {row.modality for row in FAMILIES} <= MODALITIES.keys()


def test_the_parts_of_a_batch_are_its_examples() -> None:
    batch = some_batch(rows=5)
    rows = [row for rank in range(3) for row in input_ids(batch.part(rank, 3)).tolist()]
    assert sorted(rows) == sorted(input_ids(batch).tolist())
    single = batch.part(4, len(batch))
    assert input_ids(single).tolist() == [input_ids(batch)[4].tolist()]


def test_a_worker_without_an_example_has_one_that_counts_for_nothing() -> None:
    batch, model = some_batch(rows=2), tiny_model("llama")
    nothing = batch.part(2, 3)
    assert len(nothing) == 1
    assert (nothing.targets == IGNORED).all()
    assert not nothing.mask.any()
    assert example_losses(model, loaded(model).modality, nothing).tolist() == [0.0]
