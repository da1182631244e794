"""Checks, on images of one color, that an image processor and a model fit together."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from offsite.errors import ModelError
from offsite.families import family_of
from offsite.modality.images.processor import FILE

Process = Callable[[Image.Image], Mapping[str, Tensor]]
"""Makes what a model reads of one image: tensors by name, without the dimension B."""

_PROBES = ((32, 48, "white"), (80, 16, "black"))
_LARGEST = 1e4
"""Largest value that a model reads; usual processors stay below 10."""


def probed(process: Process, model: PreTrainedModel, folder: Path) -> tuple[int, tuple[int, ...]]:
    """Find out how many positions a model has for an image, and the shape of what it reads.

    Args:
        folder: where the processor is from, for messages.

    Raises:
        ModelError: the processor fails, or makes what the model does not read. So it would for the
            images of a user.
    """
    found = [_made(process, *each, folder) for each in _PROBES]
    values = [each["pixel_values"] for each in found]
    shapes = {tuple(each.shape) for each in values}
    if len(shapes) > 1:
        raise _unfit(folder, "makes inputs of different shapes; set do_center_crop and crop_size")
    if not all(each.isfinite().all() and each.abs().max() <= _LARGEST for each in values):
        raise _unfit(folder, "makes values that are too large; correct image_mean and image_std")
    return _positions(found[0], model, folder), shapes.pop()


def _made(
    process: Process, width: int, height: int, color: str, folder: Path
) -> Mapping[str, Tensor]:
    try:
        return process(Image.new("RGB", (width, height), color))
    # of values that do not go together, transformers raises anything at all
    except Exception as error:
        raise _unfit(folder, f"fails: {_line(error)}; correct it") from error


class _Reached(Exception):
    """The first block is about to run on a hidden state, (1, T, D)."""


def _positions(inputs: Mapping[str, Tensor], model: PreTrainedModel, folder: Path) -> int:
    """Run a model up to its first block, and count the positions there."""

    def stop(_block: Any, args: tuple[Any, ...]) -> None:
        raise _Reached(args[0].shape[1])

    row = family_of(model.config.to_dict())
    batch = {name: each[None] for name, each in inputs.items()}
    first = model.get_submodule(row.blocks).get_submodule("0")
    try:
        with torch.no_grad(), first.register_forward_pre_hook(stop):
            model.get_submodule(row.base)(**batch, **row.arguments)
    except _Reached as reached:
        return int(reached.args[0])
    # of other sizes, or another number of channels, a model raises anything at all
    except Exception as error:
        raise _unfit(
            folder,
            f"does not make what the model reads: {_line(error)}; correct size or crop_size",
        ) from error
    raise AssertionError("a model runs its first block")


def _unfit(folder: Path, what: str) -> ModelError:
    return ModelError(f"the image processor of {folder} {what} in its {FILE}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
