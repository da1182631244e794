"""Entries of a disclosure ledger, of emulators of a model of thirty blocks. No torch."""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import shake_256
from typing import NamedTuple, Protocol

from offsite.api import Limits
from offsite.bundle.disclosure import Disclosed, FullModel, check_disclosure
from offsite.bundle.ledger_entry import DisclosureEntry, SentBlock
from offsite.bundle.sketch import Sketch
from offsite.wire import now

MODEL, COPY, OTHER = (f"sha256:{digit * 64}" for digit in "123")
DEPTH = 30


class Blocks(Protocol):
    """Which blocks an emulator holds, as a `Layout` says it."""

    @property
    def kept(self) -> tuple[int, ...]:
        """The full model's blocks."""
        ...

    @property
    def ends(self) -> tuple[int, ...]:
        """Places of those that are ends."""
        ...


class Kept(NamedTuple):
    """The same, said in full: four ends on both sides."""

    middle: tuple[int, ...]

    @property
    def kept(self) -> tuple[int, ...]:
        """See `Blocks.kept`."""
        return (*range(4), *self.middle, *range(DEPTH - 4, DEPTH))

    @property
    def ends(self) -> tuple[int, ...]:
        """See `Blocks.ends`."""
        return (*range(4), *range(len(self.middle) + 4, len(self.middle) + 8))


def sketch(name: str) -> Sketch:
    """Make the sketch of a matrix that is like no other one."""
    return f"64x64 {b64encode(shake_256(name.encode()).digest(256)).decode()}"


def entry(layout: Blocks, job: str = "job", model: str = MODEL) -> DisclosureEntry:
    """Say what an emulator of a layout discloses; each block has one matrix, of its own."""
    ends = [layout.kept[place] for place in layout.ends]
    return DisclosureEntry(
        at=now(),
        job=job,
        bundle=job,
        recipient="hospital",
        model=model,
        depth=DEPTH,
        blocks=tuple(
            SentBlock(full=f, end=f in ends, weights=(sketch(f"w{f}"),)) for f in layout.kept
        ),
    )


def full_model(digest: str = MODEL, depth: int = DEPTH, first: int = 0) -> FullModel:
    """Describe that model, or one that holds blocks from `first` on."""
    weights = {i: frozenset({sketch(f"w{first + i}")}) for i in range(depth)}
    return FullModel(digest, depth, weights)


def check(
    before: Sequence[DisclosureEntry],
    layout: Blocks,
    model: FullModel | None = None,
    limits: Limits | None = None,
) -> None:
    """Check an emulator after others."""
    own = Disclosed.of(entry(layout).blocks)
    check_disclosure(limits or Limits(), model or full_model(), before, own)
