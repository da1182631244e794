"""An entry of the disclosure ledger: what one emulator discloses of a model."""

from typing import Any

from offsite.bundle.record import EmulatorRecord
from offsite.bundle.sketch import Sketch
from offsite.wire import Digest, Instant, Part, canonical, digest_of, now


class SentBlock(Part):
    """A block of a full model that an emulator held, as it was, healed or trained."""

    full: int
    """Its place in the full model."""
    end: bool
    """Whether it was sent as it is."""
    weights: tuple[Sketch, ...] = ()
    """The sketches of its matrices in the full model; none, if they are not known."""


class DisclosureEntry(Part):
    """One emulator in the ledger of a model's owner. It is written before the emulator is sent."""

    number: int = 0
    """Its place in the ledger, from 1; 0: it is not there yet."""
    previous: Digest | None = None
    """The digest of the entry before it."""
    at: Instant
    job: str
    """The job that it was made by, by the id under which it is sent."""
    bundle: str
    recipient: str
    model: Digest | None
    """Of the full model's files; None: nothing is known of it but the envelope."""
    depth: int
    """How many blocks the full model has."""
    blocks: tuple[SentBlock, ...]
    others: tuple[Sketch, ...] = ()
    """The sketches of all matrices of the blocks that were not sent; none, if they are unknown."""
    envelope: Digest | None = None
    """Of an entry that was restored: the envelope that the emulator was sent in."""

    def wire(self) -> dict[str, Any]:
        """Get the entry as it is written: one of an earlier version keeps its digest."""
        wire = super().wire()
        if not self.others:
            del wire["others"]
        return wire

    @property
    def digest(self) -> str:
        """The digest by which the next entry names it."""
        return digest_of(canonical(self.wire()))

    @property
    def body_digest(self) -> str:
        """The digest by which its record names it, wherever in the ledger it is."""
        return self.model_copy(update={"number": 0, "previous": None}).digest

    def repeats(self, other: "DisclosureEntry") -> bool:
        """Whether both are of one sending, which was tried again."""
        mine, its = (
            # the sketches, of the very same model, may differ by a rounding
            (e.job, e.bundle, e.recipient, e.model, e.depth, [(b.full, b.end) for b in e.blocks])
            for e in (self, other)
        )
        return mine == its


def entry_of(record: EmulatorRecord) -> DisclosureEntry:
    """Say of an emulator what its record says, where the ledger says nothing of it."""
    return DisclosureEntry(
        at=now(),
        job=record.digest,
        bundle=record.bundle,
        recipient=record.recipient,
        model=record.model_digest,
        # the top end is the full model's own
        depth=record.blocks[-1].full + 1,
        blocks=tuple(SentBlock(full=b.full, end=b.end) for b in record.blocks),
        envelope=record.digest,
    )


def given_up(envelope: str, bundle: str, recipient: str) -> DisclosureEntry:
    """Say of an emulator, of which only the envelope is left, that nothing is known of it."""
    told: Any = {"job": envelope, "bundle": bundle, "recipient": recipient, "envelope": envelope}
    return DisclosureEntry(at=now(), model=None, depth=0, blocks=(), **told)
