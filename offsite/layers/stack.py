"""A model's blocks: where they are, how the model calls them, and running some of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from offsite.families import Family, family_of

Inputs = Mapping[str, Tensor]
"""Arguments of the base model by name, (B, …) each."""
Call = tuple[tuple[Any, ...], dict[str, Any]]
"""What a block is called with, beside the hidden state."""


def family(model: PreTrainedModel) -> Family:
    """Find the table row of a loaded model."""
    return family_of(model.config.to_dict())


def blocks(model: PreTrainedModel) -> nn.ModuleList:
    """Get the model's blocks, bottom first."""
    found = model.get_submodule(family(model).blocks)
    assert isinstance(found, nn.ModuleList)
    return found


class _Traced(Exception):
    """The last probe was reached; there is nothing left to run."""


class _Probe(nn.Module):
    """Stands where a block was, and notes what it is called with."""

    def __init__(self, seen: list[tuple[Any, Call]], total: int) -> None:
        super().__init__()
        self.seen, self.total = seen, total

    def forward(self, hidden: Any, *args: Any, **kwargs: Any) -> tuple[Any]:
        self.seen.append((hidden, (args, kwargs)))
        if len(self.seen) == self.total:
            raise _Traced
        return (hidden,)  # nobody reads it, but BLOOM takes its first item


@dataclass(frozen=True)
class Trace:
    """The input of the first block, and how the model calls each of its blocks."""

    hidden: Tensor
    """(B, T, D)"""
    calls: Sequence[Call]


def trace(model: PreTrainedModel, inputs: Inputs) -> Trace:
    """Run the model's own code up to its first block, and note how it would call every block.

    Masks and positions differ by family and by block, and depend on the shape of the input alone;
    noting them saves a line of code for each family.

    Args:
        inputs: `Batch.inputs`; tokens are unpadded or padded on the right.
    """
    seen: list[tuple[Any, Call]] = []
    total = len(blocks(model))
    with _replaced(model, [_Probe(seen, total) for _ in range(total)]), suppress(_Traced):
        call_base(model, inputs)
    return Trace(seen[0][0], [call for _, call in seen])


class _Last(nn.Module):
    """Stands where the last block was, and runs it on a hidden state that is known."""

    def __init__(self, block: nn.Module, hidden: Tensor) -> None:
        super().__init__()
        self.block, self.hidden = block, hidden

    def forward(self, _hidden: Any, *args: Any, **kwargs: Any) -> Any:
        return self.block(self.hidden, *args, **kwargs)


def finish(model: PreTrainedModel, inputs: Inputs, hidden: Tensor) -> Tensor:
    """Compute `final_hidden` from what the last block reads, (B, T, D), and run no other block."""
    below = [_Probe([], 0) for _ in blocks(model)[:-1]]
    with _replaced(model, [*below, _Last(blocks(model)[-1], hidden)]):
        return final_hidden(model, inputs)


@contextmanager
def _replaced(model: PreTrainedModel, modules: Sequence[nn.Module]) -> Iterator[None]:
    """Put other modules in the place of the blocks while the `with` block runs."""
    parent, _, name = family(model).blocks.rpartition(".")
    holder, real = model.get_submodule(parent), blocks(model)
    setattr(holder, name, nn.ModuleList(modules))
    try:
        yield
    finally:
        setattr(holder, name, real)


def run(modules: Iterable[nn.Module], hidden: Tensor, calls: Iterable[Call]) -> Tensor:
    """Run blocks one after the other on a hidden state (B, T, D), each with its call."""
    for module, (args, kwargs) in zip(modules, calls, strict=True):
        output = module(hidden, *args, **kwargs)
        hidden = output[0] if isinstance(output, tuple) else output
    return hidden


@contextmanager
def watching(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what a block puts out, (B, T, D) each, while the `with` block runs."""
    seen: list[Tensor] = []

    def note(_module: nn.Module, _args: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    with module.register_forward_hook(note):
        yield seen


class _Passed(nn.Module):
    """Stands where a block was that need not run."""

    def forward(self, hidden: Any, *_args: Any, **_kwargs: Any) -> tuple[Any]:
        return (hidden,)  # as `_Probe`


@contextmanager
def resuming(model: PreTrainedModel, place: int, hidden: Tensor) -> Iterator[None]:
    """Let a model run from one block on, whose input (B, T, D) is known, in the `with` block."""
    stack = blocks(model)
    below = list(stack[:place])

    def resume(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (hidden, *args[1:])

    for each in range(place):
        stack[each] = _Passed()
    try:
        with stack[place].register_forward_pre_hook(resume):
            yield
    finally:
        for each, block in enumerate(below):
            stack[each] = block


def checkpoint_gradients(model: PreTrainedModel) -> None:
    """Recompute each block's activations on the way back instead of keeping them.

    transformers' own switch works in training mode only, where OPT's blocks drop out, and builds a
    graph below the first trained tensor too.
    """
    for block in blocks(model):
        block.forward = partial(
            checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False
        )


def final_hidden(model: PreTrainedModel, inputs: Inputs) -> Tensor:
    """Compute the hidden states from which the head predicts, (B, T, D), without any logits."""
    hidden = call_base(model, inputs)[0]
    assert isinstance(hidden, Tensor)
    return hidden


def call_base(model: PreTrainedModel, inputs: Inputs, **options: Any) -> Any:
    """Run the base model as transformers does, and return its output."""
    row = family(model)
    # BEiT does not cast pixels itself
    cast = {k: v.to(model.dtype) if v.is_floating_point() else v for k, v in inputs.items()}
    return model.get_submodule(row.base)(**cast, **row.arguments, **options)
