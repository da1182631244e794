"""The image processor of a model: transformers' own class, on Pillow and numpy."""

import json
from pathlib import Path
from typing import Any

from transformers import AutoImageProcessor
from transformers.image_processing_utils import BaseImageProcessor

from offsite.errors import ModelError
from offsite.modality.pretrained import LOCAL

FILE = "preprocessor_config.json"


def load_processor(view: Path, folder: Path) -> BaseImageProcessor:
    """Load the image processor of a model.

    Both parties compute the same pixels: the variant for torchvision, which another installation
    may have, resizes otherwise.

    Args:
        view: the files to load.
        folder: where they are from, for messages.

    Raises:
        ModelError: there is none, or it is damaged or of an unknown class.
    """
    if not (view / FILE).is_file():
        raise ModelError(
            f"the model {folder} has no {FILE}, which says how it reads images; put the model's "
            "own there"
        )
    try:
        found: Any = AutoImageProcessor.from_pretrained(view, backend="pil", **LOCAL)
    # of damaged values, transformers raises anything at all
    except Exception as error:
        raise ModelError(
            f"cannot load the image processor in {folder}: {_described(view)} "
            f"({' '.join(str(error).split())[:300]}); put the model's own {FILE} there"
        ) from error
    assert isinstance(found, BaseImageProcessor)
    return found


def _described(view: Path) -> str:
    try:
        kind = json.loads((view / FILE).read_bytes()).get("image_processor_type")
    except (ValueError, AttributeError):
        return f"{FILE} is no JSON object"
    return f"{kind!r} cannot be made of {FILE}"
