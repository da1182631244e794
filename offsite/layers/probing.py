"""What a model computes inside its blocks: gradients at their linear modules, and attention."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from offsite.layers.hardware import inference
from offsite.layers.stack import Inputs, blocks, family, final_hidden

Note = Callable[[str, Tensor, Tensor], None]
"""Takes the place of a linear module, its input and the gradient at its output: (…, in), (…, out).

The first dimensions are (B, T), or B·T in one where a family flattens them.
"""


@contextmanager
def watching_gradients(model: PreTrainedModel, note: Note) -> Iterator[None]:
    """Note each gradient that a backward pass in the `with` block computes in a frozen model."""
    stack = blocks(model)
    with ExitStack() as hooks:
        # nothing below requires a gradient, so the graph begins here
        hooks.enter_context(stack[0].register_forward_pre_hook(_begin))
        for place, block in enumerate(stack):
            for target in family(model).targets:
                hook = _noting(f"{target} of block {place}", note)
                hooks.enter_context(block.get_submodule(target).register_forward_hook(hook))
        yield


def _begin(_block: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (args[0].detach().requires_grad_(), *args[1:])


def _noting(name: str, note: Note) -> Callable[[nn.Module, tuple[Any, ...], Tensor], None]:
    def hook(_module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        read = args[0].detach()
        output.register_hook(lambda gradient: note(name, read, gradient))

    return hook


def attention_maps(
    model: PreTrainedModel, inputs: Inputs, reduce: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    """Compute the attention of each block, and keep what a function makes of it.

    Args:
        inputs: `Batch.inputs`.
        reduce: takes one block's attention, (B, H, T, T), by queries and then keys.
    """
    usual, found = model.config._attn_implementation, list[Tensor]()

    def note(_module: nn.Module, _args: Any, output: Any) -> None:
        # an attention module returns (output, attention)
        if isinstance(output, tuple) and len(output) == 2 and _is_map(output[1]):
            found.append(reduce(output[1]))

    model.set_attn_implementation("eager")  # the others do not keep what they compute
    try:
        with inference(), ExitStack() as hooks:
            for block in blocks(model):
                for child in block.children():
                    for module in child.modules():
                        hooks.enter_context(module.register_forward_hook(note))
            final_hidden(model, inputs)
    finally:
        model.set_attn_implementation(usual)
    return found


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4
