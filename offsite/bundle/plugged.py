"""Checks that a plugged-in model differs from its full model only as its adapter may. No torch.

The image that plugs in may be a job author's own, so the step that signs and exports the model
compares every tensor with the one that it was made of.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offsite.bundle.changes import Place, check_change, relative
from offsite.bundle.files import headers
from offsite.bundle.original import check_tensors, weights_in
from offsite.bundle.record import EmulatorRecord
from offsite.bundle.selection import Selection
from offsite.bundle.weights import StoredTensor, stored
from offsite.errors import BundleError, ModelError
from offsite.families import Checkpoint, Family, family_of

Mask = NDArray[np.bool_]


def check_plugged_weights(
    made: Path,
    model: Path,
    config: Mapping[str, Any],
    record: EmulatorRecord,
    most: float,
    adapter: str,
) -> None:
    """Compare the weights of a plugged-in model with those of its full model, piece by piece.

    Args:
        config: of both.
        record: of the emulator, and of which adapters for it are accepted.
        most: the largest change of a weight that its owner allows.
        adapter: its name.

    Raises:
        ModelError: a tensor that the adapter may not change is another one, or has another dtype,
            or there is one more.
        BundleError: a weight is changed by more than is allowed.
    """
    row = family_of(config)
    checkpoint, reach = Checkpoint.of(row, config), _reach(record, row)
    if check_tensors(made, row, config) != check_tensors(model, row, config):
        raise ModelError(f"{made} has not the dtype of the model; look at the image that made it")
    originals = dict(_named(model, checkpoint))
    changes, own = dict[Place, float](), dict[Place, float]()
    _check_no_buffers(made, checkpoint)
    for name, tensor in _named(made, checkpoint):
        place = Place(*(row.block_of(name) or (None, name)))
        selection = reach.get(place)
        if selection is not None and _same_outside(selection, tensor, originals[name]):
            changes[place], own[place] = _norms(tensor, originals[name])
        elif not _same(tensor, originals[name]):
            part = "all of " if selection is not None else ""
            raise ModelError(
                f"{made}: {name} is not that of the model, and {adapter} may not change "
                f"{part}it; look at the image that made it"
            )
    for place, change in changes.items():
        if not math.isfinite(change):
            raise BundleError(f"{made}: {place} is not finite")
    check_change(relative(changes, own), most, adapter)


def _reach(record: EmulatorRecord, row: Family) -> dict[Place, Selection]:
    """List what may be changed, by the names of a checkpoint."""
    reach = record.reach().items()
    return {
        (place if place.block is not None else Place(None, row.stored_name(place.name))): selection
        for place, selection in reach
    }


def _named(folder: Path, checkpoint: Checkpoint) -> Iterator[tuple[str, StoredTensor]]:
    """List the tensors of a model by their family's names; a tied head has its table's."""
    for path in weights_in(folder):
        for spelt, tensor in stored(path):
            if name := checkpoint.name(spelt):
                yield checkpoint.tied.get(name, name), tensor


def _check_no_buffers(made: Path, checkpoint: Checkpoint) -> None:
    for path in weights_in(made):
        for name, _, _ in headers(path):
            if checkpoint.name(name) is None:
                raise ModelError(
                    f"{path} holds {name!r}, which is computed and never saved; look at the image "
                    "that made it"
                )


def _same(one: StoredTensor, other: StoredTensor) -> bool:
    return all(a == b for a, b in zip(one.pieces(), other.pieces(), strict=True))


def _same_outside(selection: Selection, one: StoredTensor, other: StoredTensor) -> bool:
    """Whether two tensors are the same, bit for bit, outside a selected part."""
    if selection.is_all:
        return True
    rows, columns = _selected(selection, one)
    start = 0
    for a, b in zip(one.pieces(), other.pieces(), strict=True):
        differs = one.bits(a) != other.bits(b)
        end = start + len(differs)
        if (differs & ~(rows[start:end, None] & columns)).any():
            return False
        start = end
    return True


def _selected(selection: Selection, tensor: StoredTensor) -> tuple[Mask, Mask]:
    """Mark the selected rows and columns of a tensor, as `pieces` reads it: a vector is one row."""
    rows, columns = _mask(selection.rows, tensor.shape[0]), _mask(None, tensor.columns)
    if len(tensor.shape) == 1:
        return _mask(None, 1), rows
    if selection.columns is not None:
        columns = _mask(selection.columns, tensor.columns)
    return rows, columns


def _mask(places: Sequence[int] | None, size: int) -> Mask:
    mask = np.full(size, places is None)
    if places is not None:
        mask[list(places)] = True
    return mask


def _norms(made: StoredTensor, model: StoredTensor) -> tuple[float, float]:
    """Compute the norms of a change and of the weight before it."""
    change = own = 0.0
    for new, old in zip(made.pieces(), model.pieces(), strict=True):
        before = model.values(old).astype(np.float64).ravel()
        own += float(before @ before)
        if new != old:
            difference = made.values(new).ravel() - before
            change += float(difference @ difference)
    return math.sqrt(change), math.sqrt(own)
