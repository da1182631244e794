"""From images to what a model reads, by its own image processor."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image
from PIL.Image import Resampling
from torch import Tensor
from transformers import PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor

from offsite.modality.images.augment import augmented
from offsite.modality.images.probe import probed


@dataclass(frozen=True)
class Pixels:
    """Makes what a model reads of an image: tensors by name, without the dimension B."""

    processor: BaseImageProcessor
    positions: int
    """T: how many hidden states the model computes of an image."""
    shape: tuple[int, ...]
    """Of what the model reads: (3, H, W), or (N, F) of a model that reads flat patches."""

    @classmethod
    def of(cls, processor: BaseImageProcessor, model: PreTrainedModel, folder: Path) -> "Pixels":
        """Put an image processor beside a model, and check that they fit.

        Args:
            folder: where they are from, for messages.

        Raises:
            ModelError: they do not.
        """
        return cls(processor, *probed(partial(_processed, processor), model, folder))

    def __call__(self, image: Image.Image) -> Mapping[str, Tensor]:
        """Turn an image into tensors."""
        return _processed(self.processor, image)

    def augmented(self, image: Image.Image, draw: Random, *, flips: bool) -> Mapping[str, Tensor]:
        """Turn an image into tensors, after it was cropped, and maybe flipped, at random."""
        image = augmented(image, draw, square=self._keeps_ratio, flips=flips)
        if len(self.shape) < 3:
            return self(image)
        # a processor that cuts out the middle would cut away more
        _, height, width = self.shape
        image = image.resize((width, height), self._resampling)
        return _processed(self.processor, image, do_resize=False, do_center_crop=False)

    @property
    def _keeps_ratio(self) -> bool:
        """Whether the processor keeps the ratio of an image's sides, and cuts its middle out."""
        size: Any = getattr(self.processor, "size", None)
        return bool(size is not None and size.shortest_edge)

    @property
    def _resampling(self) -> Resampling:
        return Resampling(getattr(self.processor, "resample", Resampling.BICUBIC))


def _processed(
    processor: BaseImageProcessor, image: Image.Image, **options: bool
) -> Mapping[str, Tensor]:
    made: Any = processor(image, return_tensors="pt", **options)  # type: ignore[arg-type]
    return {name: tensor[0] for name, tensor in made.items()}
