"""Signs in an emulator's weights: matrices that are nearly empty, rows and norms out of line."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from offsite.families.modules import Norm, Table
from offsite.inspection.signs import Measure
from offsite.layers import Compact, Loaded, blocks, family, resident

_POSITIONS = "P"
"""The dimension of positions, as rows of the family table name it."""
_TINY = 1e-6
"""Of the largest gain of a norm: what is below removes a feature."""


def measure_weights(loaded: Loaded) -> Iterator[Measure]:
    """Measure every matrix and every norm; takes about as long as reading them."""
    scales, tables = dict(_scales(loaded)), _position_tables(loaded)
    for name, parameter in loaded.model.named_parameters():
        if parameter.dim() not in (2, 4) or len(parameter) == 1 or name in tables:
            continue
        matrix = _held(loaded, name, parameter).flatten(1)  # a kernel has a row for each channel
        if name in scales:
            matrix = matrix * scales[name][:, None]
        yield Measure("density", name, _density(matrix))
        yield Measure("row_norms", name, _spread_of_rows(matrix))
    for name, norm in _norms(loaded):
        yield Measure("silent_norms", name, _silent(norm))


def _held(loaded: Loaded, name: str, parameter: nn.Parameter) -> Tensor:
    """Get a weight as it is multiplied, wherever it is held."""
    holder = loaded.model.get_submodule(name.rpartition(".")[0])
    if isinstance(holder, Compact):
        return holder.matrix()
    if parameter.is_meta:
        return loaded.tensors[name].to(loaded.model.device, parameter.dtype)
    return parameter.detach()


def _scales(loaded: Loaded) -> Iterator[tuple[str, Tensor]]:
    """Find the weights whose output is multiplied by a layer scale. A healed one makes up for it.

    Yields:
        The name of a weight, and the scale of each of its rows.
    """
    row = family(loaded.model)
    if row.heal and row.heal_scale:
        for place, block in enumerate(blocks(loaded.model)):
            with resident(block):
                scale = block.get_parameter(row.heal_scale).detach()
            yield row.tensor_name(place, f"{row.heal}.weight"), scale


def _position_tables(loaded: Loaded) -> set[str]:
    """Name the tables of positions, of which honest ones use few features, too."""
    tables = (each for each in family(loaded.model).outer if isinstance(each, Table))
    return {f"{each.name}.weight" for each in tables if each.rows == _POSITIONS}


def _density(matrix: Tensor) -> float:
    """Compute mean(|w|)² / mean(w²): 0.64 of normal weights, near 0 of a few large ones."""
    absolute = matrix.float().abs()
    scaled = absolute / absolute.max().clamp(min=torch.finfo(torch.float32).tiny)
    return float(scaled.mean() ** 2 / scaled.pow(2).mean().clamp(min=1e-30))


def _spread_of_rows(matrix: Tensor) -> float:
    norms = matrix.float().norm(dim=1)
    return float(norms.max() / norms.median().clamp(min=1e-12 * float(norms.max()) + 1e-30))


def _norms(loaded: Loaded) -> Iterator[tuple[str, nn.Module]]:
    """List the norms inside the blocks and after them, by name; each to use before the next."""
    row = family(loaded.model)
    scopes = [(f"block {i}", block, row.block) for i, block in enumerate(blocks(loaded.model))]
    for scope, holder, modules in [*scopes, ("the head", loaded.model, row.outer)]:
        there = dict(holder.named_modules())  # not every config has all of them
        with resident(holder):
            for module in modules:
                if isinstance(module, Norm) and module.name in there:
                    yield f"{module.name} of {scope}", there[module.name]


def _silent(norm: nn.Module) -> float:
    """Compute the share of features that a norm multiplies by nothing.

    Families store gains as they are, or minus one, so the gain is measured and not read.
    """
    size = next((each.numel() for each in norm.parameters()), 0)
    if size == 0:
        return 0.0
    probe = torch.ones(1, size, device=next(norm.parameters()).device)
    probe[:, ::2] = -1
    with torch.no_grad():
        gains = ((norm(probe) - norm(-probe)) / 2).abs().float()
    return float((gains <= _TINY * gains.max()).float().mean())
