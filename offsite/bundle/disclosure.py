"""Computes what emulators have disclosed of a model, and whether another one may be sent.

All emulators of a model together may disclose what one of them may. Blocks that were an end of any
emulator count as ends; all other blocks that were sent count as kept middle blocks.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import NamedTuple

from offsite.api import Limits
from offsite.bundle.ledger_entry import DisclosureEntry, SentBlock
from offsite.bundle.sketch import Sketch, Sketches, holders_of
from offsite.bundle.weights import Weights
from offsite.errors import DisclosureError


@dataclass(frozen=True)
class Disclosed:
    """Blocks of one model."""

    ends: frozenset[int] = frozenset()
    """Blocks that were ends."""
    blocks: frozenset[int] = frozenset()
    """All blocks that were sent."""

    @classmethod
    def of(cls, blocks: Iterable[SentBlock]) -> "Disclosed":
        """Collect the blocks of an emulator."""
        every = list(blocks)
        ends = frozenset(block.full for block in every if block.end)
        return cls(ends, frozenset(block.full for block in every))

    def __or__(self, other: "Disclosed") -> "Disclosed":
        """Return the union of two sets of disclosed blocks."""
        return Disclosed(self.ends | other.ends, self.blocks | other.blocks)

    def holds(self, other: "Disclosed") -> bool:
        """Return whether another set adds no block and no end."""
        return other.ends <= self.ends and other.blocks <= self.blocks

    @property
    def middle(self) -> frozenset[int]:
        """Blocks that were sent, but never as an end."""
        return self.blocks - self.ends


@dataclass(frozen=True)
class FullModel:
    """A model, identified by its digest and the sketches of its matrices."""

    digest: str
    depth: int
    weights: Mapping[int, Weights]
    """Sketches of its matrices, by block; of a model at a hub, only those that are known."""

    def others(self, blocks: Collection[int]) -> tuple[Sketch, ...]:
        """List the known sketches of all blocks except `blocks`."""
        return tuple(sorted({s for i, w in self.weights.items() if i not in blocks for s in w}))

    def relatives(self, entries: Sequence[DisclosureEntry]) -> list[DisclosureEntry]:
        """Find the entries of this model: those with its digest, or with a matching matrix.

        The matrix may be of a block that was not sent, and may be changed a little. Entries that
        match one of these entries, and have the same number of blocks, are included too.
        """
        left = {i: entry for i, entry in enumerate(entries) if entry.depth == self.depth}
        held = {i: _weights(entry) for i, entry in left.items()}
        digests, fresh = {self.digest}, {*self.others(())}
        found = list[DisclosureEntry]()
        while True:
            unknown = Sketches(sketch for i in left for sketch in held[i])
            like = {each.known for each in unknown.like(fresh)}
            new = [i for i in left if left[i].model in digests or not like.isdisjoint(held[i])]
            if not new:
                return found
            fresh = set[Sketch]().union(*(held[i] for i in new))
            digests |= {model for i in new if (model := left[i].model)}
            found += [left.pop(i) for i in new]

    def disclosed(self, entries: Sequence[DisclosureEntry]) -> Disclosed:
        """Collect what entries disclosed of this model, under any name."""
        relatives = self.relatives(entries)
        found = [block for entry in relatives for block in entry.blocks]
        # the same matrices in a model with another number or order of blocks
        every = [block for entry in entries for block in entry.blocks]
        places = self._places(sketch for block in every for sketch in block.weights)
        found += [
            SentBlock(full=full, end=block.end)
            for block in every
            for full in set[int]().union(*(places[s] for s in block.weights if s in places))
        ]
        return Disclosed.of(found)

    def _places(self, sketches: Iterable[Sketch]) -> dict[Sketch, set[int]]:
        """Find the blocks of this model that hold a matching matrix, for each sketch."""
        holders = holders_of(self.weights)
        places: dict[Sketch, set[int]] = {}
        for each in Sketches(holders).like(sketches):
            places.setdefault(each.asked, set()).update(holders[each.known])
        return places


def check_disclosure(
    limits: Limits, model: FullModel, entries: Sequence[DisclosureEntry], own: Disclosed
) -> None:
    """Check that an emulator may be sent, given what the ledger lists.

    An emulator that adds nothing to what was sent of the same model is always allowed.

    Raises:
        DisclosureError: Too many blocks would be ends, or too many middle blocks disclosed.
    """
    same = Disclosed.of(b for e in entries if e.model == model.digest for b in e.blocks)
    if same.holds(own):
        return
    check_alone(limits, model.depth, own)
    if (excess := _excess(limits, model.depth, model.disclosed(entries) | own)) is not None:
        raise DisclosureError(
            f"{excess.field}: with what was sent of this model before, {excess} would be "
            "disclosed, more than the share that this organization allows over all jobs and peers "
            f"({excess.share:g}: {excess.most}); use the ends of an earlier emulator, and no more "
            "blocks than it has (see: offsite bundles disclosed)"
        )


def check_alone(limits: Limits, depth: int, own: Disclosed) -> None:
    """Check an emulator of a model of which nothing was sent yet.

    Raises:
        DisclosureError: It has too many blocks.
    """
    if (excess := _excess(limits, depth, own)) is not None:
        raise DisclosureError(
            f"{excess.field}: {excess} is more than the share that this organization allows "
            f"({excess.share:g}); keep at most {excess.most}"
        )


class _Share(NamedTuple):
    field: str
    """Fields of the job that request it."""
    found: int
    every: int
    what: str
    share: float

    @property
    def most(self) -> int:
        return most_of(self.share, self.every)

    def __str__(self) -> str:
        return f"{self.found} of {self.every} {self.what}"


def _excess(limits: Limits, depth: int, found: Disclosed) -> _Share | None:
    """Find the limit that disclosed blocks exceed."""
    ends, middle = len(found.ends), depth - len(found.ends)
    shares = (
        _Share("ends.bottom and ends.top", ends, depth, "blocks", limits.max_end_blocks),
        _Share(
            "emulator.blocks", len(found.middle), middle, "middle blocks", limits.max_kept_blocks
        ),
    )
    return next((share for share in shares if share.found > share.most), None)


def remaining(limits: Limits, depth: int, disclosed: Disclosed) -> int:
    """Count the middle blocks that may still be disclosed, with the ends unchanged."""
    every = depth - len(disclosed.ends)
    return max(0, most_of(limits.max_kept_blocks, every) - len(disclosed.middle))


def most_of(share: float, every: int) -> int:
    """Return the largest number of blocks within a share."""
    return floor(round(share * every, 6))  # 0.29 * 100 is slightly less than 29


def _weights(entry: DisclosureEntry) -> set[Sketch]:
    return {*entry.others, *(sketch for block in entry.blocks for sketch in block.weights)}
