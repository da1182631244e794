"""The model owner's record of an emulator that it sent.

It stays in the owner's private store, by the digest of what was sent, and is written before that is
sent. Where a returned adapter's tensors go, and what they may be, stands here and nowhere else.
"""

from collections.abc import Mapping
from typing import Literal

from offsite.sealing.envelope import Grant
from offsite.wire import Digest, Part

MAX_RANK = 64


def largest_rank(linears: Mapping[str, tuple[int, int]]) -> int:
    """Get the largest rank of a low-rank change: beyond half of a weight's own it is not low.

    Args:
        linears: the weights that are changed: name and (in, out).
    """
    return min(MAX_RANK, *(min(sizes) // 2 for sizes in linears.values()))


class BlockRecord(Part):
    """One block of the bundle."""

    full: int
    """The full model's block that it was made from."""
    end: bool
    """Whether it is one of the blocks that were never compressed."""


class EmulatorRecord(Part):
    """One emulator, as its owner sent it."""

    format: Literal[1] = 1  # noqa: V107 - checked by its type
    """Records of earlier versions have none, and are read as the first format."""
    bundle: str
    digest: str
    """Of the envelope that carried it."""
    grant: Grant = Grant()
    recipient: str
    """The party it was made for; an adapter from anybody else is refused."""
    architecture: str
    model_digest: str
    """Of the full model's files; the adapter fits no other model."""
    blocks: tuple[BlockRecord, ...]
    tensors: Mapping[str, tuple[int, ...]]
    """Every tensor of a block: its name there and its shape."""
    linears: Mapping[str, tuple[int, int]]
    """The weights that a low-rank change may touch: name and (in, out)."""
    allowed: tuple[tuple[Literal["LoRA", "Blocks"], Literal["All", "Ends"]], ...] = (
        ("LoRA", "All"),
        ("LoRA", "Ends"),
        ("Blocks", "Ends"),
    )
    """Methods and scopes of an adapter that is accepted."""
    max_rank: int = MAX_RANK
    entry: Digest | None = None
    """Its entry in the disclosure ledger (`body_digest`); None: an earlier version made none."""

    def places(self, scope: str) -> tuple[int, ...]:
        """List the bundle's blocks that an adapter of a scope changes."""
        return tuple(i for i, block in enumerate(self.blocks) if scope == "All" or block.end)

    def reach(self) -> frozenset[tuple[int, str]]:
        """List what adapters that are accepted may change: the full model's block and the name."""
        return frozenset(
            (self.blocks[place].full, name)
            for method, scope in self.allowed
            for place in self.places(scope)
            for name in (self.tensors if method == "Blocks" else self.linears)
        )

    def expected(self, method: str, scope: str, rank: int) -> dict[str, tuple[int, ...]]:
        """List every tensor that an adapter must hold, by its name on the wire, with its shape."""
        names: dict[str, tuple[int, ...]] = {}
        for place in self.places(scope):
            if method == "Blocks":
                names |= {f"blocks.{place}.{n}.change": s for n, s in self.tensors.items()}
                continue
            for name, (inputs, outputs) in self.linears.items():
                names[f"blocks.{place}.{name}.lora_A"] = (rank, inputs)
                names[f"blocks.{place}.{name}.lora_B"] = (outputs, rank)
        return names
