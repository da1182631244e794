"""From images to what a model reads: its own image processor, and augmentation before it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import exp, log, sqrt
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image
from PIL.Image import Resampling, Transpose
from torch import Tensor
from transformers import PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor

from offsite.modality.images.probe import probed

_LEAST_SHARE = 0.5
_LARGEST_RATIO = 4 / 3


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

    def __call__(self, image: Image.Image, draw: Random | None = None) -> Mapping[str, Tensor]:
        """Turn an image into tensors; with `draw`, crop and flip it at random before."""
        if draw is None:
            return _processed(self.processor, image)
        image = image.crop(self._crop(image.size, draw))
        if draw.random() < 0.5:
            image = image.transpose(Transpose.FLIP_LEFT_RIGHT)
        if len(self.shape) < 3:
            return _processed(self.processor, image)
        # a processor that crops the middle would cut away more
        _, height, width = self.shape
        image = image.resize((width, height), self._resampling)
        return _processed(self.processor, image, do_resize=False, do_center_crop=False)

    def _crop(self, size: tuple[int, int], draw: Random) -> tuple[int, int, int, int]:
        """Draw a box: 50 to 100 % of what the model would see, in a ratio of 3:4 to 4:3.

        On average, things are as large as when the model is used (FixRes, arXiv 1906.06423).
        """
        side, aspect = min(size), _LARGEST_RATIO
        seen = (side, side) if self._keeps_ratio else size
        share = draw.uniform(_LEAST_SHARE, 1)
        ratio = exp(draw.uniform(-log(aspect), log(aspect)))
        wanted = (seen[0] * sqrt(share * ratio), seen[1] * sqrt(share / ratio))
        width, height = (
            min(most, max(1, round(each))) for most, each in zip(size, wanted, strict=True)
        )
        left, top = draw.randint(0, size[0] - width), draw.randint(0, size[1] - height)
        return left, top, left + width, top + height

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
