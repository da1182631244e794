"""Checks that a plugged-in model differs from its full model only as its adapter may. No torch.

The image that plugs in may be a job author's own, so the step that signs and exports the model
compares every tensor with the one that it was made of.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from offsite.bundle.changes import Place, check_change, relative
from offsite.bundle.digesting import Digests
from offsite.bundle.files import headers
from offsite.bundle.head import HEAD, NewHead, labelled
from offsite.bundle.manifest import FileEntry
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
    head: NewHead | None = None,
) -> dict[Path, FileEntry]:
    """Compare the weights of a plugged-in model with those of its full model, piece by piece.

    Args:
        config: of the full model.
        record: of the emulator, and of which adapters for it are accepted.
        most: the largest change of a weight that its owner allows.
        adapter: its name.
        head: that the adapter brought; None: it brought none.

    Returns:
        Size and digest of each file of weights, of both models: of the bytes that were compared.

    Raises:
        ModelError: a tensor that the adapter may not change is another one, or has another dtype,
            or there is one more.
        BundleError: a weight is changed by more than is allowed.
    """
    row = family_of(config)
    config = {**config, **row.overridden(config)}
    wanted = labelled(config, head.labels) if head else config
    checkpoint, reach = Checkpoint.of(row, wanted), _reach(record, row)
    own_head = _head_tensors(row) if head else {}
    if check_tensors(made, row, wanted) != check_tensors(model, row, config):
        raise ModelError(f"{made} has not the dtype of the model; look at the image that made it")
    originals = dict(_named(model, Checkpoint.of(row, config)))
    changes, own = dict[Place, float](), dict[Place, float]()
    _check_no_buffers(made, checkpoint)
    if head is not None:
        check_plugged_head(made, wanted, head, adapter)
    with Digests() as digests:
        for name, tensor in sorted(_named(made, checkpoint), key=_by_name):
            if name in own_head:  # compared above
                continue
            place = Place(*(row.block_of(name) or (None, name)))
            found = _compare(tensor, originals[name], reach.get(place), digests)
            if found is None:
                part = "all of " if place in reach else ""
                raise ModelError(
                    f"{made}: {name} is not that of the model, and {adapter} may not change "
                    f"{part}it; look at the image that made it"
                )
            if place in reach:
                changes[place], own[place] = found
        entries = {path: digests.of(path) for path in (*weights_in(made), *weights_in(model))}
    if infinite := [place for place, change in changes.items() if not math.isfinite(change)]:
        raise BundleError(f"{made}: {infinite[0]} is not finite")
    check_change(relative(changes, own), most, adapter)
    return entries


def check_plugged_head(made: Path, config: Mapping[str, Any], head: NewHead, adapter: str) -> None:
    """Check that the head of a plugged-in model is the one that its adapter brought.

    Args:
        config: of the plugged-in model.

    Raises:
        ModelError: it is another one, or the config names other classes.
    """
    if labelled(config, head.labels) != config:
        raise ModelError(
            f"{made / 'config.json'} has other classes than {adapter}; look at the image that made "
            "it"
        )
    row = family_of(config)
    names = _head_tensors(row)
    for name, tensor in _named(made, Checkpoint.of(row, config)):
        if name in names and not head.is_in(tensor, names[name]):
            raise ModelError(
                f"{made}: {name} is not that of {adapter}; look at the image that made it"
            )


def _head_tensors(row: Family) -> dict[str, str]:
    """List the kinds of the head's tensors, `weight` and `bias`, by their names in a checkpoint."""
    return {row.stored_name(f"{row.heads[HEAD]}.{kind}"): kind for kind in ("weight", "bias")}


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


def _by_name(named: tuple[str, StoredTensor]) -> str:
    """Sort tensors as safetensors files do, so that every file is read in its order."""
    return named[0]


def _compare(
    made: StoredTensor, model: StoredTensor, selection: Selection | None, digests: Digests
) -> tuple[float, float] | None:
    """Compute the norms of a change and of the tensor before it.

    Args:
        selection: the part that may change; None: nothing may.

    Returns:
        None: something else changed, too.
    """
    rows, columns = _selected(selection, made)
    change, own, start = 0.0, 0.0, 0
    for new, old in zip(digests.pieces(made), digests.pieces(model), strict=True):
        before = model.values(old).astype(np.float64)
        own += float(before.ravel() @ before.ravel())
        if new != old:
            allowed = rows[start : start + len(before), None] & columns
            if (~allowed & (made.bits(new) != model.bits(old))).any():
                return None
            difference = (made.values(new) - before).ravel()
            change += float(difference @ difference)
        start += len(before)
    return math.sqrt(change), math.sqrt(own)


def _selected(selection: Selection | None, tensor: StoredTensor) -> tuple[Mask, Mask]:
    """Mark the selected rows and columns of a tensor, as `pieces` reads it: a vector is one row."""
    if selection is None or selection.is_all:
        places = () if selection is None else None
        return _mask(places, prod(tensor.shape[:-1])), _mask(None, tensor.columns)
    if len(tensor.shape) == 1:
        return _mask(None, 1), _mask(selection.rows, tensor.columns)
    return _mask(selection.rows, tensor.shape[0]), _mask(selection.columns, tensor.columns)


def _mask(places: Sequence[int] | None, size: int) -> Mask:
    mask = np.full(size, places is None)
    if places is not None:
        mask[list(places)] = True
    return mask
