"""The model owner's record of an emulator that it sent.

It stays in the owner's private store, by the digest of what was sent, and is written before that is
sent. Where a returned adapter's tensors go, and what they may be, stands here and nowhere else.
"""

import json
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from offsite.bundle.changes import Place
from offsite.bundle.head import HEAD, HeadRecord
from offsite.bundle.selection import Selection
from offsite.bundle.watermark import Watermark
from offsite.errors import BundleError
from offsite.families import Family, Shape, Targets, family_named
from offsite.sealing.envelope import GrantTerms
from offsite.wire import Digest, Part, canonical

MAX_RANK = 64
_OUTSIDE = r"^[a-z][a-z0-9_]*\.[a-z0-9_]+$"
"""A module and a tensor in it; a name inside the blocks has three parts or more."""

Linears = Mapping[str, tuple[int, int]]
"""The weights that a low-rank change may touch: name and (in, out)."""


def largest_rank(linears: Linears) -> int:
    """Get the largest rank of a low-rank change: beyond half of a weight's own it is not low.

    Args:
        linears: the weights that are changed.
    """
    return min(MAX_RANK, *(min(sizes) // 2 for sizes in linears.values()))


class BlockRecord(Part):
    """One block of an emulator: what it was made from, and what may be changed in it."""

    full: int = Field(ge=0)
    """The full model's block that it was made from."""
    end: bool
    """Whether it is one of the blocks that were never compressed."""
    tensors: Mapping[str, Shape]
    """The shape of every tensor of it, by the name in the block."""
    linears: Linears
    """Those of them that a low-rank change may touch."""
    index: Mapping[str, Selection] = {}
    """Of each tensor that is a part of the full block's: which rows and columns. A tensor without
    an entry has the place and the shape of the full one."""

    @model_validator(mode="after")
    def _ends_are_whole(self) -> "BlockRecord":
        if self.end and self.index:
            raise ValueError("an end is never compressed, so its index must be empty")
        return self

    def only(self, names: Collection[str]) -> "BlockRecord":
        """Copy the record of a block in which a low-rank change may touch only these weights."""
        kept = {name: sizes for name, sizes in self.linears.items() if name in names}
        return self.model_copy(update={"linears": kept})

    def check_parts(self, full: Mapping[str, Shape]) -> None:
        """Check that each tensor is the full block's or the part of it that `index` names.

        Args:
            full: the shape of every tensor of the full model's block, by the name in the block.

        Raises:
            BundleError: a shape is another one.
        """
        parts = {n: self.index.get(n, Selection()).shape(shape) for n, shape in full.items()}
        if parts != self.tensors or self.index.keys() - full.keys():
            wrong = sorted(
                n for n in {*parts, *self.tensors} if parts.get(n) != self.tensors.get(n)
            )
            raise BundleError(
                f"the record of the emulator does not fit block {self.full} of the model: "
                f"{', '.join(wrong or sorted(self.index))}; make the emulator again"
            )


class OutsideTensor(Part):
    """A tensor outside the blocks that an adapter may change, such as one of the head."""

    tensor: str = Field(min_length=1, max_length=300)
    """Its name in the full model."""
    shape: Shape


def outside_of(row: Family, config: Mapping[str, Any]) -> dict[str, OutsideTensor]:
    """List what an adapter may change outside the blocks of a model with this config."""
    found = row.head_tensors(config).items()
    return {wire: OutsideTensor(tensor=name, shape=shape) for wire, (name, shape) in found}


class EmulatorRecord(Part):
    """One emulator, as its owner sent it. `read_record` reads records of earlier formats too."""

    format: Literal[2] = 2  # noqa: V107 - checked by its type
    bundle: str
    digest: str
    """Of the envelope that carried it."""
    grant: GrantTerms = GrantTerms()
    recipient: str
    """The party it was made for; an adapter from anybody else is refused."""
    architecture: str
    model_digest: str
    """Of the full model's files; the adapter fits no other model."""
    blocks: tuple[BlockRecord, ...]
    outside: Mapping[Annotated[str, Field(pattern=_OUTSIDE)], OutsideTensor] = {}
    """What an adapter may change outside the blocks, by the name on the wire, such as
    `head.weight`. Language models have nothing of that kind."""
    head: HeadRecord | None = None
    """What a new classification head may be; None: no adapter may bring one."""
    allowed: tuple[tuple[Literal["LoRA", "Blocks"], Literal["All", "Ends"]], ...] = (
        ("LoRA", "All"),
        ("LoRA", "Ends"),
        ("Blocks", "Ends"),
    )
    """Methods and scopes of an adapter that is accepted."""
    max_rank: int = MAX_RANK
    entry: Digest | None = None
    """Its entry in the disclosure ledger (`body_digest`); None: an earlier version made none."""
    watermark: Watermark | None = None
    """The mark in its weights; None: it has none."""

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """The weights that a low-rank change may touch, each as small as in its smallest block."""
        found: dict[str, tuple[int, int]] = {}
        for block in self.blocks:
            for name, sizes in block.linears.items():
                found[name] = min(found.get(name, sizes), sizes, key=min)
        return found

    def modules(self, classes: int) -> frozenset[str]:
        """List the modules outside the blocks that an adapter may train, such as `head`.

        Args:
            classes: of the new head that it brings; 0: it brings none.
        """
        new = {HEAD} if classes and self.head is not None else set[str]()
        return frozenset(name.partition(".")[0] for name in self.outside) | new

    def places(self, scope: str) -> tuple[int, ...]:
        """List the emulator's blocks that an adapter of a scope changes."""
        return tuple(i for i, block in enumerate(self.blocks) if scope == "All" or block.end)

    def reach(self) -> dict[Place, Selection]:
        """List what adapters that are accepted may change: which part of which weight."""
        inside = {
            Place(block.full, name): block.index.get(name, Selection())
            for method, scope in self.allowed
            for block in (self.blocks[place] for place in self.places(scope))
            for name in (block.tensors if method == "Blocks" else block.linears)
        }
        outside = {Place(None, each.tensor): Selection() for each in self.outside.values()}
        return inside | outside

    def expected(
        self,
        method: str,
        scope: str,
        rank: int,
        outside: tuple[str, ...] = (),
        classes: int = 0,
    ) -> dict[str, Shape]:
        """List every tensor that an adapter must hold, by its name on the wire, with its shape.

        Args:
            rank: of LoRA.
            outside: the modules outside the blocks that it trains.
            classes: of the new head that it brings; 0: it brings none.
        """
        names: dict[str, Shape] = {}
        for place in self.places(scope):
            block = self.blocks[place]
            if method == "Blocks":
                names |= {f"blocks.{place}.{n}.change": s for n, s in block.tensors.items()}
                continue
            for name, (inputs, outputs) in block.linears.items():
                names[f"blocks.{place}.{name}.lora_A"] = (rank, inputs)
                names[f"blocks.{place}.{name}.lora_B"] = (outputs, rank)
        new = self.head.shapes(classes) if self.head is not None and classes else {}
        for name, each in self.outside.items():
            if name.partition(".")[0] in outside and not (new and _is_of_head(name)):
                names[f"{name}.change"] = each.shape
        return names | new

    def narrowed(self, method: str, scope: str, targets: Targets) -> "EmulatorRecord":
        """Copy the record for adapters of one form: `reach` and `linears` are then theirs alone.

        Args:
            method, scope, targets: of the adapter, as its manifest states them.

        Raises:
            UnknownFamilyError: this version does not know the targets of the architecture.
        """
        update: dict[str, Any] = {"allowed": ((method, scope),)}
        if targets != "All":
            wanted = {
                f"{name}.weight" for name in family_named(self.architecture).targeted(targets)
            }
            update["blocks"] = tuple(block.only(wanted) for block in self.blocks)
        return self.model_copy(update=update)

    def with_new_head(self) -> "EmulatorRecord":
        """Copy the record for an adapter that brings a new head: it changes no other."""
        outside = {name: each for name, each in self.outside.items() if not _is_of_head(name)}
        return self.model_copy(update={"outside": outside})


def _is_of_head(name: str) -> bool:
    return name.partition(".")[0] == HEAD


def read_record(content: bytes) -> EmulatorRecord:
    """Read a record of this format, or of one before it.

    Raises:
        pydantic.ValidationError: it is damaged, or of a later format.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None  # the error that names the place is pydantic's
    if isinstance(found, dict) and found.get("format", 1) == 1:
        content = canonical(_upgraded(found))
    return EmulatorRecord.model_validate_json(content)


def _upgraded(record: dict[str, Any]) -> dict[str, Any]:
    """Turn format 1, in which all blocks had the same tensors, into format 2.

    The first records of format 1 do not name it.
    """
    shared = {name: record.pop(name) for name in ("tensors", "linears") if name in record}
    blocks = record.get("blocks")
    if isinstance(blocks, list):
        record["blocks"] = [{**b, **shared} if isinstance(b, dict) else b for b in blocks]
    return {**record, "format": 2}
