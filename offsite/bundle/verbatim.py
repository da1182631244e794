"""Checks that an emulator holds the blocks of its model that its record names.

The image that trains may be a job author's own, so what it says of its result is compared with what
was known of the model before. What healing or training changed cannot be compared. No torch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from offsite.api import Distill
from offsite.bundle.record import BlockRecord
from offsite.bundle.sketch import Sketches, holders_of
from offsite.bundle.weights import BlockDigests, digest_blocks, digest_outside
from offsite.errors import BundleError
from offsite.families import family_of

_CLOSER = 0.05
"""How much more like another block's a matrix has to be: two blocks may be nearly the same."""


def check_verbatim(
    emulator: Path,
    kept: Sequence[BlockRecord],
    job: Distill,
    config: dict[str, Any],
    model: Sequence[BlockDigests],
) -> None:
    """Check that what healing and training left alone is the full model's own, byte for byte.

    What they changed is no other block's: no matrix is more like one of another block.

    Args:
        kept: which of the model's blocks are said to be in it.
        config: the full model's.
        model: the digests of the full model's blocks.

    Raises:
        BundleError: a block is not the one that it is said to be.
    """
    made, changed = digest_blocks(emulator), _changed(job, config)
    for place, block in enumerate(kept):
        own, full = made[place].tensors, model[block.full].tensors
        # of a part of a tensor no digest is known
        compared = own.keys() - block.index.keys() - (set() if block.end else changed)
        for name in sorted(compared):
            if own[name] != full.get(name):
                raise BundleError(
                    f"{emulator}: {name} of block {place} is not that of block {block.full} of the "
                    "model, which it should be; look at the image that made it"
                )
    _check_nearest(emulator, kept, made, model)


def _check_nearest(
    emulator: Path,
    kept: Sequence[BlockRecord],
    made: Sequence[BlockDigests],
    model: Sequence[BlockDigests],
) -> None:
    """Check that no matrix, trained or not, is another block's rather than its own."""
    holders = holders_of({i: block.weights for i, block in enumerate(model)})
    every = Sketches(holders)
    for place, block in enumerate(kept):
        likely = list(every.like(made[place].weights))
        own = {e.asked: 0.0 for e in likely}
        for each in likely:
            if block.full in holders[each.known]:
                own[each.asked] = max(own[each.asked], each.cosine)
        for each in likely:
            if each.cosine > own[each.asked] + _CLOSER:
                raise BundleError(
                    f"{emulator}: block {place} holds a matrix of block "
                    f"{min(holders[each.known])} of the model, and is said to be made of block "
                    f"{block.full}; look at the image that made it"
                )


def check_outside(emulator: Path, model: Mapping[str, str]) -> None:
    """Check that what is outside the blocks is the full model's own: no job changes it.

    Args:
        model: the digests of the full model's tensors, as `digest_outside` gives them.

    Raises:
        BundleError: a tensor is another one.
    """
    for name, digest in sorted(digest_outside(emulator).items()):
        if digest != model.get(name):
            raise BundleError(
                f"{emulator}: {name} is not that of the model; look at the image that made it"
            )


def _changed(job: Distill, config: dict[str, Any]) -> set[str]:
    """Name the tensors that a job may change in a block of the middle."""
    row = family_of(config)
    if job.training is not None:
        return {*row.block_tensors(config)}
    healed = row.healed_by(config)
    heals = job.emulator.heal is not False and job.emulator.calibration is not None
    return {f"{healed}.weight"} if heals and healed else set()
