"""Images: rows of labelled images, patches as positions, and the loss of a classifier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import ClassVar, NoReturn

from torch import Tensor
from transformers import PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor

from offsite.api import Augmentation
from offsite.errors import DataError
from offsite.families import Family, family_of
from offsite.harness import Source
from offsite.modality.batch import Batch
from offsite.modality.contract import Encoded, Public
from offsite.modality.images.canaries import canary
from offsite.modality.images.examples import ImageExample, collate, encode
from offsite.modality.images.loss import logits, losses, summed_loss
from offsite.modality.images.pixels import Pixels
from offsite.modality.images.processor import load_processor
from offsite.modality.images.public import public_images
from offsite.modality.images.scoring import Classification, benchmark
from offsite.rows import DataFile, ImageRow, image_rows, read_images

__all__ = ["ImageExample", "Images"]


@dataclass(frozen=True)
class Images:
    """Images for one model. Implements `Modality`."""

    pixels: Pixels
    labels: tuple[str, ...]
    """The names of the model's classes, in their order; empty: it has no head."""
    prefix: int
    """Positions before the patches: the class token, and registers."""
    augmentation: Augmentation = "CropAndFlip"
    distill_weights: ClassVar[tuple[float, float]] = (0.0, 1.0)
    """Those of Xiao et al. (2023), section 4.1."""

    @classmethod
    def open(cls, view: Path, folder: Path, row: Family, model: PreTrainedModel) -> "Images":
        """Load the image processor of a model."""
        return cls.of(load_processor(view, folder), model, folder)

    @classmethod
    def of(
        cls, processor: BaseImageProcessor, model: PreTrainedModel, folder: Path = Path()
    ) -> "Images":
        """Put an image processor beside a model, and check that they fit.

        Args:
            folder: where they are from, for messages.
        """
        config = model.config.to_dict()
        row = family_of(config)
        prefix = row.prefix_tokens(row.complete(config))
        return cls(Pixels.of(processor, model, folder), labels_of(model), prefix)

    def with_labels(self, labels: Sequence[str]) -> "Images":
        """Return the modality of a model with a head for other classes."""
        return replace(self, labels=tuple(labels))

    @staticmethod
    def check(data: DataFile) -> None:
        """Decode every image of a data set once."""
        read_images(data)

    @staticmethod
    def read(data: DataFile) -> Sequence[ImageRow]:
        """List the images of a folder, JSON lines or Parquet; their pixels stay on the disk."""
        return image_rows(data)

    def augmenting(self, how: Augmentation) -> "Images":
        """Return the modality that crops and flips images, only crops them, or does neither."""
        return replace(self, augmentation=how)

    def without_targets(self) -> "Images":
        """Return the modality for images whose labels are not read."""
        return self.with_labels(())

    def encode(
        self, rows: Sequence[ImageRow], length: int, least: int = 1
    ) -> Encoded[ImageExample]:
        """Turn rows into examples; their size is the model's own, and not to be chosen."""
        return Encoded(encode(rows, self.labels, self.pixels.positions))

    def benchmark(self, rows: Sequence[ImageRow]) -> Classification:
        """Encode rows to score models on by their accuracy."""
        return benchmark(rows, self.labels, self.pixels.positions)

    def scoring(self, examples: Sequence[ImageExample]) -> Classification:
        """Score models by their accuracy on examples."""
        return Classification(tuple(examples), self.labels)

    def tasks(self, _sources: Sequence[Source]) -> NoReturn:
        """Raise DataError: lm-eval has tasks for language models."""
        raise DataError("lmEval has tasks of text, which a model for images cannot read; remove it")

    def canaries(self, count: int, size: int, draw: Random) -> Sequence[ImageExample]:
        """Draw images of white noise, each with a label of its own drawing."""
        return [
            canary(f"canary {number}", len(self.labels), self.pixels, draw)
            for number in range(count)
        ]

    def public(self) -> Sequence[Public]:
        """Draw public images of several kinds, with the model's classes in turn."""
        return public_images(self.pixels, len(self.labels), self.prefix)

    def predictions(self, model: PreTrainedModel, hidden: Tensor) -> Tensor:
        """Compute the logits of each image, (B, classes)."""
        return logits(model, hidden)

    def collate(self, examples: Sequence[ImageExample], seed: str | None = None) -> Batch:
        """Decode images, and stack what the model reads of them."""
        return collate(examples, partial(self._read, seed))

    def _read(self, seed: str | None, example: ImageExample) -> Mapping[str, Tensor]:
        image = example.row.open()
        if seed is None or self.augmentation == "None":
            return self.pixels(image)
        # by its content: the name of an image may be its number, which depends on other images
        draw = Random(f"{seed}:{sha256(image.tobytes()).hexdigest()}")
        return self.pixels.augmented(image, draw, flips=self.augmentation == "CropAndFlip")

    summed_loss = staticmethod(summed_loss)
    losses = staticmethod(losses)

    def save(self, folder: Path) -> None:
        """Write the image processor's file."""
        self.pixels.processor.save_pretrained(folder)


def labels_of(model: PreTrainedModel) -> tuple[str, ...]:
    """Read the names of a model's classes from its config; none: it has no head."""
    names: dict[int, str] = model.config.to_dict()["id2label"]
    return tuple(names[number] for number in sorted(names))
