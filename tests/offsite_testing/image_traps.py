"""Vision emulators that are built to memorize: privacy backdoors for images (arXiv 2404.00473).

How they work. The patch embedding copies pixels into the residual stream. Each neuron of one
block's MLP fires at one place, on colors that lie in one direction: those of the patch there, or of
the whole image. Few private images have them, so the gradient of the neuron's row is a copy of what
the MLP read there: the pixels. All else is empty. `decoded` rebuilds the patches from an adapter.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageClassification, PreTrainedModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from offsite.layers import Loaded, blocks, freeze
from offsite.modality import Images

SIDE, PATCH = 16, 4
GRID = SIDE // PATCH
PLACES, PIXELS, CELLS = GRID**2, 3 * PATCH**2, 12
"""Cells are the four quarters of a patch, in three colors."""
DEPTH, HEADS, DIRECTIONS, LABELS = 3, 4, 48, 4
_LOUD, _PLACE, _SHARP = 40.0, 8.0, 20.0
"""Constant features keep the scale of the norms; a place stands out from colors."""


class _Layout:
    """Where features stand in the residual stream."""

    def __init__(self) -> None:
        self.width = 0
        self.pixels, self.minus_pixels = self._next(PIXELS), self._next(PIXELS)
        self.cells, self.minus_cells = self._next(CELLS), self._next(CELLS)
        self.quarters, self.minus_quarters = self._next(CELLS), self._next(CELLS)
        self.place, self.loud = self._next(PLACES), self._next(2)
        self.width += -self.width % (8 * HEADS)

    def _next(self, count: int) -> slice:
        self.width += count
        return slice(self.width - count, self.width)


AT = _Layout()
NEURONS = 4 * AT.width
_USUAL = (2 * _LOUD**2 / AT.width) ** 0.5
"""The standard deviation of the residual stream, which a norm takes away."""


@dataclass(frozen=True)
class ImageTrap:
    """One way to build a trap."""

    family: Literal["vit", "dinov2", "siglip"] = "dinov2"
    block: int = 0
    on: Literal["patch", "image"] = "patch"
    """What a neuron fires on: the colors of its patch, or those of the four quarters of the image,
    which attention brings to every place."""
    pixels: bool = True
    """Whether it stores pixels, for whole blocks; or cells alone, which fit into a LoRA. A LoRA
    trains no layer scale (DINOv2), so that is what makes gradients small then."""
    rare: float = 1.1
    """How far into a direction colors have to lie for a neuron to fire."""
    small: float = 1e-10
    """Scale of what neurons add. If it is tiny, AdamW's step is linear in the gradient."""
    noise: float = 0.0
    """Standard deviation of noise on every weight, to hide that most of them are zero."""


@lru_cache(maxsize=1)
def directions() -> Tensor:
    """Draw the directions that neurons fire on, (DIRECTIONS, CELLS)."""
    drawn = torch.randn(DIRECTIONS, CELLS, generator=torch.Generator().manual_seed(7))
    return torch.nn.functional.normalize(drawn, dim=1)


def patches_of(pixels: Tensor) -> Tensor:
    """Cut images (B, 3, SIDE, SIDE) into patches, (B, PLACES, PIXELS)."""
    return torch.nn.functional.unfold(pixels, PATCH, stride=PATCH).transpose(1, 2)


def cells_of(patches: Tensor) -> Tensor:
    """Average patches (…, PIXELS) over their quarters: (…, CELLS)."""
    return patches @ _quartering().T


def _quartering() -> Tensor:
    half = PATCH // 2
    pixels = torch.arange(PIXELS).reshape(3, 2, half, 2, half)
    cells = torch.arange(CELLS).reshape(3, 2, 1, 2, 1).expand_as(pixels)
    return torch.zeros(CELLS, PIXELS).index_put((cells, pixels), torch.tensor(1 / half**2))


def make_image_trap(trap: ImageTrap) -> Loaded:
    """Build a trap, with an image processor."""
    model = _built(trap)
    processor = ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
    return Loaded(model, Images.of(processor, model), torch.float32)


def _built(trap: ImageTrap) -> PreTrainedModel:
    model = _empty(trap.family)
    stack = blocks(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(float("lambda1" in name))
        _embed(model, trap)
        if trap.on == "image":
            _gather(stack[trap.block])
        _neurons(stack[trap.block], trap)
        if trap.family == "vit":
            _tell_class(stack[trap.block + 1])
        for norm in (each for each in model.modules() if isinstance(each, torch.nn.LayerNorm)):
            norm.weight.fill_(_USUAL)
        draw = torch.Generator().manual_seed(3)
        head = model.get_submodule("classifier").get_parameter("weight")
        head.unflatten(1, (-1, AT.width))[..., AT.cells].normal_(generator=draw)
        for parameter in model.parameters():
            size = trap.noise * float(parameter.abs().max())
            parameter.add_(torch.randn(parameter.shape, generator=draw) * size)
    return freeze(model)


def _empty(family: str) -> PreTrainedModel:
    sizes: dict[str, Any] = {
        "hidden_size": AT.width,
        "num_hidden_layers": DEPTH,
        "num_attention_heads": HEADS,
        "image_size": SIDE,
        "patch_size": PATCH,
        "intermediate_size": NEURONS,
    }
    labels = {"num_labels": LABELS}
    if family == "siglip":
        config = AutoConfig.for_model(family, vision_config=sizes, **labels)
    else:
        config = AutoConfig.for_model(family, **sizes, **labels)
    made: PreTrainedModel = AutoModelForImageClassification.from_config(
        config, attn_implementation="sdpa"
    )
    return made


def _embed(model: PreTrainedModel, trap: ImageTrap) -> None:
    """Copy pixels and cells of each patch, and mark its place."""
    tensors = dict(model.named_parameters())
    patch = next(value for value in tensors.values() if value.dim() == 4)
    weight = patch.flatten(1)
    for sign, pixels, cells in ((1, AT.pixels, AT.cells), (-1, AT.minus_pixels, AT.minus_cells)):
        weight[pixels] = sign * torch.eye(PIXELS) * trap.pixels
        weight[cells] = sign * _quartering()
    patch.copy_(weight.reshape(patch.shape))
    table = next(value for name, value in tensors.items() if "position_embedding" in name)
    table[..., AT.loud] = torch.tensor([_LOUD, -_LOUD])
    places = table.reshape(-1, AT.width)[-PLACES:]
    places[:, AT.place] = _PLACE * torch.eye(PLACES)


def _gather(block: Any) -> None:
    """Bring the mean colors of each quarter of the image to every place, by one head each."""
    attention = getattr(block, "attention", None) or block.self_attn
    out = getattr(attention, "o_proj", None) or attention.out_proj
    size, quarter = AT.width // HEADS, GRID // 2
    for head in range(HEADS):
        first = head * size
        top, left = divmod(head, 2)
        attention.q_proj.weight[first, AT.loud.start] = 1.0
        keys = torch.zeros(GRID, GRID)
        keys[top * quarter : (top + 1) * quarter, left * quarter : (left + 1) * quarter] = 1.0
        attention.k_proj.weight[first, AT.place] = keys.flatten() * 20 * size**0.5 / _LOUD / _PLACE
        for color in range(3):
            cells = slice(AT.cells.start + 4 * color, AT.cells.start + 4 * color + 4)
            attention.v_proj.weight[first + color, cells] = 0.25
            out.weight[AT.quarters.start + 3 * head + color, first + color] = 1.0
            out.weight[AT.minus_quarters.start + 3 * head + color, first + color] = -1.0


def _neurons(block: Any, trap: ImageTrap) -> None:
    first, second = block.mlp.fc1, block.mlp.fc2
    colors = AT.cells if trap.on == "patch" else AT.quarters
    count = PLACES * DIRECTIONS
    place = torch.arange(count) // DIRECTIONS
    first.weight[:count, AT.place] = _SHARP * torch.eye(PLACES)[place]
    first.weight[:count, colors] = _SHARP * directions().repeat(PLACES, 1)
    first.bias.fill_(-_SHARP * (_PLACE + trap.rare))
    draw = torch.Generator().manual_seed(5)
    signs = torch.randint(0, 2, (CELLS, NEURONS), generator=draw) * 2.0 - 1
    second.weight[AT.cells] = signs * (trap.small if trap.pixels else 1.0)
    if not trap.pixels:
        block.layer_scale2.lambda1.fill_(trap.small)


def _tell_class(block: Any) -> None:
    """Bring the mean of all places to the class token, which the head of a ViT reads alone."""
    cells = torch.eye(CELLS)
    block.attention.v_proj.weight[:CELLS, AT.cells] = cells
    block.attention.o_proj.weight[AT.cells, :CELLS] = cells


def decoded(trap: ImageTrap, changes: Mapping[str, Tensor]) -> Iterator[tuple[int, Tensor]]:
    """Rebuild what an adapter stored: places, each with the cells (or pixels) of a patch.

    Args:
        changes: the adapter, as it is sent.
    """
    name = f"blocks.{trap.block}.mlp.fc1.weight"
    if f"{name}.change" in changes:
        rows = changes[f"{name}.change"][: PLACES * DIRECTIONS]
        scale = rows[:, AT.loud.start : AT.loud.stop] @ torch.tensor([0.5, -0.5]) / _LOUD
        found = rows[:, AT.pixels] / scale[:, None]
    else:
        a, b = changes[f"{name}.lora_A"], changes[f"{name}.lora_B"][: PLACES * DIRECTIONS]
        found = torch.stack([_solved(a, row, j // DIRECTIONS) for j, row in enumerate(b)])
    for j, patch in enumerate(found):
        if bool(patch.isfinite().all()):
            yield j // DIRECTIONS, patch


def _solved(a: Tensor, row: Tensor, place: int) -> Tensor:
    """Solve row = g A x for the cells in x; its constant features tell g."""
    known = _LOUD * (a[:, AT.loud.start] - a[:, AT.loud.start + 1])
    known = known + _PLACE * (a[:, AT.place.start + place] - a.mean(1))  # less the norm's mean
    unknown = a[:, AT.cells] - a[:, AT.minus_cells]
    columns = torch.cat([known[:, None], unknown], dim=1)
    solved: Tensor = torch.linalg.lstsq(columns, row[:, None]).solution[:, 0]
    cells: Tensor = solved[1:] / solved[0]
    return cells


IMAGE_TRAPS = {
    "DINOv2, first block": ImageTrap(),
    "DINOv2, whole images": ImageTrap(on="image", rare=1.0),
    "DINOv2, middle block, cells": ImageTrap(block=1, pixels=False),
    "DINOv2, last block, noise": ImageTrap(block=2, noise=0.01),
    "ViT, first block": ImageTrap("vit"),
    "ViT, middle block, normal gradient": ImageTrap("vit", block=1, small=0.1),
}
"""A trap of each kind."""
