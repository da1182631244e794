"""An entry of the disclosure ledger: what one emulator discloses of a model."""

from typing import Any

from offsite.bundle.record import EmulatorRecord
from offsite.bundle.sketch import Sketch
from offsite.wire import Digest, Instant, Part, canonical, digest_of, now


class SentBlock(Part):
    """A block of a full model that an emulator contains: unchanged, healed or trained."""

    full: int
    """Index of the block in the full model."""
    end: bool
    """Whether it is an end, and so unchanged."""
    weights: tuple[Sketch, ...] = ()
    """Sketches of its matrices in the full model; empty if they are not known."""


class DisclosureEntry(Part):
    """One emulator in the model owner's ledger. It is written before the emulator is sent."""

    number: int = 0
    """Position in the ledger, from 1; 0: not written yet."""
    previous: Digest | None = None
    """Digest of the previous entry."""
    at: Instant
    job: str
    """Id under which the job sends it."""
    bundle: str
    recipient: str
    model: Digest | None
    """Digest of the full model's files; None: only the envelope is known."""
    depth: int
    """Number of blocks of the full model."""
    blocks: tuple[SentBlock, ...]
    others: tuple[Sketch, ...] = ()
    """Sketches of all matrices of the blocks that were not sent; empty if they are not known."""
    envelope: Digest | None = None
    """Envelope of the emulator, in an entry that was restored."""

    def wire(self) -> dict[str, Any]:
        """Encode the entry. An entry of an earlier version keeps its digest."""
        wire = super().wire()
        if not self.others:
            del wire["others"]
        return wire

    @property
    def digest(self) -> str:
        """The digest that the next entry refers to."""
        return digest_of(canonical(self.wire()))

    @property
    def body_digest(self) -> str:
        """The digest that its record refers to, whatever its position in the ledger."""
        return self.model_copy(update={"number": 0, "previous": None}).digest

    def repeats(self, other: "DisclosureEntry") -> bool:
        """Return whether both entries describe the same emulator, sent again by a retry."""
        mine, its = (
            # sketches of the same model may differ by a rounding error
            (e.job, e.bundle, e.recipient, e.model, e.depth, [(b.full, b.end) for b in e.blocks])
            for e in (self, other)
        )
        return mine == its


def entry_of(record: EmulatorRecord) -> DisclosureEntry:
    """Make the entry of an emulator that is in the records and not in the ledger."""
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
    """Make the entry of an emulator of which only the envelope is left."""
    known: Any = {"job": envelope, "bundle": bundle, "recipient": recipient, "envelope": envelope}
    return DisclosureEntry(at=now(), model=None, depth=0, blocks=(), **known)
