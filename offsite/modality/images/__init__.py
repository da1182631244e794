"""Images: the image processor of a model, and the loss of its classifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoImageProcessor, PreTrainedModel
from transformers.image_processing_utils import BaseImageProcessor

from offsite.families import Family
from offsite.modality.pretrained import LOCAL

__all__ = ["Images"]


@dataclass(frozen=True)
class Images:
    """Images for one model. Implements `Modality`."""

    processor: BaseImageProcessor
    labels: tuple[str, ...]
    """The names of the model's classes, in their order; empty: it has no head."""

    @classmethod
    def open(cls, view: Path, folder: Path, row: Family, model: PreTrainedModel) -> "Images":
        """Load the image processor of a model."""
        processor: Any = AutoImageProcessor.from_pretrained(view, backend="pil", **LOCAL)
        return cls.of(processor, model)

    @classmethod
    def of(cls, processor: BaseImageProcessor, model: PreTrainedModel) -> "Images":
        """Put an image processor beside a model."""
        names: dict[Any, str] = dict(model.config.id2label or {})
        return cls(processor, tuple(str(names[number]) for number in sorted(names)))

    @staticmethod
    def read(data: Any) -> Sequence[Any]:
        """Read images; none are supported yet."""
        raise NotImplementedError

    encode = benchmark = canaries = public = predictions = read
    collate = summed_loss = losses = read

    def save(self, folder: Path) -> None:
        """Write the image processor's file."""
        self.processor.save_pretrained(folder)
