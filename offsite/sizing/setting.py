"""How a stage is run: where it computes, and how it trains."""

from dataclasses import dataclass
from typing import Literal

from offsite.api import Resources
from offsite.families import Targets

Quantize = Literal["None", "Int8", "NF4"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where a stage runs: one worker, and how many there are."""

    workers: int = 1
    sharded: bool = False
    """Whether each worker holds a shard of the blocks (FSDP) instead of all of them."""
    gpu: bool = False
    bfloat16: bool = True
    """Whether matrices are multiplied in bfloat16."""

    @classmethod
    def of(cls, resources: Resources, *, bfloat16: bool = True) -> "Machine":
        """Describe the pods that a job asks for."""
        return cls(
            workers=resources.workers,
            sharded=resources.workers > 1 and resources.sharding == "FSDP",
            gpu=resources.gpus_per_worker > 0,
            bfloat16=bfloat16,
        )

    @property
    def multiplied(self) -> int:
        """Bytes of a number that is multiplied."""
        return 2 if self.bfloat16 else 4


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training: its batches, and what is trained."""

    batch: int
    """Examples per step, of all workers."""
    length: int
    """Positions of an example."""
    steps: int
    places: int
    """Blocks that are trained."""
    lowest: int = 0
    """The lowest of them."""
    whole: bool = False
    """Whether the tensors of these blocks are trained, instead of LoRA beside them."""
    rank: int = 0
    targets: Targets = "All"
    checkpointing: bool = False
    accumulate: int = 1
    """Into how many parts a batch is split."""
    quantize: Quantize = "None"
    extra: int = 0
    """Trained numbers outside the blocks: a classification head."""

    def positions(self, workers: int) -> int:
        """Count the positions that a worker computes at once."""
        return -(-self.batch // (workers * self.accumulate)) * self.length
