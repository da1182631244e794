"""Recovery attacks on models in folders: an emulator, and the union of all that were sent."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from offsite.bundle.disclosure import FullModel
from offsite.bundle.ledger_entry import DisclosureEntry
from offsite.bundle.sketch import Sketches, holders_of
from offsite.bundle.weights import BlockDigests, digest_blocks
from offsite.errors import InputError
from offsite.events import Monitor
from offsite.layers import Loaded, load
from offsite.recovery.attacker import Attacker, Held
from offsite.recovery.attacks import Budget
from offsite.recovery.healing import Gap, explained
from offsite.release.capability import HOW, How, Recovery, Subject
from offsite.rows import DataFile
from offsite.steps.places import model_digest
from offsite.training.data import batches


@dataclass(frozen=True)
class Attacked:
    """What attacks on folders found."""

    recovery: Recovery
    gaps: Sequence[Gap]
    """What the healed projections of the emulator reveal; empty: it has none, or none was given."""


def attack(
    model: Path,
    emulator: Path | None,
    entries: Sequence[DisclosureEntry],
    data: DataFile,
    tests: Mapping[str, DataFile],
    budget: Budget,
    monitor: Monitor,
    attacks: Sequence[How] = HOW,
) -> Attacked:
    """Attack an emulator, and the union of all emulators of the model.

    Args:
        model: folder of the full model.
        emulator: folder of an emulator of it; None: the union alone is attacked.
        entries: the disclosure ledger; empty: the emulator alone is attacked.
        data, tests: as for `Attacker.of`.

    Raises:
        InputError: The emulator is none of this model, or none of it was sent.
        ModelError, DataError: A folder or a data set cannot be used.
        InterruptedStage: A signal asked to stop; the attacks begin anew.
    """
    weights = digest_blocks(model)
    known = {i: frozenset(block.weights) for i, block in enumerate(weights)}
    kept = places_of(emulator, weights) if emulator else []
    sent = FullModel(model_digest(model), len(weights), known).disclosed(entries).blocks
    if emulator is None and not sent:
        raise InputError(f"no emulator of {model} is in the ledger; check --home and --model")
    full = load(model)
    attacker = Attacker.of(full, data, tests, budget, monitor)
    held, gaps = dict[Subject, Held](), list[Gap]()
    if emulator is not None:
        found = load(emulator)
        held["Emulator"] = Held(found, _middle(kept))
        gaps = _gaps(attacker, full, found, kept)
    if sent and not sent <= {*kept}:
        held["Union"] = attacker.union(full, sent | {*kept}, monitor)
    measured = attacker.measure(held, monitor, attacks)
    blocks = tuple(sorted(sent | {*kept}))
    return Attacked(Recovery(steps=budget.steps, blocks=blocks, found=measured), gaps)


def places_of(emulator: Path, full: Sequence[BlockDigests]) -> list[int]:
    """Find the full model's block behind each block of an emulator, by its matrices.

    Args:
        full: the digests of the full model.

    Raises:
        InputError: A block is like none of the full model's.
    """
    holders = holders_of({i: block.weights for i, block in enumerate(full)})
    known, places = Sketches(holders), list[int]()
    for place, block in enumerate(digest_blocks(emulator)):
        alike = [full for each in known.like(block.weights) for full in holders[each.known]]
        if not alike:
            raise InputError(
                f"block {place} of {emulator} is like none of the full model's blocks; name the "
                "model that the emulator was made from (--model)"
            )
        ((best, _),) = Counter(alike).most_common(1)
        places.append(best)
    return places


def _middle(kept: Sequence[int]) -> range:
    """Find the blocks next to a gap, and those between them: what compression changed."""
    gaps = [i for i, (one, other) in enumerate(pairwise(kept)) if other > one + 1]
    return range(gaps[0], gaps[-1] + 1) if gaps else range(len(kept))


def _gaps(attacker: Attacker, full: Loaded, emulator: Loaded, kept: Sequence[int]) -> list[Gap]:
    size = attacker.budget.batch_size
    held_out = batches(attacker.corpus.test, full.modality.collate, size)
    return explained(full, emulator, kept, [batch.to(full.model.device) for batch in held_out])
