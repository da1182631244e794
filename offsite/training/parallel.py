"""Training on several workers: each has a part of every batch, by DDP or FSDP.

Of FSDP the blocks are the units. Embeddings and head, which nobody trains, are whole in every
worker. Blocks of a model that was opened lazily are read one at a time, to be sharded, and what was
trained of them goes to the disk; so no worker ever holds all of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel
from transformers import PreTrainedModel

from offsite.errors import InputError
from offsite.layers import blocks, device, family, resident, tensors_of, workers
from offsite.layers.residence import copied
from offsite.modality import Batch

Sharding = Literal["DDP", "FSDP"]
Made = TypeVar("Made")


def counted(batch: Batch) -> tuple[Batch, Tensor]:
    """Count the targets on which a loss is taken: `Objective.prepare` of a mean over them."""
    return batch, batch.weights.sum()


@dataclass(frozen=True)
class Objective:
    """What a training changes, and what it minimizes.

    A loss is a sum over examples, divided by numbers that are sums over examples, too. So a batch
    can be computed in parts: by several workers, and by each of them one after the other.
    """

    models: Sequence[PreTrainedModel]
    """The models that the loss is computed with."""
    trained: Mapping[str, nn.Parameter]
    """Their parameters that are trained, by the name that they have in checkpoints."""
    loss_of: Callable[[Any, Tensor], Tensor]
    """A part's share of the scalar loss of a batch; the shares of all parts sum up to it. It takes
    the part as `prepare` gave it, and the sum of the sizes of all parts."""
    prepare: Callable[[Batch], tuple[Any, Tensor]] = counted
    """Computes without gradients what the loss of a part needs, and the part's size: the numbers
    that losses are divided by."""
    losses_of: Callable[[Batch], Tensor] | None = None
    """The loss of each example, (B,), summed over its targets; other workers take no part in it.
    None: the loss is no mean over examples."""


@dataclass(frozen=True)
class Spread:
    """A training, as this worker sees it."""

    trained: Mapping[str, nn.Parameter]
    """What is trained, by name; of FSDP a shard of each, whose `copy_` takes `scattered` values."""
    prepare: Callable[[Batch], tuple[Any, Tensor]]
    """`Objective.prepare`."""
    loss_of: Callable[[Any, Tensor], Tensor]
    """`Objective.loss_of`; `backward` averages its gradients over all workers."""
    losses_of: Callable[[Batch], Tensor] | None
    """`Objective.losses_of`. Take its gradients with `torch.autograd.grad`, which no wrapper of
    DDP sees, and sum them with `total`; FSDP's shards have no such gradients."""
    measure: Callable[[Callable[[], float]], float]
    """Calls what runs the models without gradients, in all workers alike."""
    models: Sequence[nn.Module] = ()
    """`Objective.models`."""
    kept: dict[str, str] = field(default_factory=dict)
    """What a step keeps between two calls; checkpoints hold it."""
    alone: Callable[[], AbstractContextManager[None]] = nullcontext
    """Forward and backward passes inside may leave the average to the next pass outside."""

    def here(self, batch: Batch) -> Batch:
        """Copy a batch to where the parameters are."""
        return batch.to(next(iter(self.trained.values())).device)


@contextmanager
def spread(objective: Objective, sharding: Sharding) -> Iterator[Spread]:
    """Spread a training over all workers, of which each calls this.

    When the `with` block ends without an error, the parameters have the values that they were
    trained to, whole, in every worker; of a model that was opened lazily its `tensors_of` have.

    Raises:
        InputError: FSDP cannot share what is trained.
    """
    trained, prepare, loss_of = objective.trained, objective.prepare, objective.loss_of
    whole = Spread(trained, prepare, loss_of, objective.losses_of, _call, objective.models)
    if workers() == 1:
        yield whole
    elif sharding == "DDP":
        replica = DistributedDataParallel(_Models(objective.models), forward_sync_buffers=False)
        yield replace(whole, loss_of=partial(replica, loss_of), alone=replica.no_sync)
    else:
        _check_inside(objective)
        with _sharded(objective.models, trained) as (root, shards):
            yield Spread(
                shards,
                partial(root, prepare),
                partial(root, loss_of),
                losses_of=None,
                measure=root,
                models=objective.models,
            )


def gathered(tensor: Tensor) -> Tensor:
    """Make a tensor of its shards, which lie in all workers; of one that is whole, itself."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def scattered(tensor: Tensor, like: Tensor) -> Tensor:
    """Take this worker's shard of a whole tensor, if `like`, which has its shape, is one."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def _call(compute: Callable[[], float]) -> float:
    return compute()


class _Models(nn.Module):
    """Runs what is to be computed with its models as a forward pass, which torch's wrappers see."""

    def __init__(self, models: Sequence[PreTrainedModel]) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)

    def forward(self, compute: Callable[..., Made], *arguments: Any) -> Made:
        return compute(*arguments)


def _check_inside(objective: Objective) -> None:
    inside = {each for model in objective.models for each in blocks(model).parameters()}
    outside = [name for name, each in objective.trained.items() if each not in inside]
    if outside:
        raise InputError(
            f"FSDP shards the blocks alone, and {outside[0]} is outside of them; set "
            "spec.resources.sharding to DDP"
        )


@contextmanager
def _sharded(
    models: Sequence[PreTrainedModel], trained: Mapping[str, nn.Parameter]
) -> Iterator[tuple[nn.Module, dict[str, nn.Parameter]]]:
    """Put sharded copies into the blocks' places, and the blocks aside: into host memory."""
    stacks = [blocks(model) for model in models]
    originals = [list(stack) for stack in stacks]
    names = {id(parameter): name for name, parameter in trained.items()}
    shards: dict[str, nn.Parameter] = {}
    homes: dict[str, tuple[PreTrainedModel, str]] = {}
    mesh = init_device_mesh(device().type, (workers(),))
    with _aside([block for stack in originals for block in stack]):
        try:
            for model, stack, blocks_of_it in zip(models, stacks, originals, strict=True):
                for place, block in enumerate(blocks_of_it):
                    stack[place] = shard = _shard(block, mesh)
                    for path, parameter in block.named_parameters():
                        if name := names.get(id(parameter)):
                            shards[name] = shard.get_parameter(path)
                            homes[name] = model, family(model).tensor_name(place, path)
            root = _Models(models)
            whole = {each for each in root.parameters() if not isinstance(each, DTensor)}
            fully_shard(root, mesh=mesh, ignored_params=whole)
            yield root, shards
        finally:
            for stack, blocks_of_it in zip(stacks, originals, strict=True):
                for place, block in enumerate(blocks_of_it):
                    stack[place] = block
        for name, parameter in trained.items():
            _put_back(gathered(shards.pop(name).detach()), parameter, *homes[name])


def _shard(block: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Copy a block, of which this worker keeps its shard alone."""
    trained = {path for path, each in block.named_parameters() if each.requires_grad}
    with resident(block):
        own = {
            id(each): nn.Parameter(each.detach(), path in trained)
            for path, each in block.named_parameters()
        }
        shard = copied(block, own)
    fully_shard(shard, mesh=mesh, reshard_after_forward=True)
    return shard


def _put_back(value: Tensor, parameter: nn.Parameter, model: PreTrainedModel, name: str) -> None:
    """Give a parameter of a block the value that it was trained to."""
    if parameter.is_meta:
        tensors_of(model)[name] = value
    else:
        parameter.data = value.to(parameter.device)


@contextmanager
def _aside(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Keep parameters in host memory meanwhile; tensors that share their memory go on to do so."""
    found = {each for module in modules for each in module.parameters()}
    parameters = {each for each in found if not each.is_meta}
    where = device()
    _move(parameters, torch.device("cpu"))
    yield
    _move(parameters, where)


def _move(parameters: set[nn.Parameter], where: torch.device) -> None:
    moved: dict[tuple[object, ...], Tensor] = {}
    for parameter in parameters:
        # all that a tensor is: one may be a view of another, and all that are empty lie nowhere
        held = (parameter.data_ptr(), parameter.shape, parameter.stride(), parameter.dtype)
        if held not in moved:
            moved[held] = parameter.detach().to(where)
        parameter.data = moved[held]
