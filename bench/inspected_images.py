"""`make bench`: the figures by which inspection tells honest vision emulators from traps.

Honest ones: a small model of every family, untrained, and trained to tell the kinds of generated
images, with its emulators; and those of a model folder, if one is given, such as the one that
`offsite demo --vision` unpacks. Traps: those of the tests. docs/inspection.md has the table.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from inspection import MONITOR, WAYS, emulators, made, show, show_bounds
from PIL import Image
from transformers import AutoModelForImageClassification, PreTrainedModel
from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from offsite.families import family_of
from offsite.inspection import inspect
from offsite.layers import Loaded, batch_loss, blocks, freeze, load
from offsite.modality import Batch, Images
from offsite.modality.images import ImageExample
from offsite.modality.images.generated import generated
from offsite.rows import ImageRow
from offsite.training.data import Shuffled, batches
from offsite_testing.image_traps import IMAGE_TRAPS, make_image_trap
from offsite_testing.tiny import VISION, tiny_config

_SIDE, _PATCH, _WIDTH, _CLASSES, _BATCH = 32, 4, 64, 3, 16
_STEPS, _RATE = 200, 1e-3
_SEED = 9
"""Another one than that of the public images."""


def main() -> None:
    """Measure, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--model", type=Path, help="a folder with a vision model")
    parser.add_argument("--images", type=Path, help="a folder of images, to heal and distil it on")
    options = parser.parse_args()
    show_bounds()
    for name in VISION:
        show(f"{name}, untrained", [inspect(_small(name, 0), MONITOR)])
        loaded = _small(name, _STEPS)
        every = emulators(loaded, (1, 2), _stacked(loaded, _generated()))
        show(f"{name}, and its emulators", [inspect(each, MONITOR) for each in every])
    if options.model:
        images = _images_in(options.images) if options.images else _generated()
        _of_folder(load(options.model), images)
    for title, trap in IMAGE_TRAPS.items():
        show(f"trap: {title}", [inspect(make_image_trap(trap), MONITOR)])


def _of_folder(loaded: Loaded, images: Sequence[Image.Image]) -> None:
    depth, stacked = len(blocks(loaded.model)), _stacked(loaded, images)
    show(f"the model, {depth} blocks", [inspect(loaded, MONITOR)])
    for ends, keep in ((2, depth // 3), (2, depth // 6), (1, 1)):
        for how, emulator in zip(WAYS, made(loaded, ends, keep, stacked), strict=True):
            show(f"{2 * ends + keep} of {depth} blocks, {how}", [inspect(emulator, MONITOR)])


def _small(name: str, steps: int) -> Loaded:
    """Make a small model of a family, with transformers' own initial weights, and train it."""
    torch.manual_seed(0)
    config = tiny_config(name, **_sizes(VISION[name]), num_labels=_CLASSES)
    row = family_of(config.to_dict())
    model: PreTrainedModel = AutoModelForImageClassification.from_config(
        config, attn_implementation=row.attention
    )
    patches: dict[str, Any] = {"patch_size": _PATCH, "max_num_patches": (_SIDE // _PATCH) ** 2}
    processor = (
        Siglip2ImageProcessorPil(**patches)
        if row.resolution == "patches"
        else ViTImageProcessorPil(size={"height": _SIDE, "width": _SIDE})
    )
    loaded = Loaded(freeze(model), Images.of(processor, model), torch.float32)
    _train(loaded, steps)
    return loaded


def _sizes(known: dict[str, Any]) -> dict[str, Any]:
    """Give the sizes of a small model, where the config of its family has them."""
    if "vision_config" in known:
        return {"vision_config": {**known["vision_config"], **_sizes(known["vision_config"])}}
    wanted = {
        "hidden_size": _WIDTH,
        "intermediate_size": 4 * _WIDTH,
        "image_size": _SIDE,
        "num_patches": (_SIDE // _PATCH) ** 2,
        "mlp_ratio": 4,
    }
    return {key: value for key, value in wanted.items() if key in known}


def _train(loaded: Loaded, steps: int) -> None:
    """Train every tensor of a model to tell the kinds of images."""
    model = loaded.model.requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE)
    examples = _examples(loaded, _generated(), _CLASSES)
    batch_at = Shuffled(examples, loaded.modality.collate, _BATCH, seed=0)
    for step in range(steps):
        optimizer.zero_grad()
        batch_loss(model, loaded.modality, batch_at(step)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    freeze(model)


def _generated(count: int = 48) -> list[Image.Image]:
    """Draw images, one of each kind in turn."""
    kinds = generated(count, _SEED).values()
    return [image for images in zip(*kinds, strict=True) for image in images]


def _images_in(folder: Path) -> list[Image.Image]:
    return [Image.open(path).convert("RGB") for path in sorted(folder.glob("*.png"))[:256]]


def _examples(loaded: Loaded, images: Sequence[Image.Image], classes: int) -> list[ImageExample]:
    assert isinstance(loaded.modality, Images)
    size = loaded.modality.pixels.positions
    rows = [ImageRow(None, "", f"{n}", image.copy) for n, image in enumerate(images)]
    return [ImageExample(row, n % classes, size) for n, row in enumerate(rows)]


def _stacked(loaded: Loaded, images: Sequence[Image.Image]) -> list[Batch]:
    """Batch images, to heal and to distil on."""
    return batches(_examples(loaded, images, 1), loaded.modality.collate, 8)


if __name__ == "__main__":
    main()
