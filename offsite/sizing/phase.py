"""What one part of a stage needs: memory by purpose, operations, and room on the disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One part of a stage, which ends before the next one begins."""

    name: str
    memory: Mapping[str, int]
    """Bytes of one worker at the peak, by what they are for."""
    device: Mapping[str, int] = field(default_factory=dict)
    """Bytes of one GPU at the peak, by what they are for; empty: it computes on the CPU."""
    flops: float = 0.0
    """Floating-point operations of all workers; a multiplication and an addition are two."""
    disk: int = 0
    """Bytes of intermediate files."""

    @property
    def peak(self) -> int:
        """Bytes that one worker has at most."""
        return sum(self.memory.values())

    @property
    def device_peak(self) -> int:
        """Bytes that one GPU has at most."""
        return sum(self.device.values())


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What the `Work` step of a stage needs."""

    phases: tuple[Phase, ...]
    sent: int
    """Bytes of the result: the bundle that is sent, or the model that is exported."""

    @property
    def largest(self) -> Phase:
        """The phase that needs the most memory, of its GPU if it has one."""
        return max(self.phases, key=lambda each: (each.device_peak, each.peak))

    @property
    def peak(self) -> int:
        """Bytes that one worker has at most."""
        return max(each.peak for each in self.phases)

    @property
    def device_peak(self) -> int:
        """Bytes that one GPU has at most; 0: it computes on the CPU."""
        return max(each.device_peak for each in self.phases)

    @property
    def disk(self) -> int:
        """Bytes on the disk at most: intermediate files, or the result."""
        return max(self.sent, *(each.disk for each in self.phases))
