"""Blocks on the disk, which are read into memory while they run, or while `resident` keeps them."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from offsite.layers.hardware import device

_RESIDENCE = "residence"


def keep_on_disk(block: nn.Module, names: Mapping[str, str], tensors: Mapping[str, Tensor]) -> None:
    """Let a block on the meta device read its tensors, in place, whenever it runs.

    Args:
        names: the names of the tensors in `tensors`, by their paths in the block.
    """
    residence = Residence(block, names, tensors)
    setattr(block, _RESIDENCE, residence)
    block.forward = partial(residence.run, block.forward)


def copied(block: nn.Module, replaced: Mapping[int, nn.Parameter]) -> nn.Module:
    """Copy a block that is in memory; its copy stays there.

    Args:
        replaced: what the copy has instead of a parameter, by the parameter's `id`.
    """
    memo: dict[int, Any] = dict(replaced)
    if (residence := getattr(block, _RESIDENCE, None)) is not None:
        memo[id(residence)] = residence.pinned()
    return copy.deepcopy(block, memo)


@contextmanager
def resident(*modules: nn.Module) -> Iterator[None]:
    """Keep blocks in memory while the `with` block runs; those of a loaded model always are."""
    with ExitStack() as stack:
        for module in modules:
            residence: Residence | None = getattr(module, _RESIDENCE, None)
            if residence is not None:
                stack.enter_context(residence)
        yield


def is_absent(block: nn.Module) -> bool:
    """Whether a block has to be read before it can run."""
    return any(each.is_meta for each in block.parameters())


class Residence:
    """Keeps the tensors of a block in memory while a `with` block uses them.

    Args:
        names: the names of the tensors in `tensors`, by their paths in the block.
    """

    def __init__(
        self, block: nn.Module, names: Mapping[str, str], tensors: Mapping[str, Tensor]
    ) -> None:
        self._tensors = tensors
        # modules, not paths: an adapter may wrap a module
        self._places = {names[path]: _place(block, path) for path in names}
        self._absent = {names[path]: block.get_parameter(path) for path in names}
        self._users = 0

    def __enter__(self) -> None:
        if not self._users:
            self._put({name: self._read(name) for name in self._places})
        self._users += 1

    def __exit__(self, *_: object) -> None:
        self._users -= 1
        if not self._users:
            self._put(self._absent)

    def run(self, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Fill the block in while its forward pass runs; if that takes gradients, read it again."""
        if torch.is_grad_enabled() and not self._users:
            return checkpoint(
                self._filled,
                forward,
                *args,
                use_reentrant=False,
                preserve_rng_state=False,
                **kwargs,
            )
        return self._filled(forward, *args, **kwargs)

    def pinned(self) -> "Residence":
        """Return the residence of a copy that keeps its tensors."""
        made = copy.copy(self)
        made._tensors, made._places, made._absent, made._users = {}, {}, {}, 1
        return made

    def _filled(self, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self:
            return forward(*args, **kwargs)

    def _read(self, name: str) -> nn.Parameter:
        tensor, like = self._tensors[name], self._absent[name]
        return nn.Parameter(tensor.to(device(), like.dtype), requires_grad=False)

    def _put(self, parameters: Mapping[str, nn.Parameter]) -> None:
        for name, parameter in parameters.items():
            setattr(*self._places[name], parameter)


def _place(block: nn.Module, path: str) -> tuple[nn.Module, str]:
    """Find the module and the attribute of a parameter."""
    parent, _, name = path.rpartition(".")
    return block.get_submodule(parent), name
