"""What the core's tests share: every family, small texts, and what changed in a model."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.bundle import BlockRecord, EmulatorRecord
from offsite.emulator import Compressed, share_of
from offsite.emulator.layer_drop import Layout, drop_layers
from offsite.events import Monitor
from offsite.layers import Loaded, family, final_hidden
from offsite.modality import IGNORED, Batch, Images, Text
from offsite_testing.models import tiny_processor, tiny_tokenizer
from offsite_testing.tiny import (
    DEPTH,
    FAMILIES_UNDER_TEST,
    LANGUAGE,
    VARIANTS,
    some_inputs,
    tiny_model,
)


def cases_where(wanted: Callable[[PreTrainedModel], bool]) -> pytest.MarkDecorator:
    """Run a test, on `name` and `over`, for every family and variant whose tiny model is wanted."""
    kinds = [*((name, {}) for name in FAMILIES_UNDER_TEST), *VARIANTS]
    chosen = [
        pytest.param(name, over, id="-".join([name, *over]))
        for name, over in kinds
        if wanted(tiny_model(name, **over))
    ]
    return pytest.mark.parametrize(("name", "over"), chosen)


each_case = cases_where(lambda model: True)
each_text_case = cases_where(lambda model: family(model).modality == "text")
each_family = pytest.mark.parametrize("name", FAMILIES_UNDER_TEST)
each_text_family = pytest.mark.parametrize("name", LANGUAGE)

WHOLE = Layout.uniform(DEPTH, 1, 1, 4)
DROPPED = Layout.uniform(DEPTH, 1, 1, 2)
"""Of the blocks 0 to 5 it keeps 0, 1, 4 and 5."""


def some_tokens(rows: int = 2, length: int = 14, seed: int = 0) -> Tensor:
    """Draw ids that are no special tokens of the tiny models, (rows, length)."""
    return torch.randint(3, 96, (rows, length), generator=torch.Generator().manual_seed(seed))


def some_batch(rows: int = 2, length: int = 14, seed: int = 0) -> Batch:
    """Draw a batch that is scored everywhere."""
    tokens = some_tokens(rows, length, seed)
    end = torch.full((rows, 1), IGNORED)
    everywhere = torch.ones_like(tokens, dtype=torch.bool)
    return batch_of(tokens, torch.cat([tokens[:, 1:], end], dim=1), everywhere)


def batch_of(tokens: Tensor, targets: Tensor, mask: Tensor) -> Batch:
    """Make a batch of text, (B, T) each."""
    return Batch({"input_ids": tokens}, targets, mask, unit="tokens")


def batch_for(model: PreTrainedModel, rows: int = 2, length: int = 14, seed: int = 0) -> Batch:
    """Draw a batch for a model: of text as `some_batch`, or of images whose class is the first."""
    if family(model).modality == "text":
        return some_batch(rows, length, seed)
    inputs = some_inputs(model, rows, seed)
    with torch.no_grad():
        everywhere = torch.ones(final_hidden(model, inputs).shape[:2])
    mask = inputs.get("pixel_attention_mask", everywhere).bool()
    return Batch(inputs, torch.zeros(rows, dtype=torch.long), mask, unit="images")


def text_of(model: Loaded) -> Text:
    """Get the modality of a language model."""
    assert isinstance(model.modality, Text)
    return model.modality


def input_ids(batch: Batch) -> Tensor:
    """Get the tokens of a batch of text, (B, T)."""
    return batch.inputs["input_ids"]


def loaded(model: PreTrainedModel) -> Loaded:
    """Put a tiny model beside a tokenizer, of which the ids that the tests draw need nothing.

    Or beside an image processor.
    """
    if family(model).modality == "text":
        return Loaded(model, Text.of(tiny_tokenizer(), model), torch.float32)
    images: Any = Images.of(tiny_processor(model), model)
    return Loaded(model, images, torch.float32)


def logits(model: PreTrainedModel, inputs: Tensor | Mapping[str, Tensor] | None = None) -> Tensor:
    """Run a model as anybody would, in its own dtype.

    Args:
        inputs: tokens, or arguments by name; absent: some that the model reads.
    """
    if isinstance(inputs, Tensor):
        inputs = {"input_ids": inputs}
    inputs = inputs or some_inputs(model)
    numbers = {k: v.to(model.dtype) if v.is_floating_point() else v for k, v in inputs.items()}
    there = {name: tensor.to(model.device) for name, tensor in numbers.items()}
    with torch.no_grad():
        output: Tensor = model(**there, **family(model).arguments).logits
    return output


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """Copy every tensor of a model."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same_bytes(one: Tensor, other: Tensor) -> bool:
    """Compare bit for bit, by which 0 and -0 differ."""
    return one.dtype == other.dtype and raw(one) == raw(other)


def raw(tensor: Tensor) -> bytes:
    """Get the bytes of a tensor, with its shape."""
    content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return f"{tuple(tensor.shape)}".encode() + content


def changed(before: Mapping[str, Tensor], model: nn.Module) -> set[str]:
    """Name the tensors of which a bit is not what it was."""
    now = model.state_dict()
    assert now.keys() == before.keys()
    return {name for name, tensor in before.items() if not same_bytes(tensor, now[name])}


def middle_names(model: PreTrainedModel, layout: Layout) -> set[str]:
    """Name the tensors of an emulator's middle blocks."""
    row, places = family(model), range(len(layout.kept))[layout.middle]
    splits = {name: row.block_of(name) for name in model.state_dict()}
    return {name for name, split in splits.items() if split and split[0] in places}


def silent() -> Monitor:
    """Make a monitor that tells nobody."""
    return Monitor(lambda event: None)


def blocks_of(model: PreTrainedModel, layout: Layout) -> tuple[BlockRecord, ...]:
    """Say what each block of an emulator is made of."""
    row, config = family(model), model.config.to_dict()
    tensors, linears = row.block_tensors(config), row.linear_sizes(config)
    return tuple(
        BlockRecord(full=full, end=place in layout.ends, tensors=tensors, linears=linears)
        for place, full in enumerate(layout.kept)
    )


def dropped(model: PreTrainedModel, layout: Layout) -> Compressed:
    """Make an emulator of the blocks of a layout, as LayerDrop gives it."""
    row, made = family(model), blocks_of(model, layout)
    full = row.block_tensors(model.config.to_dict())
    share = share_of(made, full, row.count(model.config.to_dict()))
    return Compressed(drop_layers(model, layout), made, share)


def record_of(model: PreTrainedModel, layout: Layout) -> EmulatorRecord:
    """Remember an emulator as its owner does."""
    return EmulatorRecord(
        bundle="emulator",
        digest="sha256:" + "0" * 64,
        recipient="owner",
        architecture=family(model).architecture,
        model_digest="sha256:" + "1" * 64,
        blocks=blocks_of(model, layout),
    )


BatchAt = Callable[[int], Batch]
"""The batch of a step."""


def drawn(first: int = 0, **size: int) -> BatchAt:
    """Draw another batch at every step."""
    return lambda step: some_batch(**size, seed=first + step)


def stopped_at(step: int, batch_at: BatchAt) -> tuple[BatchAt, Monitor]:
    """Make a monitor that is asked to stop while a step is done, and the batches that ask."""
    stop = threading.Event()

    def asking(number: int) -> Batch:
        if number == step:
            stop.set()
        return batch_at(number)

    return asking, Monitor(lambda event: None, stop)
